"""The oracles against each other and against closed forms. No ntkrs here.

Tolerances are a count of roundings times EPS, or the truncation error of the method compared with.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, special

from oracles import activations, dynamics, finite, infinite, quadrature
from oracles.duals import CLOSED, dual
from oracles.infinite import mp

EPS = 2.0**-52

# Every activation with a closed-form dual, with parameters away from the defaults.
CLOSED_FORMS = [
    "identity",
    "relu",
    ("leaky_relu", 0.1),
    "abs",
    "sign",
    *[("rectified_power", n) for n in range(4)],
    "erf",
    "gelu",
    ("sin", 1.3, 0.9, 0.4),
    ("cos", 0.7, 1.2, 0.3),
    ("rbf", 0.6),
    ("exp", 0.8, 0.5),
    ("gaussian", 0.7),
    ("polynomial", 0.5, -1.0, 0.25, 0.1, 0.05),
]
OTHERS = ["tanh", "sigmoid", "silu", "softplus", ("elu", 0.7)]
PERFECT = [(1.0, 1.0, 1.0), (0.5, 2.0, -1.0)]  # |rho| = 1
COVARIANCES = [(1.0, 1.0, 0.5), (0.7, 1.9, -0.6), (2.0, 0.3, 0.7), (1.0, 1.0, 0.999), *PERFECT]


def is_smooth(activation):
    return activations.parse(activation)[0] not in activations.KINKED


# Activations


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


# Finite width

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
        # 4 standard errors; the bias at finite width is of order 1 / width, a term wrong would be of order 1
        assert np.all(np.abs(error) < 4 * deviation + limit.max() / width)


# Duals


@pytest.mark.parametrize("activation", CLOSED_FORMS, ids=str)
def test_closed_forms_are_the_integrals(activation):
    for q1, q2, c in COVARIANCES:
        closed = dual(activation, np.float64(q1), np.float64(q2), np.float64(c), np)
        polar = quadrature.dual(activation, q1, q2, c)
        # the quadrature weights carry about 1e-14 each
        assert_allclose(polar, closed, rtol=1e-13, atol=1e-13)
        if is_smooth(activation):
            functions = activations.phi(activation), activations.phi_dot(activation)
            hermite = [quadrature.hermite(f, q1, q2, c) for f in functions]
            assert_allclose(hermite, closed, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("activation", OTHERS, ids=str)
def test_quadrature_agrees_with_itself_where_there_is_no_closed_form(activation):
    for f in activations.phi(activation), activations.phi_dot(activation):
        for q1, q2, c in [*COVARIANCES, (9.0, 4.0, 5.0)]:
            value = quadrature.polar(f, q1, q2, c)
            finer = quadrature.polar(f, q1, q2, c, radial=200, angular=150)
            assert_allclose(value, finer, rtol=1e-13, atol=1e-13)
            if is_smooth(activation) and max(q1, q2) <= 2:
                # Gauss-Hermite is slow for poles near the real axis: 3e-12 for tanh' at q = 2
                assert_allclose(quadrature.hermite(f, q1, q2, c), value, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", CLOSED_FORMS, ids=str)
@pytest.mark.parametrize("q", [(0.0, 1.5), (1.5, 0.0), (0.0, 0.0)], ids=str)
def test_closed_forms_where_an_argument_is_identically_zero(activation, q):
    expected = quadrature.dual(activation, *q, 0.0)  # phi(0) E phi(v) and phi'(0) E phi'(v)
    closed = dual(activation, np.float64(q[0]), np.float64(q[1]), np.float64(0), np)
    exact = dual(activation, mp.mpf(q[0]), mp.mpf(q[1]), mp.mpf(0), mp)
    # 400 nodes with weights to about 1e-13
    assert_allclose(closed, expected, rtol=1e-12, atol=1e-13)
    assert_allclose([float(value) for value in exact], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "activation", [a for a in CLOSED_FORMS if activations.parse(a) not in activations.JUMPS], ids=str
)
def test_price(activation):
    """dT / dc = Tdot, but for jumps, which phi' leaves out."""
    with mp.workdps(50):
        h = mp.mpf(10) ** -15
        for covariance in COVARIANCES[:4]:
            q1, q2, c = map(mp.mpf, covariance)
            above, below = (dual(activation, q1, q2, c + step, mp)[0] for step in (h, -h))
            slope = (above - below) / (2 * h)
            # truncation h^2 T''' / 6 with |T'''| up to (1 - rho)^-5/2 = 3e7; round-off 1e-50 / h
            assert abs(slope - dual(activation, q1, q2, c, mp)[1]) < 1e-22


