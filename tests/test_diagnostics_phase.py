"""Fixed points of deep networks: known edges of chaos, the recursion itself, limits, and refusals."""

import mpmath as mp
import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Erf, Relu, Tanh
from ntkrs.diagnostics import phase_diagram
from oracles import quadrature
from oracles.activations import phi, phi_dot
from oracles.tables import EVERY, JUMPS, named
from package import built

EPS = np.finfo(float).eps

#: Scales of both phases, with and without biases.
GRID = [0.4, 1.0, 1.5, 2.5], [0.0, 0.2, 0.7]


def edge_of_erf(q):
    """σ_w and σ_b at which erf has the fixed point q at χ₁ = 1, in closed form (Williams 1997)."""
    w = mp.pi * mp.sqrt(1 + 4 * mp.mpf(q)) / 4
    b = q - w * 2 / mp.pi * mp.asin(2 * mp.mpf(q) / (1 + 2 * mp.mpf(q)))
    return float(mp.sqrt(w)), float(mp.sqrt(b))


def edge(name, q):
    """The same by quadrature, for any φ."""
    value, slope = (quadrature.mean(lambda x, f=f: f(x) ** 2, q) for f in (phi(name), phi_dot(name)))
    return 1 / np.sqrt(slope), np.sqrt(q - value / slope)


class TestEdgeOfChaos:
    @pytest.mark.parametrize("q", [0.01, 0.3, 2.0, 20.0])
    def test_of_erf(self, q):
        found = phase_diagram(Erf(), *edge_of_erf(q))
        assert found.q.item() == pytest.approx(q, rel=1e-12)
        assert found.chi.item() == pytest.approx(1, abs=1e-12)
        assert found.c.item() == pytest.approx(1, abs=1e-11)

    @pytest.mark.parametrize("q", [0.01, 0.3, 2.0])
    @pytest.mark.parametrize("name", ["tanh", "erf"])
    def test_by_quadrature(self, name, q):
        sigma_w, sigma_b = edge(name, q)
        found = phase_diagram(name, sigma_w * np.array([0.99, 1.0, 1.01]), sigma_b)
        assert found.q[1, 0] == pytest.approx(q, rel=1e-11)
        assert found.chi[1, 0] == pytest.approx(1, abs=1e-11)
        assert (found.c[:, 0] == 1).tolist()[::2] == [True, False]
        assert (found.chi[:, 0] > 1).tolist()[::2] == [False, True]

    def test_without_biases(self):
        """Chaos begins at 1/φ'(0): 1 for tanh, √π/2 for erf."""
        for name, scale in (("tanh", 1.0), ("erf", np.sqrt(np.pi) / 2)):
            found = phase_diagram(name, scale * np.array([0.9, 1 - 1e-9, 1 + 1e-6, 1.1]), 0.0)
            assert found.q[:2].tolist() == [[0.0], [0.0]]
            assert (found.q[2:] > 0).all()
            assert found.c[:, 0].tolist() == [1.0, 1.0, 0.0, 0.0]
            assert found.chi[0, 0] == pytest.approx(0.81, rel=1e-12)
            assert found.xi[0, 0] == pytest.approx(-1 / np.log(0.81), rel=1e-12)

    def test_of_relu(self):
        """χ₁ = σ_w²/2 at any variance, and correlations approach 1 in all phases, in the chaotic one slowly."""
        found = phase_diagram(Relu(), [1.0, np.sqrt(2), 1.7], [0.0, 0.5])
        np.testing.assert_allclose(found.chi, np.square([[1.0], [np.sqrt(2)], [1.7]]) / 2 * np.ones(2), rtol=1e-15)
        assert (found.c == 1).all()
        np.testing.assert_allclose(found.q, [[0.0, 0.5], [1.0, np.inf], [np.inf, np.inf]], rtol=1e-15)
        np.testing.assert_allclose(found.xi, [[1 / np.log(2)] * 2, [np.inf] * 2, [np.inf] * 2], rtol=1e-12)


