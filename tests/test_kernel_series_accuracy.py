"""Accuracy of series kernels, also between near duplicates and for large inputs, and their own error bounds."""

import warnings

import mpmath
import numpy as np
import pytest
from scipy import special

import ntkrs
from ntkrs import Activation, Dense, Elu, Erf, Relu, Selu, Sequential, Tanh, mlp
from oracles import conditional, quadrature
from oracles.activations import SELU_ALPHA, SELU_SCALE, phi, phi_dot
from oracles.tables import SERIES, is_smooth
from package import built

EPS = np.finfo(np.float64).eps

SMOOTH = [name for name, activation in SERIES.items() if is_smooth(activation)]
SELU = {"alpha": SELU_ALPHA, "scale": SELU_SCALE}
GAPS = [1e-14, 1e-8, 1e-3, 0.1, 0.5, 1.0, 1.9]


def pair(first, second, gap):
    """Return two inputs of these √(|x|²/n_0), and the exact roots and gap of the rounded inputs."""
    x = np.sqrt(2) * np.array([[first, 0.0], [second * (1 - gap), second * np.sqrt(gap * (2 - gap))]])
    with mpmath.mp.workdps(40):
        a, b = ([mpmath.mpf(value) for value in row] for row in x)
        norms = [mpmath.sqrt(row[0] ** 2 + row[1] ** 2) for row in (a, b)]
        rho = (a[0] * b[0] + a[1] * b[1]) / (norms[0] * norms[1])
        cross = (a[0] * b[1] - a[1] * b[0]) / (norms[0] * norms[1])
        exact = cross**2 / (1 + rho) if rho > 0 else 1 - rho
        return x, [norm / mpmath.sqrt(2) for norm in norms], exact


def one_layer(activation, x):
    return Sequential(Dense(1), activation, Dense(1)).kernel()(x, get=("nngp", "ntk"))


def relative(kernel, diagonals, truth):
    return float(abs(kernel - truth) / mpmath.sqrt(diagonals[0] * diagonals[1]))


@pytest.mark.parametrize(("activation", "parameters"), [(Elu(), {}), (Selu(), SELU)], ids=["elu", "selu"])
@pytest.mark.parametrize("roots", [(1.0, 1.0), (0.1, 5.0), (20.0, 20.0)], ids=str)
def test_kinks_cost_no_digits(activation, parameters, roots):
    for gap in GAPS:
        x, (r1, r2), exact_gap = pair(*roots, gap)
        value, dot = conditional.elu(r1, r2, exact_gap, **parameters)
        kernel = one_layer(activation, x)
        diagonal = np.diag(kernel.nngp), np.diag(kernel.ntk)
        theta = value + dot * r1 * r2 * (1 - exact_gap)
        assert relative(kernel.nngp[0, 1], diagonal[0], value) <= 16 * EPS
        assert relative(kernel.ntk[0, 1], diagonal[1], theta) <= 64 * EPS
    # The diagonal itself, from a pair so close that T is that of a single root to all digits.
    for row, r in zip((0, 1), (r1, r2), strict=True):
        value, dot = conditional.elu(r, r, mpmath.mpf("1e-36"), **parameters)
        assert abs(kernel.nngp[row, row] / value - 1) <= 16 * EPS
        assert abs(kernel.ntk[row, row] / (value + dot * r * r) - 1) <= 64 * EPS


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("roots", [(0.1, 0.1), (1.0, 1.0), (5.0, 5.0), (20.0, 20.0), (0.3, 8.0)], ids=str)
def test_smooth_ones_are_right_to_round_off_at_any_scale(name, roots):
    activation = built(name)
    for gap in GAPS:
        x, *exact = pair(*roots, gap)
        r1, r2, e = (float(value) for value in (*exact[0], exact[1]))
        value, dot = (conditional.smooth(f(name), r1, r2, e) for f in (phi, phi_dot))
        kernel = one_layer(activation, x)
        # The rounding of the rule's own sums of up to 4000² terms.
        assert relative(kernel.nngp[0, 1], np.diag(kernel.nngp), value) <= 64 * EPS
        theta = value + dot * r1 * r2 * (1 - e)
        assert relative(kernel.ntk[0, 1], np.diag(kernel.ntk), theta) <= 64 * EPS