@pytest.mark.parametrize("activation", CLOSED_FORMS, ids=str)
def test_dual_in_numpy_is_dual_in_mpmath(activation):
    q1, q2 = np.array([[0.4], [1.7]]), np.array([0.9, 1.3, 0.2])
    c = np.array([[0.3, -0.6, 0.1], [0.0, 1.2, -0.5]])
    value, dot = dual(activation, q1, q2, c, np)
    for i, j in np.ndindex(2, 3):
        exact = dual(activation, mp.mpf(q1[i, 0]), mp.mpf(q2[j]), mp.mpf(c[i, j]), mp)
        # about 20 operations on numbers of order 1 to 10
        assert_allclose([value[i, j], dot[i, j]], [float(v) for v in exact], rtol=0, atol=100 * EPS)


# Infinite width

STACKS = [
    [],
    ["relu"],
    ["relu", "erf", ("leaky_relu", 0.2)],
    ["gelu", "identity", "abs"],
    ["gaussian", ("rectified_power", 2), ("rbf", 0.5)],
    [("polynomial", 0.1, 1.0, 0.2), "sin", "cos"],
    ["sign", "relu"],
]


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_relu_diagonal(depth):
    """L hidden relu layers, sigma_w^2 = 2, and a read-out, sigma_w = 1: Theta(x, x) = (L + 1) |x|^2 / d."""
    x = np.random.default_rng(1).standard_normal((3, 7))
    expected = (depth + 1) * np.sum(x * x, axis=1) / 7
    sigma_w = [2**0.5] * depth + [1.0]
    _, ntk = infinite.kernels(x, None, sigma_w, 0.0, ["relu"] * depth, rounded=True)
    # sigma_w^2 is 2 (1 + eps) at worst, in `depth` factors; the expected value has 9 roundings
    assert_allclose(np.diag(ntk), expected, rtol=(2 * depth + 9) * EPS)
    # the NumPy path adds sqrt(eps) in Tdot and 20 roundings a layer
    _, plain = infinite.kernels_numpy(x, None, sigma_w, 0.0, ["relu"] * depth)
    assert_allclose(np.diag(plain), expected, rtol=1e-7)


def test_antiparallel_rows_and_other_exact_values():
    x = np.array([[3.0, -4.0], [-3.0, 4.0], [4.0, 3.0]])
    nngp, ntk = infinite.kernels(x, None, 1.0, 0.0, ["relu"], rounded=True)
    # q = |x|^2 / 2 = 12.5 for every row. rho = 1, -1, 0: T = q / 2, 0, q / (2 pi) and Tdot = 1 / 2, 0, 1 / 4
    half, right = 6.25, 12.5 / (2 * np.pi)
    # 2 roundings; and 120-digit round-off where the kernel is 0
    assert_allclose(nngp, [[half, 0, right], [0, half, right], [right, right, half]], rtol=2 * EPS, atol=1e-110)
    assert_allclose(ntk[0], [2 * half, 0, right], rtol=2 * EPS, atol=1e-110)  # Theta^1 is 12.5, -12.5, 0


