"""The oracles of infinite-width kernels, against each other and against closed forms. No ntkrs here.

Tolerances are a count of roundings times EPS, or the truncation error of the method compared with.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from oracles import infinite, quadrature
from oracles.duals import dual
from oracles.infinite import mp
from oracles.tables import is_smooth

EPS = 2.0**-52

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
    # 1e-13 a dual; a duplicate's rho is 1 only up to eps: sqrt(eps) = 1.5e-8 in Tdot of kinks, more after a jump
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
    """Round-off beyond 1, where arccos would be complex, is clamped. Anything more is an error."""
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
        # the diagonal has rho = 1 up to eps: sqrt(eps) in Tdot of kinks, and eps^(1/4) = 1e-4 after a jump
        assert_allclose(plain, exact, rtol=1e-3 if "sign" in stack else 1e-6, atol=1e-14)
    assert infinite.kernels(x, None, 1.2, 0.0, ["relu", "erf"], rounded=True)[1][0].tolist() == [0.0, 0.0]
