"""Code that was written for neural-tangents: the names, defaults and results of its fully connected part."""

import numpy as np
import pytest

import ntkrs
from ntkrs.compat import neural_tangents as nt
from ntkrs.compat.neural_tangents import predict, stax

RNG = np.random.default_rng(0)
X, Z, Y = RNG.standard_normal((6, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal((6, 1))
EPS = np.finfo(float).eps

#: Activations with scales: φ in NumPy and its derivative, for the same network without folding.
SCALED = {
    "Erf": (stax.Erf(2.0, 0.5), lambda x: 2 * erf(0.5 * x), lambda x: 2 / np.pi**0.5 * np.exp(-((0.5 * x) ** 2))),
    "Erf with an offset": (
        stax.Erf(2.0, 0.5, 0.25),
        lambda x: 2 * erf(0.5 * x) + 0.25,
        lambda x: 2 / np.pi**0.5 * np.exp(-((0.5 * x) ** 2)),
    ),
    "Sigmoid_like": (
        stax.Sigmoid_like(),
        lambda x: 0.5 * erf(x / 2.4020563531719796) + 0.5,
        lambda x: np.exp(-((x / 2.4020563531719796) ** 2)) / np.pi**0.5 / 2.4020563531719796,
    ),
    "Gaussian": (
        stax.Gaussian(-1.5, -0.5),
        lambda x: -1.5 * np.exp(-0.5 * x**2),
        lambda x: 1.5 * x * np.exp(-0.5 * x**2),
    ),
    "ABRelu": (
        stax.ABRelu(0.5, 2.0),
        lambda x: 0.5 * np.minimum(x, 0) + 2 * np.maximum(x, 0),
        lambda x: np.where(x > 0, 2.0, 0.5),
    ),
    "Sin": (stax.Sin(2.0, 0.5, 0.3), lambda x: 2 * np.sin(0.5 * x + 0.3), lambda x: np.cos(0.5 * x + 0.3)),
    "Gabor": (
        stax.Gabor(),
        lambda x: np.exp(-(x**2)) * np.sin(x),
        lambda x: np.exp(-(x**2)) * (np.cos(x) - 2 * x * np.sin(x)),
    ),
}


def erf(x):
    from scipy.special import erf as of

    return of(x)


def network(activation=None):
    middle = stax.Erf() if activation is None else activation
    return stax.serial(stax.Dense(64, 1.5, 0.05), middle, stax.Dense(64, 1.5, 0.05), middle, stax.Dense(1, 1.5, 0.05))


def same(activation=None):
    return ntkrs.mlp(2, 64, 1, "erf" if activation is None else activation, 1.5, 0.05)


@pytest.mark.parametrize("name", SCALED)
def test_scales_of_activations_are_folded(name):
    ours, phi, slope = SCALED[name]
    found, wanted = (
        network(ours).kernel_fn(X, Z),
        same(ntkrs.Activation(phi, slope)).kernel()(X, Z, get=("nngp", "ntk")),
    )
    for one, other in zip(found, wanted, strict=True):
        # A series of a function with a kink is accurate to 1e-10 and warns above; the others to some roundings.
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["Erf", "Gaussian", "ABRelu"])
def test_folding_keeps_the_functions_of_finite_networks(name):
    ours, phi, _ = SCALED[name]
    init_fn, apply_fn, _ = stax.serial(stax.Dense(8, 1.5, 0.05), ours, stax.Dense(2, 1.5, 0.05))
    shape, params = init_fn(3, (-1, 4))
    (v, w), (b, c) = params.weights, params.biases
    sign = -1 if name == "Gaussian" else 1  # its output scale is negative: the law is the same, the sign of w is not
    by_hand = phi(1.5 / 2 * X @ v + 0.05 * b) @ (sign * w) * 1.5 / 8**0.5 + 0.05 * c
    np.testing.assert_allclose(apply_fn(params, X), by_hand, rtol=1e-12, atol=1e-14)
    assert shape == (-1, 2)


def test_get_is_positional_and_both_by_default():
    kernel_fn, kernel = network().kernel_fn, same().kernel()
    assert np.array_equal(kernel_fn(X, Z, "ntk"), kernel(X, Z))
    assert np.array_equal(kernel_fn(X).nngp, kernel(X, get="nngp"))
    assert kernel_fn(X, None, ("ntk", "nngp"))._fields == ("ntk", "nngp")


def test_parts_can_be_nested_and_end_with_an_activation():
    block = stax.serial(stax.Dense(64, 1.5, 0.05), stax.Erf())
    nested = stax.serial(stax.Flatten(), block, block, stax.Dense(1, 1.5, 0.05))
    assert nested.kernel_fn.kernel.arch == same()


def test_two_dense_layers_have_the_identity_between_them():
    arch = stax.serial(stax.Dense(3), stax.Dense(1)).kernel_fn.kernel.arch
    assert arch == ntkrs.Sequential(ntkrs.Dense(3), ntkrs.Identity(), ntkrs.Dense(1))


def test_names_without_a_difference_are_ours():
    for layer, wanted in [
        (stax.Relu(), ntkrs.Relu()),
        (stax.LeakyRelu(0.1), ntkrs.LeakyRelu(0.1)),
        (stax.Abs(do_stabilize=True), ntkrs.Abs()),
        (stax.Gelu(), ntkrs.Gelu()),
        (stax.Gelu(approximate=True), ntkrs.GeluTanh()),
        (stax.Rbf(0.5), ntkrs.Rbf(0.5)),
        (stax.RectifiedMonomial(2), ntkrs.RectifiedPower(2)),
        (stax.Polynomial([1.0, 2.0]), ntkrs.Polynomial(1.0, 2.0)),
        (stax.Hermite(2), ntkrs.Hermite(2)),
    ]:
        assert layer.core == wanted


class TestPredict:
    """Predictions from kernels, and the arguments that all of them share."""

    kernel_fn = network().kernel_fn
    K, k = kernel_fn(X), kernel_fn(Z, X)

    def test_mse_leaves_out_what_has_no_start(self):
        predict_fn = predict.gradient_descent_mse(self.K.ntk, Y, 0.5)
        train, test = ntkrs.predict.gradient_descent_mse(self.K.ntk, Y, 0.5)(3.0, 1.0, 2.0, self.k.ntk)
        assert np.array_equal(predict_fn(3.0, 1.0), train)
        assert np.array_equal(predict_fn(3.0, 1.0, 2.0, self.k.ntk)[1], test)
        assert np.array_equal(predict_fn(3.0, None, 2.0, self.k.ntk), predict_fn(3.0, 0.0, 2.0, self.k.ntk)[1])

    def test_ensemble_gives_means_of_both_kernels(self):
        predict_fn = predict.gradient_descent_mse_ensemble(self.kernel_fn, X, Y, diag_reg=1e-4)
        found = predict_fn(x_test=Z)
        assert found._fields == ("nngp", "ntk")
        wanted = ntkrs.predict.gradient_descent_mse_ensemble(same().kernel(), X, Y, diag_reg=1e-4)(x_test=Z)
        assert np.array_equal(found.ntk, wanted.mean)
        mean, covariance = predict_fn(t=None, x_test=Z, get="ntk", compute_cov=True)
        np.testing.assert_allclose(covariance, wanted.covariance, rtol=64 * EPS)
        assert np.array_equal(mean, wanted.mean)

    def test_inference_has_covariances_if_they_are_asked_for(self):
        predict_fn = predict.gp_inference(self.K, Y, 1e-4)
        wanted = ntkrs.predict.gp_inference(same().kernel(), X, Y, 1e-4)(Z, get="nngp")
        assert np.array_equal(predict_fn("nngp", self.k), wanted.mean)
        found = predict_fn(None, self.k, self.kernel_fn(Z))
        assert np.array_equal(found.nngp.covariance, wanted.covariance)
        assert found._fields == ("nngp", "ntk")

    def test_the_ridge_may_be_positional(self):
        mse = predict.gradient_descent_mse(self.K.ntk, Y, 0.5, 1e-3, True, (-1,))(2.0)
        assert np.array_equal(
            mse, predict.gradient_descent_mse(self.K.ntk, Y, 0.5, diag_reg=1e-3, diag_reg_absolute_scale=True)(2.0)
        )
        mean = predict.gradient_descent_mse_ensemble(self.kernel_fn, X, Y, 0.5, 1e-3, trace_axes=(-1,))(2.0, Z, "ntk")
        wanted = ntkrs.predict.gradient_descent_mse_ensemble(same().kernel(), X, Y, 0.5, diag_reg=1e-3)(2.0, Z, "ntk")
        assert np.array_equal(mean, wanted.mean)
        with pytest.raises(TypeError, match="unexpected keyword argument 'diag_rg'"):
            predict.gp_inference(self.K, Y, diag_rg=1.0)

    def test_one_array_stands_for_both_kernels(self):
        means = predict.gp_inference(self.K.ntk, Y)(None, self.k.ntk)
        assert np.array_equal(means.nngp, means.ntk)
        with pytest.raises(ValueError, match="covariance needs both kernels, but k_train_train is one array"):
            predict.gp_inference(self.K.ntk, Y)("ntk", self.k.ntk, self.kernel_fn(Z, None, "ntk"))

    def test_the_learning_rate_is_for_one_output_by_default(self):
        assert predict.max_learning_rate(self.K.ntk) == ntkrs.predict.max_learning_rate(self.K.ntk, 6)


def test_empirical_kernels():
    init_fn, apply_fn, _ = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(2))
    _, params = init_fn(0, (-1, 4))
    full = nt.empirical_ntk_fn(apply_fn, trace_axes=())(X, Z, params)
    assert full.shape == (6, 3, 2, 2)
    mean = nt.empirical_ntk_fn(apply_fn)(X, Z, params)
    np.testing.assert_allclose(mean, np.einsum("ijmm->ij", full) / 2, rtol=64 * EPS)  # sums of some tens of terms