@pytest.mark.parametrize(
    ("special_case", "plain"),
    [
        (("leaky_relu", 0.0), "relu"),
        (("leaky_relu", 1.0), "identity"),
        (("leaky_relu", -1.0), "abs"),
        (("rectified_power", 1), "relu"),
        (("polynomial", 0.0, 1.0), "identity"),
        (("rbf", 0.5), ("sin", 2**0.5, 1.0, np.pi / 4)),
        (("cos", 1.0, 2.0, 0.0), ("sin", 1.0, 2.0, np.pi / 2)),
    ],
    ids=str,
)
def test_special_cases(special_case, plain):
    x = np.random.default_rng(2).standard_normal((4, 3))
    first = infinite.kernels(x, None, 1.2, 0.1, [special_case, "erf"], rounded=True)
    second = infinite.kernels(x, None, 1.2, 0.1, [plain, "erf"], rounded=True)
    # the parameters 2^0.5 and pi / 4 are rounded themselves
    assert_allclose(first, second, rtol=0, atol=20 * EPS)


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_numpy_recursion_is_the_mpmath_recursion(stack):
    rng = np.random.default_rng(4)
    x, z = rng.standard_normal((5, 6)), rng.standard_normal((4, 6))
    sigma_w, sigma_b = 0.8 + 0.5 * rng.random(len(stack) + 1), 0.5 * rng.random(len(stack) + 1)
    exact = infinite.kernels(x, z, sigma_w, sigma_b, stack, rounded=True)
    plain = infinite.kernels_numpy(x, z, sigma_w, sigma_b, stack)
    # generic pairs, |rho| < 0.99: about 30 roundings a layer, times slopes of order 1 to 10 in later layers
    assert_allclose(plain, exact, rtol=0, atol=300 * EPS * (len(stack) + 1) * np.max(np.abs(exact)))


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_quadrature_recursion_is_the_mpmath_recursion(stack):
    x = np.array([[0.3, -1.2], [0.9, 0.4], [0.3, -1.2]])
    sigma_w, sigma_b = [1.1, 0.8, 1.3, 0.9][: len(stack) + 1], [0.2, 0.1, 0.4, 0.3][: len(stack) + 1]
    exact = infinite.kernels(x, x, sigma_w, sigma_b, stack, rounded=True)
    # 1e-13 a dual; a duplicate's rho is 1 to eps only: sqrt(eps) = 1.5e-8 in Tdot of kinks, more after a jump
    tolerance = 1e-12 if all(is_smooth(a) for a in stack) else 1e-4 if "sign" in stack else 1e-7
    assert_allclose(quadrature.kernels(x, x, sigma_w, sigma_b, stack), exact, rtol=tolerance, atol=tolerance)


HOSTILE = {
    "unit": np.array([[1.0, 2, 3], [1, 2, 3], [-1, -2, -3], [1, 2, 3 + 2 * EPS], [0, 0, 0]]),
    "collinear": np.outer([1.0, 3.0, -7.0, 11.0, -13.0, 17.0], [1.0, 2.0, 3.0]),
    "huge": 1e150 * np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 6.0], [-1.0, -2.0], [0.0, 1e-250]]),
    "tiny": np.array([[5e-324, 0.0], [5e-324, 5e-324], [1e-310, -1e-310], [0.0, 0.0]]),
}


def check_fifty_digits(rows, stack, sigma_b):
    fifty = infinite.kernels(rows, None, 0.9, sigma_b, stack)
    ninety = infinite.kernels(rows, None, 0.9, sigma_b, stack, digits=90)
    for k50, k90 in zip(fifty, ninety, strict=True):
        scale = [mp.sqrt(value) for value in np.diag(k90)]
        for i, j in np.ndindex(k50.shape):
            # one rounding to 50 digits, relative to sqrt(K_ii K_jj)
            assert abs(k50[i, j] - k90[i, j]) <= mp.mpf(10) ** -49 * scale[i] * scale[j]
            assert k50[i, j] == k50[j, i]


@pytest.mark.parametrize("rows", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("stack", [["relu", "relu"], ["erf", "relu"], ["gelu"], ["sign", "abs"]], ids=str)
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_fifty_digits_are_fifty_digits(rows, stack, sigma_b):
    check_fifty_digits(rows, stack, sigma_b)


def test_fifty_digits_where_the_dual_itself_cancels():
    """T of sin is a difference of numbers near 1, itself as small as c; relu needs its correlation."""
    check_fifty_digits(HOSTILE["tiny"], ["sin", "relu"], 0.0)


def test_duplicates_and_near_duplicates():
    """A duplicate has the diagonal's value; at the angle t one layer of relu loses q t / (2 pi)."""
    t = 1e-12
    x = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, t]])
    _, ntk = infinite.kernels(x, None, [2**0.5, 1.0], 0.0, ["relu"])
    assert ntk[0, 1] == ntk[0, 0] == ntk[1, 1]
    # Sigma^2 + Tdot Theta^1 with q = 1: only Tdot has a term of first order in t; the rest is of order t^2
    assert_allclose(float(ntk[0, 0] - ntk[0, 2]), t / (2 * np.pi), rtol=1e-10)


