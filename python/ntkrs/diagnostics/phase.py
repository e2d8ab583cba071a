"""The phases of deep networks at initialisation: fixed points of variances and correlations, and depth scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntkrs._checks import grids
from ntkrs._checks.advice import shown
from ntkrs.activations import Elementwise, by_name
from ntkrs.plot import VERMILION, panels, styled

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Vector: TypeAlias = NDArray[np.float64]

#: Slopes that differ from 1 by less than this share are 1: they have errors of some ε.
_ROUND_OFF = 64 * float(np.finfo(float).eps)

#: The exponents of the least and the largest variance that are looked at. Series have kernels up to 2⁴⁰.
_LEAST, _LARGEST = -60, 40

#: The same for limits of large variances, which are evaluated at 2⁴⁰: φ differs from its asymptotes by 2⁻²⁰ there.
_LIMIT = 1e-5

#: Variances grow without bound if T is above this: its square must not overflow.
_HUGE = 1e120


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """The result of :func:`phase_diagram`.

    Attributes
    ----------
    sigma_w : (A,) ndarray
        Scales of the weights.
    sigma_b : (B,) ndarray
        Scales of the biases.
    q : (A, B) ndarray
        The variance q* that Σ(x, x) approaches with depth. Infinite where it grows without bound.
    c : (A, B) ndarray
        The correlation c* that two different inputs approach.
    chi : (A, B) ndarray
        χ₁, the factor of the mean squared gradient per layer: below 1 in the ordered phase, above 1 in the chaotic one.
    xi : (A, B) ndarray
        The depth ξ over which correlations approach c*, in layers. Infinite at the edge of chaos.

    Examples
    --------
    >>> from ntkrs.diagnostics import phase_diagram
    >>> found = phase_diagram("relu", 2**0.5, 0.0)
    >>> found.chi.round(12), found.xi  # He's scale is the edge of chaos
    (array([[1.]]), array([[inf]]))
    """

    sigma_w: Vector
    sigma_b: Vector
    q: Vector
    c: Vector
    chi: Vector
    xi: Vector

    def plot(self, ax: Any = None) -> Any:
        """Draw c* over both scales, with the edge of chaos, χ₁ = 1.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            If there are fewer than two values of a scale.
        ImportError
            If matplotlib is not installed.
        """
        for name in ("sigma_w", "sigma_b"):
            if len(getattr(self, name)) < 2:
                raise ValueError(f"{name} has one value, but a map needs at least 2: pass numpy.linspace(...)")
        return _drawn(self, ax)


def phase_diagram(activation: Elementwise | str, sigma_w: ArrayLike, sigma_b: ArrayLike) -> PhaseDiagram:
    """Return the fixed points of deep networks at initialisation, over the scales of weights and biases.

    ::

        q* = sigma_w² T(q*, q*, q*) + sigma_b²            c* = (sigma_w² T(q*, q*, c* q*) + sigma_b²)/q*
        χ₁ = sigma_w² Ṫ(q*, q*, q*)                       ξ = −1/log(sigma_w² Ṫ(q*, q*, c* q*))

    with the dual T, Ṫ of the activation (its method ``dual``). If χ₁ < 1, all inputs become
    equal (``c* = 1``) and gradients vanish; if χ₁ > 1, similar inputs separate and gradients explode. Networks at
    χ₁ = 1, the edge of chaos, can be deep.

    Parameters
    ----------
    activation : activation or str
        φ, such as ``ntkrs.Tanh()`` or ``"tanh"``.
    sigma_w : float or (A,) array_like
        Scales of the weights, positive.
    sigma_b : float or (B,) array_like
        Scales of the biases, at least 0.

    Returns
    -------
    PhaseDiagram
        With arrays ``q``, ``c``, ``chi`` and ``xi``, each (A, B). Its ``plot()`` draws them.

    Raises
    ------
    ValueError, TypeError
        If the activation is not known, a scale is out of its domain, or they are not vectors of finite real numbers.

    Notes
    -----
    q* is the fixed point next to 1 in the direction in which the variance moves from 1. Where variances grow beyond 2⁴⁰
    or the range of float64, q* is infinite, and the others are limits for large variances, without biases. Where q* is
    0, c* is that of small biases, 1. For an activation that jumps, such as sign, correlations leave 1 at an infinite
    slope: χ₁ is infinite, and ξ comes from differences, with errors of 1e-8. All other results are exact to some ε,
    divided by the distance from the edge of chaos.

    Some 40 duals of A·B pairs.

    References
    ----------
    Poole et al. (2016); Schoenholz et al. (2017); Hayou, Doucet, Rousseau (2019).

    Examples
    --------
    >>> from ntkrs.diagnostics import phase_diagram
    >>> found = phase_diagram("tanh", [0.5, 0.9, 2.0], [0.0, 0.3])
    >>> found.chi > 1  # without biases, chaos begins at sigma_w = 1
    array([[False, False],
           [False, False],
           [ True,  True]])
    >>> found.c.round(2)
    array([[1.  , 1.  ],
           [1.  , 1.  ],
           [0.  , 0.26]])
    """
    phi = by_name(activation) if isinstance(activation, str) else activation
    if not isinstance(phi, Elementwise):
        raise TypeError(
            f"activation is {shown(activation)}, but an activation such as ntkrs.Tanh(), or its name, is needed"
        )
    scales = (
        grids.scale_vector(sigma_w, "sigma_w", positive=True),
        grids.scale_vector(sigma_b, "sigma_b", positive=False),
    )
    w, b = (np.ravel(grid) for grid in np.meshgrid(*(scale**2 for scale in scales), indexing="ij"))
    network = _Layers(phi, w, b)
    q = network.variances()
    results = (q, *network.correlations(q))
    shape = len(scales[0]), len(scales[1])
    return PhaseDiagram(*scales, *(result.reshape(shape) for result in results))


class _Layers:
    """The map of one layer, for several networks: their σ_w² and σ_b²."""

    def __init__(self, phi: Elementwise, w: Vector, b: Vector) -> None:
        self._phi, self._w, self._b = phi, w, b
        value, slope = (float(part) for part in phi.dual(1.0, 1.0, 1.0))
        close = float(phi.dual(1.0, 1.0, 1 - 1e-6)[0])
        # The mean slope over the last 1e-6 is at most Ṫ, by Price's law, unless φ jumps.
        self._jumps = (value - close) / 1e-6 > 1.001 * slope
        # The exponent of the largest variance that was looked at.
        self._largest = 1

    def _value(self, exponent: int) -> float:
        """Return T of equal variables, for a power of two as their variance. Infinite if it exceeds float64."""
        try:
            return float(self._phi.dual(*[2.0**exponent] * 3)[0])
        except ValueError:
            if exponent < 1:
                raise
            return np.inf

    def variances(self) -> Vector:
        """Return q* of each network."""
        change = self._w * self._phi.dual(1.0, 1.0, 1.0)[0] + self._b - 1.0
        low, high = np.ones_like(change), np.ones_like(change)
        moving = np.abs(change) > _ROUND_OFF * np.maximum(self._w, 1.0)
        up, down = moving & (change > 0), moving & (change < 0)
        while up.any() and self._largest <= _LARGEST and (value := self._value(self._largest)) < _HUGE:
            low[up], high[up] = high[up], 2.0**self._largest
            up &= self._w * value + self._b > 2.0**self._largest
            self._largest += 1
        self._largest -= 1
        exponent = -1
        while down.any() and exponent >= _LEAST:
            high[down], low[down] = low[down], 2.0**exponent
            # At the edge of chaos without biases, variances fall to 0 by shares of themselves that are soon round-off.
            down &= self._w * self._value(exponent) + self._b < 2.0**exponent * (1 + _ROUND_OFF)
            exponent -= 1
        found = np.flatnonzero(low < high)

        def excess(q: Vector) -> Vector:
            return self._w[found] * self._phi.dual(q, q, q)[0] + self._b[found] - q

        q = low.copy()
        q[found] = _roots(excess, low[found], high[found])
        q[up], q[down] = np.inf, self._b[down]
        return q

    def correlations(self, q: Vector) -> tuple[Vector, Vector, Vector]:
        """Return c*, χ₁ and ξ of each network, given q*."""
        at = np.where(np.isinf(q), 2.0**self._largest, np.maximum(q, 2.0**-200))
        self._values, dot = self._phi.dual(at, at, at)
        chi = self._w * dot
        norm = self._w * self._values + np.where(np.isinf(q), 0.0, self._b)
        slope = np.where(q > 0, at * chi / np.where(q > 0, norm, 1.0), chi)
        error = np.where(np.isinf(q), _LIMIT, _ROUND_OFF)
        if self._jumps:
            chi, slope = np.full_like(chi, np.inf), np.full_like(slope, np.inf)
        gaps = np.zeros_like(q)
        chaotic = np.flatnonzero((slope > 1 + error) & (q > 0))
        if len(chaotic):
            gaps[chaotic] = self._gaps(chaotic, at, norm)
            slope[chaotic] = self._slopes(chaotic, at, norm, gaps)
        with np.errstate(divide="ignore"):
            xi = np.where(slope < 1 - error, -1 / np.log(np.minimum(slope, 1 - error)), np.inf)
        if np.isinf(q).any() and self._growing():
            chi[np.isinf(q)] = np.inf
        return 1 - gaps, chi, xi

    def _map(self, index: Any, at: Vector, norm: Vector, gap: Vector) -> Vector:
        """Return 1 − C(1 − gap), with C the map of correlations, of some networks."""
        q = at[index]
        change = self._values[index] - self._phi.dual(q, q, q * (1 - gap))[0]
        moved: Vector = self._w[index] * change / norm[index]
        return moved

    def _gaps(self, index: Any, at: Vector, norm: Vector) -> Vector:
        """Return 1 − c* of networks in the chaotic phase."""
        high, low = np.ones(len(index)), np.ones(len(index))
        searched = self._map(index, at, norm, low) < 1 - _ROUND_OFF  # otherwise C(0) = 0, so c* = 0
        low[searched] = 0.5
        for _ in range(50):
            part = np.flatnonzero(searched)
            above = self._map(index[part], at, norm, low[part]) > low[part]
            searched[part[above]] = False
            high[searched], low[searched] = low[searched], low[searched] / 2
            if not searched.any():
                break
        found = np.flatnonzero((low < high) & ~searched)

        def excess(gap: Vector) -> Vector:
            return self._map(index[found], at, norm, gap) - gap

        gaps = np.where(searched, 0.0, low)
        gaps[found] = _roots(excess, low[found], high[found])
        return gaps

    def _slopes(self, index: Any, at: Vector, norm: Vector, gaps: Vector) -> Vector:
        """Return the slope of the map of correlations at c*, for networks in the chaotic phase."""
        q, gap = at[index], gaps[index]
        slopes: Vector = self._w[index] * self._phi.dual(q, q, q * (1 - gap))[1] * q / norm[index]
        if self._jumps:
            step = 1e-5 * gap
            above, below = (self._map(index, at, norm, gap + sign * step) for sign in (1, -1))
            slopes = (above - below) / (2 * step)
        return slopes

    def _growing(self) -> bool:
        """Return True if χ₁ grows with the variance where that is large."""
        slopes = [float(self._phi.dual(*[2.0**exponent] * 3)[1]) for exponent in (self._largest - 2, self._largest)]
        return slopes[1] > 1.5 * slopes[0]


def _roots(f: Callable[[Vector], Vector], low: Vector, high: Vector) -> Vector:
    """Return a root of each component of f between two ends with values of different signs (Chandrupatla 1997).

    Ends are positive and at most a factor of 2 apart, so that a root is found to the last digits in some ten steps.
    """
    a, b = high.copy(), low.copy()
    fa, fb = f(a), f(b)
    c, fc = a.copy(), fa.copy()
    t = np.full_like(a, 0.5)
    for _ in range(100):
        x = a + t * (b - a)
        fx = f(x)
        same = np.sign(fx) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        least = 2 * np.finfo(float).eps * np.abs(best) / np.maximum(np.abs(b - a), np.finfo(float).tiny)
        if ((least >= 0.5) | (fa == 0) | (fb == 0)).all():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            inner = (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
            parabola = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        t = np.where(inner & np.isfinite(parabola), parabola, 0.5)
        t = np.clip(t, least, 1 - np.minimum(least, 0.5))
    return best


@styled
def _drawn(result: PhaseDiagram, ax: Any) -> Figure:
    """Draw c* as a map, and χ₁ = 1 as a curve."""
    if ax is None:
        _, ax = panels(4.6)
    scales = result.sigma_w, result.sigma_b
    colours = ax.pcolormesh(*scales, result.c.T, vmin=0, vmax=1, cmap="viridis", shading="nearest")
    ax.figure.colorbar(colours, ax=ax, label="correlation $c^*$ of deep inputs")
    chi = np.minimum(result.chi, 1e3).T  # levels need finite numbers
    if chi.min() < 1 < chi.max():
        ax.contour(*scales, chi, levels=[1.0], colors=VERMILION, linewidths=1.6)
        ax.plot([], [], color=VERMILION, label=r"edge of chaos, $\chi_1=1$")
        ax.legend(loc="upper left", frameon=True)
    ax.set(xlabel=r"$\sigma_w$", ylabel=r"$\sigma_b$")
    return ax.figure  # type: ignore[no-any-return]  # axes are Any
