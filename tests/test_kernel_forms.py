"""Parts, depths, learning scales, products and the scalar form of infinite-width kernels."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, LeakyRelu, Relu, Sequential, mlp
from oracles import infinite

EPS = np.finfo(np.float64).eps

ARCH = Sequential(
    Dense(7, 1.5, 0.2),
    Erf(),
    Dense(5, 0.8, 0.3, trainable=False),
    Relu(),
    Dense(4, 2.0, 0.7, tau_b=0.1),
    LeakyRelu(0.3),
    Dense(1, 1.1),
)
ACTIVATIONS = ["erf", "relu", ("leaky_relu", 0.3)]
SIGMA_W, SIGMA_B = [1.5, 0.8, 2.0, 1.1], [0.2, 0.3, 0.7, 0.0]


@pytest.fixture
def batches():
    rng = np.random.default_rng(5)
    return rng.standard_normal((130, 6)), rng.standard_normal((111, 6))


def assert_close(value, expected, scale=None):
    # A few roundings in each of four layers, ours and the oracle's; for generic pairs nothing amplifies them.
    scale = np.abs(expected).max() if scale is None else scale
    np.testing.assert_allclose(value, expected, rtol=0, atol=100 * EPS * scale)


def test_layers_learn_at_scales_of_their_own(batches):
    tau_w, tau_b = [1.5, 0.0, 2.0, 1.1], [0.2, 0.0, 0.1, 0.0]
    nngp, ntk = infinite.kernels_numpy(*batches, SIGMA_W, SIGMA_B, ACTIVATIONS, tau_w, tau_b)
    result = ARCH.kernel()(*batches, get=("nngp", "ntk"))
    assert_close(result.nngp, nngp)
    assert_close(result.ntk, ntk)


def test_standard_parameters_learn_at_the_widths(batches):
    dense = [Dense(layer.width, layer.sigma_w, layer.sigma_b, trainable=layer.trainable) for layer in ARCH.dense]
    layers = [dense[0], *[layer for pair in zip(ARCH.activations, dense[1:], strict=True) for layer in pair]]
    kernel = Sequential(*layers).kernel("standard")
    tau_w, tau_b = [6**0.5, 0.0, 5**0.5, 4**0.5], [1.0, 0.0, 1.0, 0.0]
    nngp, ntk = infinite.kernels_numpy(*batches, SIGMA_W, SIGMA_B, ACTIVATIONS, tau_w, tau_b)
    result = kernel(*batches, get=("nngp", "ntk"))
    assert_close(result.nngp, nngp)
    assert_close(result.ntk, ntk)
    assert_close(kernel.diag(batches[0]), np.diag(kernel(batches[0])))
    with pytest.raises(ValueError, match="a kernel in standard parameters is not a function of rho alone"):
        kernel.scalar(0.5)


def test_a_wide_network_in_standard_parameters_has_that_kernel():
    """The NTK of f(x) = φ(x V + c) v + c' in (V, c, v, c'), by its two-layer formula on many random units."""
    rng = np.random.default_rng(0)
    n, features = 400_000, 3
    x = rng.standard_normal((4, features))
    arch = Sequential(Dense(n, 1.3, 0.4), Relu(), Dense(1, 0.9, 0.2))
    h = x @ rng.standard_normal((features, n)) * (1.3 / features**0.5) + 0.4 * rng.standard_normal(n)
    units, slopes = np.maximum(h, 0), (h > 0) * (rng.standard_normal(n) * 0.9 / n**0.5)
    expected = units @ units.T + 1 + (x @ x.T + 1) * (slopes @ slopes.T)
    # Averages over n units spread by about 3/√n.
    np.testing.assert_allclose(arch.kernel("standard")(x), expected, rtol=0.02)


def test_parts_add_up_and_are_those_of_the_layers(batches):
    x, z = batches
    kernel = ARCH.kernel()
    parts = kernel(x, z, per_layer=True)
    assert parts.shape == (4, 130, 111)
    assert_close(parts.sum(0), kernel(x, z))
    assert not parts[1].any()
    for layer in range(4):
        tau_w, tau_b = [0.0] * 4, [0.0] * 4
        if layer != 1:
            tau_w[layer], tau_b[layer] = SIGMA_W[layer], [0.2, 0.0, 0.1, 0.0][layer]
        _, part = infinite.kernels_numpy(x, z, SIGMA_W, SIGMA_B, ACTIVATIONS, tau_w, tau_b)
        assert_close(parts[layer], part, scale=np.abs(parts).max())
    assert np.array_equal(kernel(x, per_layer=True), kernel(x, x, per_layer=True))
    with pytest.raises(TypeError, match="per_layer is 'yes', but True or False is needed"):
        mlp(1, 1, 1).kernel()(np.eye(2), per_layer="yes")
    with pytest.raises(ValueError, match="Z has 1 features, but X has 2"):
        mlp(1, 1, 1, "tanh").kernel().error_bound(np.eye(2), np.ones((2, 1)))
    with pytest.raises(ValueError, match="per_layer=True is for 'ntk' alone"):
        kernel(x, get="nngp", per_layer=True)


@pytest.mark.parametrize("get", ["ntk", "nngp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_depths_are_the_kernels_of_shallower_networks(batches, get, dtype):
    x, z = (batch.astype(dtype) for batch in batches)
    depths = ARCH.kernel().depths(x, z, get=get)
    assert depths.shape == (4, 130, 111)
    assert depths.dtype == dtype
    for layer in range(4):
        shallow = Sequential(*ARCH.layers[: 2 * layer + 1]).kernel()
        assert np.array_equal(depths[layer], shallow(x, z, get=get))
    with pytest.raises(TypeError, match="depths takes one name, 'ntk' or 'nngp'"):
        ARCH.kernel().depths(x, get=("ntk", "nngp"))


def test_results_of_layers_are_written_where_asked(batches):
    x, _ = batches
    kernel = ARCH.kernel()
    whole = np.full((9, 130, 260), np.nan)
    out = whole[::-2][:4, :, ::2]
    assert kernel.depths(x, out=out) is out
    assert np.array_equal(out, kernel.depths(x))
    assert np.isnan(whole[:, :, 1::2]).all()
    assert kernel(x, per_layer=True, out=out) is out
    assert np.array_equal(out, kernel(x, per_layer=True))
    with pytest.raises(ValueError, match=r"out has shape \(130, 130\), but the kernel has shape \(4, 130, 130\)"):
        kernel(x, per_layer=True, out=np.empty((130, 130)))


class TestOperator:
    """Products that never form the kernel."""

    @pytest.mark.parametrize("get", ["ntk", "nngp"])
    @pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
    @pytest.mark.parametrize("n", [1, 8, 95, 130, 2100])
    def test_they_are_those_with_the_kernel(self, n, count, get):
        rng = np.random.default_rng(n)
        x, z = rng.standard_normal((n, 6)), rng.standard_normal((111, 6))
        kernel = ARCH.kernel()
        for rows, cols in ((x, None), (x, z), (z, x)):
            whole = kernel(rows, cols, get=get)
            operator = kernel.operator(rows, cols, get)
            assert operator.shape == whole.shape
            assert operator.dtype == np.float64
            for product, matrix in ((operator, whole), (operator.T, whole.T)):
                v = rng.standard_normal((matrix.shape[1], count))
                bound = 4 * EPS * matrix.shape[1] * np.abs(matrix).max() * np.abs(v).max(initial=1)
                np.testing.assert_allclose(product @ v, matrix @ v, rtol=0, atol=bound)
                if count:
                    np.testing.assert_allclose(product @ v[:, 0], matrix @ v[:, 0], rtol=0, atol=bound)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_bits_are_the_same_for_any_number_of_threads(self, dtype):
        x, v = np.random.default_rng(0).standard_normal((2, 2000, 5)).astype(dtype)
        operator = mlp(2, 1, 1, "relu", 1.4, 0.1).kernel().operator(x)
        expected = operator @ v
        assert expected.dtype == dtype
        for count in (1, 2, 3, 7):
            with ntkrs.threads(count):
                assert np.array_equal(operator @ v, expected)

    def test_it_keeps_its_inputs(self):
        x = np.random.default_rng(0).standard_normal((20, 3))
        operator = mlp(1, 1, 1).kernel().operator(x)
        expected = operator @ np.ones(20)
        x[:] = 0
        assert np.array_equal(operator @ np.ones(20), expected)

    @pytest.mark.parametrize(
        ("batches", "message"),
        [
            (([[np.nan, 1.0]],), r"X holds nan at \(0, 0\)"),
            (([[1.0, 1.0]], [[1.0, -np.inf]]), r"Z holds -inf at \(0, 1\)"),
            (([[1.0, 1.0]], [[1.0]]), "Z has 1 features, but X has 2"),
            ((np.ones((2, 0)),), "X has 0 features"),
            (([1.0, 2.0],), r"X has shape \(2,\)"),
        ],
    )
    def test_inputs_are_refused_when_it_is_made(self, batches, message):
        with pytest.raises(ValueError, match=message):
            mlp(1, 1, 1).kernel().operator(*batches)

    def test_what_cannot_be_multiplied_is_refused(self):
        operator = mlp(1, 1, 1).kernel().operator(np.eye(3))
        with pytest.raises(ValueError, match="V holds nan"):
            operator @ np.array([1.0, np.nan, 0.0])
        with pytest.raises(TypeError, match="V holds complex numbers"):
            operator @ (1j * np.ones(3))
        with pytest.raises(ValueError, match="the product leaves the range of float64"):
            mlp(0, 1, 1).kernel().operator(np.full((1, 1), 1e150)) @ np.array([1e100])

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("parameterization", ["ntk", "standard"])
    def test_columns_and_the_diagonal_are_those_of_the_kernel(self, dtype, parameterization):
        rng = np.random.default_rng(0)
        x, z = rng.standard_normal((130, 5)).astype(dtype), rng.standard_normal((17, 5)).astype(dtype)
        kernel = ARCH.kernel(parameterization) if parameterization == "ntk" else mlp(2, 8, 1).kernel("standard")
        for get in ("ntk", "nngp"):
            operator, whole = kernel.operator(x, get=get), kernel(x, get=get)
            assert operator.diagonal().dtype == operator.columns([0]).dtype == dtype
            assert np.array_equal(operator.diagonal(), whole.diagonal())
            for some in ([5], [7, 3, 7, 129], [], np.arange(130, dtype=np.uint8)):
                assert np.array_equal(operator.columns(some), whole[:, np.array(some, int)])
            cross, rows = kernel.operator(x, z, get=get), kernel(x, z, get=get)
            assert np.array_equal(cross.columns([16, 0]), rows[:, [16, 0]])
            assert np.array_equal(cross.T.columns([129, 3]), rows.T[:, [129, 3]])
            v = rng.standard_normal((130, 2))
            assert np.array_equal(operator.product(v).astype(dtype), operator @ v)
            assert operator.product(v[:, 0]).dtype == np.float64

    @pytest.mark.parametrize(
        ("values", "error", "message"),
        [
            ([3], IndexError, "indices holds 3, but must be from 0 to 2"),
            ([-1, 0], IndexError, "indices holds -1, but"),
            ([0.0], TypeError, "indices has dtype float64, but integers"),
            ([True, False, True], TypeError, "dtype bool.*flatnonzero"),
            (1, ValueError, "indices is 1, but a one-dimensional"),
            ([[1]], ValueError, "indices is .*, but a one-dimensional"),
        ],
    )
    def test_indices_are_checked(self, values, error, message):
        for operator in (mlp(1, 1, 1).kernel().operator(np.eye(3)), mlp(1, 4, 1).init(3, rng=0).operator(np.eye(3))):
            with pytest.raises(error, match=message):
                operator.columns(values)

    def test_only_square_operators_have_a_diagonal(self):
        with pytest.raises(ValueError, match=r"this operator has inputs Z: call kernel.operator\(X\)"):
            mlp(1, 1, 1).kernel().operator(np.eye(3), np.eye(3)).diagonal()

    def test_progress_can_stop_it(self):
        def progress(done, total):
            raise InterruptedError(done, total)

        operator = mlp(1, 1, 1).kernel().operator(np.ones((3, 2)), progress=progress)
        with pytest.raises(InterruptedError):
            operator @ np.ones(3)


@pytest.mark.parametrize("get", ["ntk", "nngp"])
@pytest.mark.parametrize("q", [0.0, 1.0, 2.3])
def test_the_scalar_form_is_the_kernel_on_the_sphere(get, q):
    theta = np.linspace(0, np.pi, 50)
    x = np.column_stack([np.cos(theta), np.sin(theta)]) * (2 * q) ** 0.5
    kernel = ARCH.kernel()
    rho = np.cos(theta).reshape(5, 10)
    values = kernel.scalar(rho, get=get, q=q)
    assert values.shape == rho.shape
    # A rounding of ρ near ±1 moves the angle by √ε.
    np.testing.assert_allclose(values.ravel(), kernel(x[:1], x, get=get)[0], rtol=1e-7)
    np.testing.assert_allclose(kernel.scalar(1.0, get=get, q=q), kernel.diag(x[:1], get=get)[0], rtol=10 * EPS)
    for bad in (1.5, -1.0000001):
        with pytest.raises(ValueError, match=r"rho holds .*, but must be in \[-1, 1\]"):
            kernel.scalar([0.0, bad])
    with pytest.raises(ValueError, match=r"q is -1\.0, but must be >= 0 and finite"):
        kernel.scalar(0.0, q=-1)


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_long_diagonals_are_those_of_their_rows(sigma_b):
    """Rows are described in batches, three for 80 000 rows. A zero row has no direction, and is a case of its own."""
    kernel = mlp(2, 1, 1, "relu", 1.5, sigma_b).kernel()
    rows = np.random.default_rng(0).standard_normal((7, 3))
    rows[2] = 0
    places = np.arange(80_000) % 7
    for get in ("ntk", "nngp"):
        assert np.array_equal(kernel.diag(rows[places], get=get), kernel.diag(rows, get=get)[places])


@pytest.mark.parametrize("place", [0, 70_000, 140_000])
def test_every_correlation_is_checked(place):
    rho = np.zeros(140_001)
    rho[place] = 1.5
    with pytest.raises(ValueError, match=r"rho holds 1\.5, but must be in \[-1, 1\]"):
        mlp(1, 1, 1).kernel().scalar(rho)


def test_biases_that_start_at_zero_are_in_deep_homogeneous_kernels(batches):
    """Without biases such a kernel is read from a table of the gap alone. Its parts never are."""
    kernel = Sequential(*[Dense(1, 1.4, 0.0, tau_b=1.0), Relu()] * 4, Dense(1, tau_b=1.0)).kernel()
    assert_close(kernel(batches[0]), sum(kernel(batches[0], per_layer=True)))


def test_entries_of_strided_inputs_are_checked():
    x = np.ones((20, 6))
    x[13, 4] = np.nan
    for view in (x[:, ::2], np.asfortranarray(x)):
        with pytest.raises(ValueError, match="X holds nan"):
            mlp(1, 1, 1).kernel()(view)