def test_correlations_beyond_one():
    """Round-off is clamped, where arccos would be complex; anything more is an error."""
    q = mp.mpf(2)
    assert dual("relu", q, q, q * (1 + mp.eps), mp)[1] == 0.5
    assert dual("relu", q, q, -q * (1 + mp.eps), mp)[1] == 0
    with pytest.raises(ArithmeticError, match="more than round-off"):
        dual("relu", q, q, q * (1 + mp.mpf(10) ** -6), mp)


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_zero_rows(stack):
    x = np.array([[0.0, 0.0], [1.0, 2.0]])
    for sigma_b in 0.0, 0.4:
        exact = infinite.kernels(x, None, 1.2, sigma_b, stack, rounded=True)
        plain = infinite.kernels_numpy(x, None, 1.2, sigma_b, stack)
        # the diagonal has rho = 1 to eps: sqrt(eps) in Tdot of kinks, and eps^(1/4) = 1e-4 after a jump
        assert_allclose(plain, exact, rtol=1e-3 if "sign" in stack else 1e-6, atol=1e-14)
    assert infinite.kernels(x, None, 1.2, 0.0, ["relu", "erf"], rounded=True)[1][0].tolist() == [0.0, 0.0]


# Dynamics

SHAPES = [(5, 1, 12), (4, 2, 15), (6, 1, 3)]  # N, O, P; the last one is rank deficient


@pytest.fixture(params=SHAPES, ids=str)
def linear_model(request):
    """A model f = J theta: J on train (N, O, P) and test (3, O, P), theta_0, y (N, O), and its kernels."""
    n, o, p = request.param
    rng = np.random.default_rng(6)
    j, j_test = rng.standard_normal((n, o, p)), rng.standard_normal((3, o, p))
    j[1] = j[0]  # a duplicate, with another label
    theta_0, y = rng.standard_normal(p), rng.standard_normal((n, o))
    return j, j_test, theta_0, y, finite.ntk(j, j), finite.ntk(j_test, j)