def test_linearize():
    init_fn, apply_fn, _ = stax.serial(stax.Dense(8), stax.Erf(), stax.Dense(2))
    params, moved = init_fn(0, (-1, 4))[1], init_fn(1, (-1, 4))[1]
    assert np.array_equal(nt.linearize(apply_fn, params)(moved, X), params.linearize()(X, moved.parameters))


def test_batch_does_nothing_and_says_so():
    with pytest.warns(UserWarning, match="batch does nothing"):
        assert nt.batch(network, 10, device_count=0) is network


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stax.Conv, AttributeError, "for rows of features. For images use ntkrs.Conv in an ntkrs.Sequential"),
        (
            lambda: stax.LayerNorm,
            AttributeError,
            "no LayerNorm: ntkrs.Sequential has dense layers, convolutions, pools",
        ),
        (lambda: stax.ExpNormalized, AttributeError, "no activation function, only a kernel"),
        (lambda: stax.Elementwise, AttributeError, "use ElementwiseNumerical"),
        (lambda: nt.monte_carlo_kernel_fn, AttributeError, "use ntkrs.ensemble_ntk"),
        (lambda: nt.experimental, AttributeError, "Coming from another library"),
        (lambda: stax.Dense(3, parameterization="standard"), ValueError, "kernel\\('standard'\\)"),
        (lambda: stax.ABRelu(1.0, 0.0), ValueError, "ABRelu needs b > 0"),
        (lambda: stax.ElementwiseNumerical(np.tanh, 25), ValueError, "df is None, but the derivative"),
        (lambda: nt.linearize(np.tanh, None), TypeError, "only the apply_fn of stax.serial"),
        (lambda: nt.empirical_ntk_fn(stax.serial().apply_fn, trace_axes=(0,)), ValueError, "trace_axes is \\(0,\\)"),
    ],
)
def test_what_is_not_here_says_what_to_use(call, error, message):
    with pytest.raises(error, match=message):
        call()