@pytest.mark.parametrize("gap", [1e-14, 1e-9, 1e-5])
@pytest.mark.parametrize("roots", [(1.0, 1.0), (0.4, 3.0)], ids=str)
def test_gaps_keep_their_digits_through_a_kink(roots, gap):
    """The slope at 0 of E relu relu after ELU is √(2 gap), so T(1) - T(ρ) must be right to its own digits."""
    x, (r1, _), gap = pair(roots[0], roots[0], gap)
    arch = Sequential(Dense(1), Elu(), Dense(1), Relu(), Dense(1))
    ntk = arch.kernel()(x)
    value, dot = conditional.elu(r1, r1, mpmath.mpf("1e-36"))
    # 1 − ρ' = gap r² Ṫ/T up to a relative √gap, as φ'' jumps.
    angle = mpmath.sqrt(2 * gap * r1 * r1 * dot / value)
    expected = ntk[0, 0] - angle / (2 * mpmath.pi) * (value + r1 * r1 * dot)
    assert abs(ntk[0, 1] - expected) <= 4 * gap + 8 * EPS


def softsign(x):
    return x / (1 + abs(x))


def softsign_slope(x):
    return (1 + abs(x)) ** -2


#: Functions that vary on a scale of 1, with and without a kink at 0.
SCALED = {name: (built(name), phi(name), phi_dot(name)) for name in ("tanh", "sigmoid", "mish", "elu", "selu")}
SCALED["softsign"] = (Activation(softsign, softsign_slope), softsign, softsign_slope)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("roots", [(60.0, 90.0), (1000.0, 1000.0), (3000.0, 0.1), (1e6, 1e6)], ids=str)
def test_no_scale_of_the_inputs_costs_digits(name, roots):
    """The order from which on coefficients are negligible, or a power law, is a multiple of r²."""
    activation, *functions = SCALED[name]
    for gap in (1e-14, 1e-6, 0.1, 1.9):
        x, *exact = pair(*roots, gap)
        r1, r2, e = (float(value) for value in (*exact[0], exact[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kernel = one_layer(activation, x)
        value, dot = (conditional.kinked(f, r1, r2, e) for f in functions)
        assert relative(kernel.nngp[0, 1], np.diag(kernel.nngp), value) <= 64 * EPS
        theta = value + dot * r1 * r2 * (1 - e)
        # Ṫ adds up as many as 46 octaves.
        assert relative(kernel.ntk[0, 1], np.diag(kernel.ntk), theta) <= 256 * EPS


@pytest.mark.parametrize("size", [1e-3, 1.0, 60.0, 78.0, 90.0, 1000.0, 1e6])
def test_the_bound_of_a_kink_holds_against_fifty_digits(size):
    kernel = Sequential(Dense(1), Activation(softsign, softsign_slope), Dense(1)).kernel()
    x = np.array([[size]])
    bound, found = kernel.error_bound(x), kernel(x, get=("nngp", "ntk"))
    with mpmath.mp.workdps(50):
        r = mpmath.mpf(size)
        edges = [0, *(mpmath.mpf(16) / 2**k for k in range(int(np.log2(16 * size + 16)) + 3, -1, -1))]
        density = [lambda z, f=f: 2 * f(r * z) ** 2 * mpmath.npdf(z) for f in (softsign, softsign_slope)]
        value, dot = (mpmath.quad(f, edges, method="gauss-legendre") for f in density)
        errors = [abs(found.nngp[0, 0] / value - 1), abs(found.ntk[0, 0] / (value + dot * r * r) - 1)]
    assert errors[0] <= bound.nngp
    assert errors[1] <= bound.ntk
    assert max(bound) <= 4e-13


def shifted(x):
    return np.maximum(x - 0.5, 0)


def shifted_slope(x):
    return (x > 0.5).astype(float)


def shifted_moments(size):
    """E φ(u)² and E φ'(u)² of `shifted`, for u ~ N(0, size²)."""
    a = 0.5 / size
    share = special.ndtr(-a)
    return size**2 * ((1 + a * a) * share - a * np.exp(-a * a / 2) / np.sqrt(2 * np.pi)), share


@pytest.mark.parametrize(
    ("activation", "size", "moments"),
    [
        (Activation(shifted, shifted_slope), 1.0, shifted_moments(1.0)),
        (Activation(shifted, shifted_slope), 20.0, shifted_moments(20.0)),
        (Activation(np.sin, np.cos), 4000.0, (0.5, 0.5)),
    ],
    ids=["shifted 1", "shifted 20", "sin 4000"],
)
@pytest.mark.filterwarnings("ignore:the kernel's series")
def test_the_bound_holds_where_series_are_too_short(activation, size, moments):
    kernel = Sequential(Dense(1), activation, Dense(1)).kernel()
    x = np.full((1, 3), size)
    bound, found = kernel.error_bound(x), kernel(x, get=("nngp", "ntk"))
    value, dot = moments
    ntk = value + dot * size**2
    errors = abs(found.nngp[0, 0] - value) / value, abs(found.ntk[0, 0] - ntk) / ntk
    assert errors[0] <= bound.nngp
    assert errors[1] <= bound.ntk
    assert max(bound) > 1e-10
    # The bound is not far above the error either.
    assert max(bound) <= 100 * max(errors)


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 20.0, 60.0, 1e3, 1e5])
def test_ordinary_inputs_are_within_round_off_and_not_warned_of(name, size):
    x = size * np.array([[1.0, 1.0], [1.0, 1.0 + 1e-9], [-1.0, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel = mlp(3, 1, 1, built(SERIES[name]), 1.3, 0.1).kernel()
        kernel(x)
        assert max(kernel.error_bound(x)) <= 4e-12


def test_closed_forms_after_series_are_not_warned_of():
    x = np.random.default_rng(0).standard_normal((6, 4))
    x[1] = x[0] * (1 + 1e-9)
    layers = [Dense(1, 1.2), Tanh(), Dense(1, 1.2), Relu()] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel = Sequential(*layers, Dense(1)).kernel()
        kernel(x)
        assert max(kernel.error_bound(x)) <= 4e-12


@pytest.mark.parametrize("name", ["relu", "erf", "identity", "polynomial"])
def test_closed_forms_have_no_bound(name):
    activation = ntkrs.Polynomial(0.0, 1.0, 0.5) if name == "polynomial" else name
    assert mlp(3, 1, 1, activation, 1.3, 0.2).kernel().error_bound(np.eye(3)) == (0.0, 0.0)


def faintly_shifted(x):
    return x + 1e-8 * shifted(x)


def faintly_shifted_slope(x):
    return 1 + 1e-8 * shifted_slope(x)


def test_a_bound_past_tolerance_is_warned_of():
    kernel = mlp(1, 1, 1, Activation(faintly_shifted, faintly_shifted_slope)).kernel()
    message = r"the kernel's series are too short.*of √\(K_ii K_jj\)"
    for call in (kernel, kernel.depths, lambda x: kernel(x, per_layer=True)):
        with pytest.warns(RuntimeWarning, match=message) as caught:
            call(np.ones((2, 2)))
        assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match=message):
        mlp(1, 1, 1, Activation(shifted, shifted_slope)).kernel()(np.ones((2, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A float32 result rounds more than the series leaves out.
        kernel(np.ones((2, 2), np.float32))


def test_bounds_of_two_batches_are_those_of_the_worse_one():
    kernel = mlp(1, 1, 1, Activation(np.sin, np.cos)).kernel()
    easy, hard = np.ones((2, 3)), np.full((2, 3), 4000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel(easy)
    for batches in ((easy, hard), (hard, easy)):
        assert kernel.error_bound(*batches) == kernel.error_bound(hard)
        with pytest.warns(RuntimeWarning, match="the kernel's series are too short"):
            kernel(*batches)


def test_an_exact_activation_passes_errors_on():
    """It adds none. Those of its gap reach the NTK twice: by the NTK before it, and by its own slope."""
    parts = Dense(1), Activation(shifted, shifted_slope), Dense(1)
    one = Sequential(*parts).kernel().error_bound(np.ones((1, 2)))
    two = Sequential(*parts, Erf(), Dense(1)).kernel().error_bound(np.ones((1, 2)))
    assert one.nngp > 0
    assert two == (one.nngp, one.ntk + one.nngp)


def test_the_quadrature_of_the_oracle_agrees_with_another():
    for r1, r2, gap in [(1.0, 1.0, 0.3), (0.5, 2.0, 0.01), (2.0, 1.0, 1.5)]:
        c = r1 * r2 * (1 - gap)
        assert conditional.elu(r1, r2, gap)[0] == pytest.approx(
            quadrature.polar(phi("elu"), r1**2, r2**2, c), rel=1e-11
        )
        for f in (phi("tanh"), phi_dot("silu")):
            exact = quadrature.hermite(f, r1**2, r2**2, c)
            # 200 nodes resolve tanh(2 z) no better.
            assert conditional.smooth(f, r1, r2, gap) == pytest.approx(exact, abs=1e-9)