def test_matrix_exponential_is_gradient_flow_of_the_parameters(linear_model):
    j, j_test, theta_0, y, k, k_test = linear_model
    for t in 0.0, 0.3, 20.0:
        f = dynamics.gradient_flow(k, k_test, y, j @ theta_0, j_test @ theta_0, 0.2, t, z=y.size)
        theta = dynamics.parameter_flow(j, theta_0, y, 0.2, t, z=y.size)
        # the ODE solver keeps 1e-12 a step, over some 100 steps of values of order 10
        assert_allclose(f[0], j @ theta, rtol=0, atol=1e-9)
        assert_allclose(f[1], j_test @ theta, rtol=0, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_descent_of_the_function_is_descent_of_the_parameters(linear_model, momentum):
    j, j_test, theta_0, y, k, k_test = linear_model
    f0, g0 = j @ theta_0, j_test @ theta_0
    for steps in 0, 1, 2, 50:
        f = dynamics.gradient_descent(k, k_test, y, f0, g0, 0.1, steps, y.size, momentum)
        theta = dynamics.parameter_descent(j, theta_0, y, 0.1, steps, y.size, momentum)
        # `steps` stable steps, each with a sum of P <= 15 products of order 10
        assert_allclose(f[0], j @ theta, rtol=0, atol=(steps + 1) * 15 * 10 * EPS)
        assert_allclose(f[1], j_test @ theta, rtol=0, atol=(steps + 1) * 15 * 10 * EPS)


def phi_flow(lam, t):
    return np.where(lam > 1e-10, -np.expm1(-lam * t) / np.where(lam > 1e-10, lam, 1.0), t)


def phi_heavy_ball(lam, steps, momentum):
    """(1 - r_k / r_0) / lambda with r_k = (1 + mu - lambda) r_{k-1} - mu r_{k-2}, r_1 = (1 - lambda) r_0."""
    before, now = np.ones_like(lam), 1 - lam
    for _ in range(steps - 1):
        before, now = now, (1 + momentum - lam) * now - momentum * before
    return (1 - now) / lam


def test_spectral_formulas(linear_model):
    """f_t(x) = f_0(x) - k U phi_t(lambda) U^T r_0, with rates eta / Z absorbed in t and lambda."""
    j, j_test, theta_0, y, k, k_test = linear_model
    f0, g0 = j @ theta_0, j_test @ theta_0
    lam, u = np.linalg.eigh(dynamics.as_matrix(k))
    r0 = u.T @ (f0 - y).ravel()

    def test_prediction(phi):
        return g0.ravel() - dynamics.as_matrix(k_test) @ u @ (phi * r0)

    flow = dynamics.gradient_flow(k, k_test, y, f0, g0, 0.5, 3.0, z=2.0)[1]
    # eigh is good to N eps |lambda|max; phi of a zero eigenvalue multiplies a k u of the size of eps
    assert_allclose(flow.ravel(), test_prediction(phi_flow(lam, 0.75)), rtol=0, atol=1e-11)
    rate, mu = 0.5 / lam[-1], 0.6
    descent = dynamics.gradient_descent(k, k_test, y, f0, g0, rate, 30, momentum=mu)[1]
    phi = rate * phi_heavy_ball(rate * np.maximum(lam, 1e-14), 30, mu)  # 0 / 0 avoided; k u is of order eps there
    assert_allclose(descent.ravel(), test_prediction(phi), rtol=0, atol=1e-10)


def test_conflicting_labels_of_duplicates_end_at_their_mean():
    k = np.array([[2.0, 2.0, 0.5], [2.0, 2.0, 0.5], [0.5, 0.5, 1.0]])
    y = np.array([1.0, 3.0, -1.0])
    f, g = dynamics.gradient_flow(k, k[:1], y, np.zeros(3), np.zeros(1), 1.0, 100.0)
    # e^{-0.8 * 100} of the slowest mode is left; expm squares some 9 times
    assert_allclose([*f, *g], [2.0, 2.0, -1.0, 2.0], rtol=0, atol=1e-12)


def test_flow_of_other_losses(linear_model):
    j, j_test, theta_0, y, k, k_test = linear_model
    f0, g0 = j @ theta_0, j_test @ theta_0
    square = dynamics.flow_any_loss(k, k_test, lambda f: (f - y) / y.size, f0, g0, 0.2, 2.0)
    exact = dynamics.gradient_flow(k, k_test, y, f0, g0, 0.2, 2.0, z=y.size)
    for f, expected in zip(square, exact, strict=True):
        assert_allclose(f, expected, rtol=0, atol=1e-9)  # the ODE solver, as above

    labels = special.softmax(y, axis=1)

    def cross_entropy(f):
        return (special.softmax(f, axis=1) - labels) / len(f)

    f, g = dynamics.flow_any_loss(k, k_test, cross_entropy, f0, g0, 0.2, 2.0)
    flat, step = j.reshape(-1, theta_0.size), 2.0 / 4000
    theta = theta_0.copy()
    for _ in range(4000):  # the midpoint rule on the parameters: its error is (rate step)^2, rate < 1
        half = theta - 0.1 * step * (flat.T @ cross_entropy(j @ theta).ravel())
        theta = theta - 0.2 * step * (flat.T @ cross_entropy(j @ half).ravel())
    assert_allclose(f, j @ theta, rtol=0, atol=1e-6)
    assert_allclose(g, j_test @ theta, rtol=0, atol=1e-6)


def test_ensemble():
    x = np.random.default_rng(8).standard_normal((6, 3))
    nngp, ntk = infinite.kernels_numpy(x, None, 1.3, 0.2, ["erf", "erf"])
    train, test = slice(0, 4), slice(4, 6)
    s_dd, s_td, s_tt = nngp[train, train], nngp[test, train], nngp[test, test]
    y = np.array([0.5, -1.0, 0.3, 2.0])
    mean, covariance = dynamics.ensemble(ntk[train, train], ntk[test, train], s_dd, s_td, s_tt, y, 0.7, 2.0)
    k, k_test = ntk[train, train], ntk[test, train]
    b = k_test @ np.linalg.solve(k, np.eye(4) - linalg.expm(-1.4 * k))
    # two linear solves of condition number below 100
    assert_allclose(mean, b @ y, rtol=0, atol=1e-12)
    assert_allclose(covariance, s_tt + b @ s_dd @ b.T - b @ s_td.T - s_td @ b.T, rtol=0, atol=1e-12)

    # only the read-out is trained
    mean, covariance = dynamics.ensemble(s_dd, s_td, s_dd, s_td, s_tt, y, 0.7, 2.0)
    inverse = np.linalg.inv(s_dd)
    assert_allclose(mean, s_td @ inverse @ (np.eye(4) - linalg.expm(-1.4 * s_dd)) @ y, rtol=0, atol=1e-12)
    decay = np.eye(4) - linalg.expm(-2.8 * s_dd)
    assert_allclose(covariance, s_tt - s_td @ inverse @ decay @ s_td.T, rtol=0, atol=1e-12)
