"""The oracles of activations and finite networks, against each other and against closed forms. No ntkrs here.

Tolerances are a count of roundings times EPS, or the truncation error of the method compared with.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from oracles import activations, finite, quadrature
from oracles.duals import CLOSED
from oracles.tables import CLOSED_FORMS, OTHERS

EPS = 2.0**-52


def test_every_activation_is_in_these_tables():
    names = {activations.parse(a)[0] for a in CLOSED_FORMS}
    assert names == set(CLOSED)
    assert names | {activations.parse(a)[0] for a in OTHERS} == set(activations.TABLE)


@pytest.mark.parametrize("activation", CLOSED_FORMS + OTHERS, ids=str)
def test_phi_dot_is_the_derivative_of_phi(activation):
    x = np.array([-2.3, -0.9, -0.2, 0.1, 0.8, 2.1])  # no kink within h
    h = 6e-6
    slope = (activations.phi(activation)(x + h) - activations.phi(activation)(x - h)) / (2 * h)
    # h^2 |phi'''| / 6 + 2 eps |phi| / h with |phi| < 10 and |phi'''| < 10
    assert_allclose(activations.phi_dot(activation)(x), slope, rtol=0, atol=10 * h**2 + 20 * EPS / h)


@pytest.mark.parametrize(
    ("activation", "at_zero"),
    [("relu", 0.0), (("leaky_relu", 0.1), 0.1), ("abs", 0.0), ("sign", 0.0), (("elu", 0.7), 0.7)],
    ids=str,
)
def test_phi_dot_at_a_kink(activation, at_zero):
    assert activations.phi_dot(activation)(np.array([0.0, -0.0])).tolist() == [at_zero, at_zero]


# widths, which layers have a bias, sigma_w, sigma_b, activations
NETWORKS = {
    "tanh-3-6-5-2": ((3, 6, 5, 2), True, 1.0, 1.0, "tanh"),
    "mixed": (
        (2, 4, 3, 5, 3),
        True,
        [1.5, 0.7, 1.1, 1.0],
        [0.1, 0.5, 0.3, 0.2],
        ["relu", "gelu", ("leaky_relu", 0.1)],
    ),
    "bias-free": ((4, 5, 2), False, 1.4, 0.0, "relu"),
    "some-biases": ((3, 4, 4, 2), [True, False, True], 1.2, [0.3, 0.4, 0.0], "erf"),
    "linear": ((3, 2), True, 1.3, 0.6, []),
    "standard": ((3, 6, 2), True, [3**0.5, 6**0.5], 1.0, "silu"),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS.keys())
def network(request):
    """(x, z, arguments of the functions in finite)."""
    widths, bias, sigma_w, sigma_b, activation = request.param
    rng = np.random.default_rng(7)
    weights, biases = finite.init(widths, rng, bias)
    x, z = rng.standard_normal((4, widths[0])), rng.standard_normal((3, widths[0]))
    return x, z, (weights, biases, sigma_w, sigma_b, activation)


def test_jacobian_is_the_derivative_of_forward(network):
    x, _, (weights, biases, sigma_w, sigma_b, activation) = network

    def f(theta):
        parameters = finite.unflatten(theta, weights, biases, sigma_b)
        return finite.forward(x, *parameters, sigma_w, sigma_b, activation)

    theta = finite.flatten(weights, biases, sigma_b)
    j = finite.jacobian(x, weights, biases, sigma_w, sigma_b, activation)
    assert j.shape == (4, weights[-1].shape[1], theta.size)
    # h^2 |f'''| / 6 + eps |f| / h at h = 6e-6, with both of order 10
    assert_allclose(finite.central_differences(f, theta), j, rtol=0, atol=2e-9)


def test_ntk_from_jacobians_is_equation_1(network):
    x, z, arguments = network
    weights, biases, _, sigma_b, _ = arguments
    jx, jz = finite.jacobian(x, *arguments), finite.jacobian(z, *arguments)
    theta = finite.ntk(jx, jz)
    terms = jx.shape[2]
    # sums of `terms` products, whose factors carry a few roundings per layer
    atol = (terms + 50) * EPS * finite.ntk(np.abs(jx), np.abs(jz)).max()
    assert_allclose(finite.ntk_equation_1(x, z, *arguments), theta, rtol=0, atol=atol)
    slices = finite.layer_slices(weights, biases, sigma_b)
    assert slices[-1].stop == terms
    assert_allclose(finite.ntk_per_layer(jx, jz, slices).sum(axis=0), theta, rtol=0, atol=atol)


def test_ntk_by_recursion_over_depth():
    """Theta^{l+1} = (sigma_w^2 / n <x, x'> + sigma_b^2) I + sigma_w^2 / n A^T Theta^l A', A = phi'(h) W."""
    widths, bias, _, _, activation = NETWORKS["tanh-3-6-5-2"]
    sigma_w, sigma_b = 1.1, 0.8
    rng = np.random.default_rng(3)
    weights, biases = finite.init(widths, rng, bias)
    x, z = rng.standard_normal((1, 3)), rng.standard_normal((1, 3))
    arguments = (weights, biases, sigma_w, sigma_b, activation)
    (xs, hx), (zs, hz) = finite.layers_forward(x, *arguments), finite.layers_forward(z, *arguments)
    theta = np.zeros((0, 0))
    for layer, w in enumerate(weights):
        n, m = w.shape
        own = (sigma_w**2 / n * (xs[layer][0] @ zs[layer][0]) + sigma_b**2) * np.eye(m)
        if layer == 0:
            theta = own
        else:
            left, right = (w * activations.phi_dot("tanh")(h[layer - 1][0])[:, None] for h in (hx, hz))
            theta = own + sigma_w**2 / n * np.einsum("im,jn,ij->mn", left, right, theta)
    jacobian_ntk = finite.ntk(finite.jacobian(x, *arguments), finite.jacobian(z, *arguments))[0, 0]
    # 71 products on one side, 6 * 5 on the other, tanh to a few eps: 200 roundings of order 1 to 10
    assert_allclose(jacobian_ntk, theta, rtol=0, atol=200 * EPS * 10)


def test_layout_of_theta():
    """f = sigma_w / sqrt(n) x W + sigma_b b: df_m / dW_ij = sigma_w / sqrt(n) x_i delta_mj, then b."""
    x = np.array([[1.0, 2.0, -3.0, 0.5]])
    weights, biases = finite.init((4, 2), np.random.default_rng(0))
    j = finite.jacobian(x, weights, biases, 1.5, 0.25, [])
    expected = np.hstack([0.75 * np.kron(x, np.eye(2)), 0.25 * np.eye(2)])
    assert j[0].tolist() == expected.tolist()  # exact in binary
    theta = finite.flatten(weights, biases, 0.25)
    assert theta.tolist() == [*weights[0].ravel(), *biases[0]]
    again = finite.unflatten(theta, weights, biases, 0.25)
    assert finite.flatten(*again, 0.25).tolist() == theta.tolist()
    assert finite.unflatten(weights[0].ravel(), weights, biases, 0.0)[1] == [None]
    with pytest.raises(ValueError, match="theta has 11 entries, the network 10"):
        finite.unflatten(np.zeros(11), weights, biases, 0.25)


def test_standard_parameterization_only_changes_the_weights_of_the_sum():
    """x V + c, V = sigma_w / sqrt(n) W, c = sigma_b b, is the same function; J_V = J_W sqrt(n) / sigma_w."""
    rng = np.random.default_rng(5)
    widths, sigma_w, sigma_b = (3, 6, 2), 1.3, 0.4
    weights, biases = finite.init(widths, rng)
    x = rng.standard_normal((4, 3))
    v = [sigma_w / np.sqrt(len(w)) * w for w in weights]
    c = [sigma_b * b for b in biases]
    standard = (v, c, [np.sqrt(3), np.sqrt(6)], 1.0, "tanh")
    ntk_form = (weights, biases, sigma_w, sigma_b, "tanh")
    # 6 products a sum and a few roundings a layer
    assert_allclose(finite.forward(x, *standard), finite.forward(x, *ntk_form), rtol=0, atol=50 * EPS)
    factors = np.repeat([3**0.5 / sigma_w, 1 / sigma_b, 6**0.5 / sigma_w, 1 / sigma_b], [18, 6, 12, 2])
    expected = finite.jacobian(x, *ntk_form) * factors
    assert_allclose(finite.jacobian(x, *standard), expected, rtol=0, atol=50 * EPS * np.abs(expected).max())


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_wide_networks_approach_the_infinite_kernels(activation):
    x = np.array([[1.0, 0.5, -0.3], [0.2, -1.0, 0.8]])
    sigma_w, sigma_b, width, draws = [1.2, 1.5, 0.9], [0.3, 0.2, 0.5], 128, 40
    rng = np.random.default_rng(11)
    ntks, products = [], []
    for _ in range(draws):
        weights, biases = finite.init((3, width, width, 1), rng)
        arguments = (weights, biases, sigma_w, sigma_b, activation)
        ntks.append(finite.ntk_equation_1(x, x, *arguments)[:, :, 0, 0])
        # f f' averaged over the read-out: the same mean, a much smaller variance
        hidden = finite.layers_forward(x, *arguments)[0][-1]
        products.append(sigma_w[-1] ** 2 / width * hidden @ hidden.T + sigma_b[-1] ** 2)
    nngp, ntk = quadrature.kernels(x, x, sigma_w, sigma_b, [activation] * 2)
    for samples, limit in ((products, nngp), (ntks, ntk)):
        error = np.mean(samples, axis=0) - limit
        deviation = np.std(samples, axis=0, ddof=1) / np.sqrt(draws)
        # 4 standard errors; the bias at finite width is of order 1 / width, and a wrong term would be of order 1
        assert np.all(np.abs(error) < 4 * deviation + limit.max() / width)