@pytest.mark.parametrize("activation", **named(EVERY))
def test_fixed_points_are_fixed(activation):
    """By the quadrature of the oracles, at every finite q*: it knows no closed form and no series."""
    found = phase_diagram(built(activation), [0.7, 1.4], [0.0, 0.4])
    for name in ("q", "c", "chi", "xi"):
        assert not np.isnan(getattr(found, name)).any()
        assert (getattr(found, name) >= 0).all()
    assert (found.c <= 1).all()
    for (i, sigma_w), (j, sigma_b) in ((a, b) for a in enumerate(found.sigma_w) for b in enumerate(found.sigma_b)):
        q, c = found.q[i, j], found.c[i, j]
        if 0 < q < np.inf:
            value, dot = quadrature.dual(activation, q, q, q, exact=True)
            scale = max(1.0, sigma_w**2 * value)
            assert abs(sigma_w**2 * value + sigma_b**2 - q) <= 1e-11 * scale
            if activation not in JUMPS.values():
                assert found.chi[i, j] == pytest.approx(sigma_w**2 * dot, rel=1e-10, abs=1e-12)
            value, dot = quadrature.dual(activation, q, q, c * q, exact=True)
            assert abs(sigma_w**2 * value + sigma_b**2 - c * q) <= 1e-11 * scale
            slope = sigma_w**2 * dot
            if activation not in JUMPS.values() and abs(slope - 1) > 1e-6:
                assert found.xi[i, j] == pytest.approx(-1 / np.log(slope) if slope else 0.0, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"), [("erf", 1.6, 0.3), ("erf", 1.0, 0.5), ("sin", 1.4, 0.4), ("sign", 1.2, 0.4)]
)
def test_deep_kernels_approach_the_fixed_points(name, sigma_w, sigma_b):
    """Kernels of growing depth end at q* and c*, at the rate exp(-depth/ξ)."""
    found = phase_diagram(name, sigma_w, sigma_b)
    x = np.random.default_rng(0).standard_normal((2, 3))
    correlations = []
    for depth in (20, 21, 300):
        kernel = ntkrs.mlp(depth, 1, 1, name, sigma_w, sigma_b).kernel()(x, get="nngp")
        correlations.append(kernel[0, 1] / np.sqrt(kernel[0, 0] * kernel[1, 1]))
    assert kernel[0, 0] == pytest.approx(found.q.item(), rel=1e-12)
    assert correlations[2] == pytest.approx(found.c.item(), abs=1e-10)
    rate = (correlations[1] - correlations[2]) / (correlations[0] - correlations[2])
    assert rate == pytest.approx(np.exp(-1 / found.xi.item()), rel=0.03)  # depth 20: the next order in the distance


def test_jumps_are_chaotic():
    """Correlations of sign leave 1 with infinite slope: c* = 2/π arcsin(c*) without biases has the root 0."""
    found = phase_diagram("sign", 1.0, [0.0, 1.0])
    assert np.isinf(found.chi).all()
    assert found.q.tolist() == [[1.0, 2.0]]
    root = mp.findroot(lambda c: (2 / mp.pi * mp.asin(c) + 1) / 2 - c, 0.6)
    np.testing.assert_allclose(found.c, [[0.0, float(root)]], rtol=1e-13)
    slopes = [2 / np.pi, 1 / np.pi / np.sqrt(1 - float(root) ** 2)]
    np.testing.assert_allclose(found.xi, [-1 / np.log(slopes)], rtol=1e-7)


def test_variances_may_grow_without_bound():
    found = phase_diagram(ntkrs.Exp(), 2.0, 0.0)
    assert [found.q.item(), found.chi.item(), found.c.item()] == [np.inf, np.inf, pytest.approx(0, abs=1e-12)]
    found = phase_diagram(ntkrs.Monomial(3), 2.0, 0.0)  # C(c) = (9c + 6c³)/15, whose root below 1 is 0
    assert [found.q.item(), found.chi.item(), found.c.item()] == [np.inf, np.inf, 0.0]
    assert found.xi.item() == pytest.approx(-1 / np.log(9 / 15), rel=1e-12)


def test_functions_and_shapes():
    ours = Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2)
    one, other = phase_diagram(ours, *GRID), phase_diagram(Tanh(), *GRID)
    for name in ("q", "c", "chi", "xi"):
        assert getattr(one, name).shape == (4, 3)
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)
    assert one.q[1, 0] == other.q[1, 0] == 0  # the edge of chaos without biases
    again = phase_diagram("tanh", np.array(GRID[0])[::-1], GRID[1])
    np.testing.assert_allclose(again.c, other.c[::-1], rtol=1e-12)
    assert phase_diagram("tanh", 1, 0).c.shape == (1, 1)


def test_plot():
    figures = pytest.importorskip("matplotlib.figure")
    found = phase_diagram("erf", *GRID)
    figure = found.plot()
    assert isinstance(figure, figures.Figure)
    assert figure.axes[0].get_legend_handles_labels()[1] == [r"edge of chaos, $\chi_1=1$"]
    ax = figures.Figure().subplots()
    assert found.plot(ax) is ax.figure
    assert phase_diagram("relu", [0.2, 0.4], [0.0, 0.1]).plot().axes[0].get_legend() is None
    with pytest.raises(ValueError, match="sigma_b has one value, but a map needs at least 2"):
        phase_diagram("erf", [1.0, 2.0], 0.1).plot()


def test_bad_input_is_refused():
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"sigma_w holds {bad}, but must be positive"):
            phase_diagram("erf", [1.0, bad], 0.1)
    with pytest.raises(ValueError, match=r"sigma_b holds -0\.1, but must be >= 0"):
        phase_diagram("erf", 1.0, [-0.1])
    for bad in (np.ones((2, 2)), []):
        with pytest.raises(ValueError, match=r"sigma_w has shape .*, but a number or a vector of at least 1 entry"):
            phase_diagram("erf", bad, 0.1)
    with pytest.raises(ValueError, match="sigma_b holds nan"):
        phase_diagram("erf", 1.0, np.nan)
    with pytest.raises(TypeError, match="sigma_w holds complex numbers"):
        phase_diagram("erf", 1j, 0.0)
    with pytest.raises(ValueError, match=r"activation is 'swihs'"):
        phase_diagram("swihs", 1.0, 0.0)
    with pytest.raises(TypeError, match=r"activation is .*tanh.*, but an activation such as ntkrs.Tanh"):
        phase_diagram(np.tanh, 1.0, 0.0)
