"""The speed at which a mode of the kernel is learned by gradient flow, gradient descent or heavy ball, in closed form.

Along an eigenvector of eigenvalue λ, training for a time t multiplies the residual by ``1 − d_t(x)``, ``x = ηλ/Z``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ntkrs._checks import memory
from ntkrs._checks.kernels import steps, times
from ntkrs._checks.scaling import ldexp, product
from ntkrs.errors import DivergenceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike
    from ntkrs.predict.modes import Modes

#: If the whole kernel is 0, 1/λ is at most the inverse of this, so that sums of such terms stay finite.
_TINIEST = 2.0**-1000

#: Where the product of x and the effective time is below this, d_t may underflow. It is then proportional to x.
_LINEAR = 2.0**-900

#: The series for short times is used where rates times t are at most this. Other formulas lose a digit there.
_START = 1 / 8

#: The number of its terms. The next is below ε/10 of the first.
_TERMS = 12

#: Longer finite times are no different, and would overflow.
_LONGEST = 1e280

#: A learning rate within this relative distance of the bound is at the bound. Eigenvalues are not more accurate.
_AT_BOUND = 1e-12


class Rule(Protocol):
    """The interface of a training rule, as :class:`ntkrs.predict.mse.MseDynamics` uses it."""

    #: True if large learning rates diverge.
    bounded: ClassVar[bool]

    @property
    def rate(self) -> float:
        """η/Z."""

    def times(self, t: ArrayLike | None) -> NDArray[np.float64]:
        """Return the times, checked."""

    def check(self, largest: float, exponent: int, t: NDArray[np.float64] | None = None, *, exact: bool = True) -> None:
        """Refuse a rate that diverges for ``largest · 2^exponent``: λ_max, or a lower bound of it if not ``exact``."""

    def decay(self, scaled: NDArray[np.float64], exponent: int, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``d_t`` for the positive eigenvalues ``scaled · 2^exponent``, (..., n)."""

    def drift(self, exponent: int, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``d_t(x)/λ`` for λ → 0, times ``2^exponent``, (...,)."""

    def time_scales(self, scaled: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
        """Return the time in which a mode's residual shrinks by a factor of e in the long run."""


@dataclass(frozen=True)
class Flow:
    """``μ ẅ + (1 − μ) ẇ = −η ∇L``: gradient flow for μ = 0, otherwise the limit of the heavy ball (Qian 1999).

    Attributes
    ----------
    rate : float
        η/Z.
    momentum : float
        μ.
    """

    bounded: ClassVar[bool] = False
    rate: float
    momentum: float

    def times(self, t: ArrayLike | None) -> NDArray[np.float64]:
        """Return the times, checked."""
        return times(t)

    def check(self, largest: float, exponent: int, t: NDArray[np.float64] | None = None, *, exact: bool = True) -> None:
        """Accept any rate: continuous time is always stable."""

    def decay(self, scaled: NDArray[np.float64], exponent: int, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``1 − e^{−xt}``; with momentum, the same for a damped oscillator that starts at rest."""
        if self.momentum == 0:
            with np.errstate(over="ignore"):
                return np.asarray(-np.expm1(-product((self.rate, t), exponent)[..., None] * scaled))
        mu = self.momentum
        rates = product((self.rate, scaled), exponent)
        decay = _by_damping(rates <= (1 - mu) ** 2 / 4 / mu, rates, t, self._overdamped, self._underdamped)
        with np.errstate(over="ignore", invalid="ignore"):  # 0 · ∞ is not short
            least = product((self.rate, t), exponent) * scaled.min(initial=np.inf) * (t / mu)
            short = self._short(t) & (least <= _START**2)
            start = t[short][..., None]
            stiffness = product((self.rate, start), exponent) * scaled * (start / mu)
        decay[short] = _near_start(decay[short], start / mu * (1 - mu), stiffness, 0.0)
        return decay

    def drift(self, exponent: int, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``ηt/Z``; with momentum, ``(η/Z)(t − τ(1 − e^{−t/τ}))/(1 − μ)``, where ``τ = μ/(1 − μ)``."""
        mu = self.momentum
        if mu == 0:
            return product((self.rate, t), exponent)
        short = self._short(t)
        start = t[short]
        series = _series(start / mu * (1 - mu), 0.0, 0.0)
        with np.errstate(over="ignore"):
            tau = mu / (1 - mu)
            drift = product((self.rate, (t + tau * np.expm1(-t / tau)) / (1 - mu)), exponent)
            drift[short] = product((self.rate, start), exponent) * (start / mu / 2) * series
        return drift

    def time_scales(self, scaled: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
        """Return ``1/x`` for μ = 0; with momentum, the inverse of the smaller decay rate."""
        rates = np.minimum(product((self.rate, scaled), exponent), np.finfo(float).max)
        friction = 1 - self.momentum
        with np.errstate(divide="ignore", over="ignore"):
            discriminant = friction**2 - 4 * self.momentum * rates
            monotone = (friction + np.sqrt(np.maximum(discriminant, 0.0))) / (2 * rates)
        return np.where(discriminant < 0, 2 * self.momentum / friction, monotone)

    def _short(self, t: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return True for times far below ``μ/(1 − μ)``, in which friction does little."""
        with np.errstate(over="ignore"):
            return np.asarray(t / self.momentum * (1 - self.momentum) <= _START)

    def _overdamped(self, x: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``d_t`` where both decay rates are real."""
        mu, friction = self.momentum, 1 - self.momentum
        root = np.sqrt(np.maximum(friction**2 - 4 * mu * x, 0.0))
        slow = 2 * x / (friction + root)  # the smaller of the two decay rates; the other is slow + root/μ
        width = np.broadcast_to(root / mu, np.broadcast_shapes(root.shape, t.shape))
        between = np.array(np.broadcast_to(t, width.shape))
        np.divide(-np.expm1(-width * t), width, out=between, where=width > 0)
        return -np.expm1(-slow * t) - slow * np.exp(-slow * t) * between

    def _underdamped(self, x: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``d_t`` where the decay rates are complex."""
        mu, friction = self.momentum, 1 - self.momentum
        damping = friction / (2 * mu) * t
        root = np.sqrt(np.maximum(4 * mu * x - friction**2, np.finfo(float).tiny))
        # A longer phase has no correct digits, but the amplitude bounds its effect.
        phase = np.minimum(root / (2 * mu) * t, 1e300)
        oscillation = 2 * np.sin(phase / 2) ** 2 - friction / root * np.sin(phase)
        return -np.expm1(-damping) + np.exp(-damping) * oscillation


@dataclass(frozen=True)
class Descent:
    """``v ← μv − η ∇L, w ← w + v`` from v = 0: gradient descent for μ = 0, otherwise heavy ball (Polyak 1964).

    The residual of a mode after k steps is ``p_k = (1 + μ − x) p_{k−1} − μ p_{k−2}``, ``p_0 = p_{−1} = 1``. With the
    roots z± of ``z² − (1 + μ − x) z + μ`` and ``S_k = (z₊^k − z₋^k)/(z₊ − z₋)``, it is ``S_{k+1} − μ S_k``. Replacing x
    by ``2(1 + μ) − x`` changes the sign of the roots, and p_k becomes ``(−1)^k (S_{k+1} + μ S_k)``. The roots are
    therefore needed only for ``x ≤ 1 + μ``.

    Attributes
    ----------
    rate : float
        η/Z.
    momentum : float
        μ.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.predict.rules import Descent
    >>> half = np.array([0.5])  # x = 1/2
    >>> Descent(rate=1.0, momentum=0.0).decay(half, 0, np.array(3.0))  # 1 − (1 − x)³
    array([0.875])
    """

    bounded: ClassVar[bool] = True
    rate: float
    momentum: float

    def times(self, t: ArrayLike | None) -> NDArray[np.float64]:
        """Return the numbers of steps, checked."""
        return steps(t)

    def check(self, largest: float, exponent: int, t: NDArray[np.float64] | None = None, *, exact: bool = True) -> None:
        """Refuse ``x > 2(1 + μ)``, and ``x = 2(1 + μ)`` for infinitely many steps."""
        share = float(product((self.rate / (2 * (1 + self.momentum)), np.asarray(largest)), exponent))
        if share > 1 + _AT_BOUND:
            least, relation = ("", "=") if exact else ("at least ", ">=")
            raise DivergenceError(
                f"learning_rate is {least}{share:.6g} times the largest that is stable, 2(1 + momentum)Z/lambda_max "
                f"with lambda_max {relation} {ldexp(largest, exponent):.6g}: gradient descent diverges. "
                "Pass at most ntkrs.predict.max_learning_rate(k_train_train, y_train.size), or use optimizer='flow'."
            )
        if share >= 1 - _AT_BOUND and t is not None and np.isinf(t).any():
            raise ValueError(
                "learning_rate is the largest that is stable: the fastest mode oscillates forever, and t=None has no "
                "limit. Lower it, or pass a finite number of steps."
            )

    def decay(self, scaled: NDArray[np.float64], exponent: int, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``1 − p_k``."""
        mu = self.momentum
        rates = np.minimum(product((self.rate, scaled), exponent), 2 * (1 + mu))
        overdamped = np.minimum(rates, 2 * (1 + mu) - rates) <= self._critical
        decay = _by_damping(overdamped, rates, t, self._overdamped, self._underdamped)
        with np.errstate(over="ignore", invalid="ignore"):  # 0 · ∞ is not short
            short = self._short(t) & (t**2 * rates.min(initial=np.inf) <= _START**2)
        steps = t[short][..., None] + 1
        decay[short] = _near_start(decay[short], steps * (1 - mu + rates), steps**2 * rates, 1 / steps)
        return decay

    def drift(self, exponent: int, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(η/Z) (k − μ(1 − μ^k)/(1 − μ))/(1 − μ)``."""
        mu = self.momentum
        with np.errstate(over="ignore"):
            drift = product((self.rate, (t - mu * (1 - mu**t) / (1 - mu)) / (1 - mu)), exponent)
        short = self._short(t)
        steps = t[short] + 1
        drift[short] = product((self.rate, t[short] * steps / 2 * _series(steps * (1 - mu), 0.0, 1 / steps)), exponent)
        return drift

    def time_scales(self, scaled: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
        """Return ``−1/log|z|`` of the larger root."""
        mu = self.momentum
        rates = np.minimum(product((self.rate, scaled), exponent), 2 * (1 + mu))
        mirrored = np.minimum(rates, 2 * (1 + mu) - rates)
        overdamped = mirrored <= self._critical
        logs = np.full(rates.shape, 0.5 * np.log(mu) if mu else 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            logs[overdamped] = np.log1p(-self._roots(mirrored[overdamped])[0])
            return np.asarray(1 / np.abs(logs))

    def _short(self, k: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return True for far fewer than ``1/(1 − μ)`` steps, in which friction does little."""
        return np.asarray((k + 1) * (1 - self.momentum) <= _START)

    @property
    def _critical(self) -> float:
        """The bound ``(1 − √μ)²``, up to which the roots are real."""
        return float((1 - self.momentum) ** 2 / (1 + self.momentum**0.5) ** 2)

    def _roots(self, y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``1 − z₊`` and ``z₊ − z₋``, both real, for y <= 1 + μ."""
        mu = self.momentum
        between = np.sqrt((self._critical - y) * ((1 + mu**0.5) ** 2 - y))
        return 2 * y / (1 - mu + y + between), between

    def _overdamped(self, x: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``1 − p_k`` where the roots are real."""
        mu = self.momentum
        mirrored = x > 1 + mu
        gap, between = self._roots(np.where(mirrored, 2 * (1 + mu) - x, x))
        with np.errstate(divide="ignore"):  # log 0, for μ = 0 and x = 1
            logarithm = k * np.log1p(-gap)
        power, shrinkage = np.exp(logarithm), -np.expm1(logarithm)
        if mu == 0:
            return np.asarray(np.where(mirrored, 1 - _sign(k) * power, shrinkage))
        slow = np.maximum(1 - gap, max(mu**0.5, 1e-20))  # z₊ is at least √μ
        fast = mu / slow
        with np.errstate(divide="ignore"):  # z₋/z₊ below ε: its powers are 0
            ratio = -np.log1p(-between / slow)
        # S_k = z₊^k (1 − (z₋/z₊)^k)/(z₊ − z₋)
        sums = power * np.divide(-np.expm1(-k * ratio), between, out=k / slow, where=between > 0)
        alternating = power + (fast + mu) * sums
        return np.asarray(np.where(mirrored, 1 - _sign(k) * alternating, shrinkage - fast * gap * sums))

    def _underdamped(self, x: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``1 − p_k`` where the roots are complex."""
        mu = self.momentum
        mirrored = x > 1 + mu
        y = np.where(mirrored, 2 * (1 + mu) - x, x)
        # Sine and cosine of half the angle of z₊, times 2 μ^(1/4).
        sine, cosine = np.sqrt(y - self._critical), np.sqrt((1 + mu**0.5) ** 2 - y)
        angle = 2 * np.arctan2(sine, cosine)
        power = np.exp(k * (0.5 * np.log(mu)))
        sums = power * 2 * np.sin(k * angle) / (sine * cosine)
        shrinkage = -np.expm1(k * (0.5 * np.log(mu))) + power * 2 * np.sin(k * angle / 2) ** 2
        alternating = power * np.cos(k * angle) + (1 + 3 * mu - y) / 2 * sums
        return np.asarray(np.where(mirrored, 1 - _sign(k) * alternating, shrinkage - (1 - mu - y) / 2 * sums))


def responses(
    modes: Modes, rule: Rule, t: NDArray[np.float64], columns: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``d_t`` and ``2^exponent φ_t``, where ``φ_t(λ) = d_t/λ``, for all modes, (..., m) each.

    For null modes d_t is 0. φ_t is its limit for λ → 0, ηt/Z without momentum, but at most 1/λ of the smallest λ that
    can count as nonzero. At t = ∞ it is 0, as in the pseudo-inverse.

    Raises
    ------
    MemoryError
        If these, and three arrays of results with that many ``columns``, do not fit in memory.
    """
    needed = 8 * t.size * modes.scaled.size * (2 + 3 * columns)
    memory.require(needed, f"f_t of {modes.scaled.size} samples at {t.size} times t", "Pass fewer times t per call.")
    positive, null = modes.positive, modes.null
    rule.check(float(positive.max(initial=0.0)), modes.exponent, t, exact=modes.rotation is None)
    drift = rule.drift(modes.exponent, t)
    decay = np.zeros((*t.shape, modes.scaled.size))
    decay[..., null:] = rule.decay(positive, modes.exponent, t)
    capped = np.minimum(drift, 1 / (modes.scaled_cutoff or _TINIEST))
    response = np.repeat(np.where(np.isinf(t), 0.0, capped)[..., None], modes.scaled.size, axis=-1)
    np.divide(decay[..., null:], positive, out=response[..., null:])
    moving = drift[drift > 0].min(initial=np.inf)
    least = positive.min(initial=1.0)  # all are below 1
    if least * moving < _LINEAR or product((rule.rate, np.asarray(least)), modes.exponent) < _LINEAR:
        _without_underflow(decay[..., null:], response[..., null:], (rule.rate, modes.exponent), positive, drift)
    return decay, response


def _without_underflow(
    decay: NDArray[np.float64],
    response: NDArray[np.float64],
    rate: tuple[float, int],
    positive: NDArray[np.float64],
    drift: NDArray[np.float64],
) -> None:
    """Set d_t and φ_t to their limits for λ → 0 where d_t or x lose digits to underflow."""
    with np.errstate(over="ignore"):
        linear = drift[..., None] * positive
    tiny = (linear < _LINEAR) | (product((rate[0], positive), rate[1]) < _LINEAR)
    shrinkage = -np.expm1(-linear[tiny])
    limit, values = (np.broadcast_to(array, linear.shape)[tiny] for array in (drift[..., None], positive))
    decay[tiny] = shrinkage
    response[tiny] = np.where(linear[tiny] < _LINEAR, limit, shrinkage / values)


def _by_damping(
    overdamped: NDArray[np.bool_],
    x: NDArray[np.float64],
    t: NDArray[np.float64],
    real: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    oscillating: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return ``d_t(x)``, (..., n), by one formula for overdamped modes and another for all others.

    It is exactly 0 at t = 0 and 1 at t = ∞.
    """
    within = np.where((t == 0) | np.isinf(t), 1.0, np.minimum(t, _LONGEST))[..., None]
    decay = np.empty((*t.shape, x.size))
    with np.errstate(over="ignore"):  # of exponents, whose exponential is 0
        for modes, formula in ((overdamped, real), (~overdamped, oscillating)):
            if modes.any():
                decay[..., modes] = formula(x[modes], within)
    decay[t == 0] = 0.0
    decay[np.isinf(t)] = 1.0
    return decay


def _near_start(
    decay: NDArray[np.float64], damping: NDArray[np.float64], stiffness: NDArray[np.float64], inverse: Any
) -> NDArray[np.float64]:
    """Return d_t, given by other formulas, with its values by :func:`_series` where this converges fast.

    There d_t is of second order in t, and other formulas form it as a difference of terms of first order.
    """
    near = (stiffness <= _START**2) & (damping <= _START)
    damping, inverse = (np.broadcast_to(values, near.shape)[near] for values in (damping, inverse))
    decay[near] = stiffness[near] * (1 - inverse) / 2 * _series(damping, stiffness[near], inverse)
    return decay


def _series(damping: NDArray[np.float64], stiffness: Any, inverse: Any) -> NDArray[np.float64]:
    """Return d_t over its first term, ``(1 − 1/K) stiffness/2``, for short times.

    With decay rates a and b, ``A = a + b`` and ``B = ab``, which may be complex, flow with momentum has

        d_t = B t² Σ_{n≥1} (−1)^{n−1} t^{n−1} h_{n−1}(a, b)/(n + 1)!,    h_{m+1} = A h_m − B h_{m−1},  h_0 = 1

    with complete homogeneous polynomials h. After ``k = K − 1`` steps of the heavy ball with roots 1 − a and 1 − b, a
    binomial coefficient ``C(K, n + 1)`` replaces ``t^{n+1}/(n + 1)!``.

    Parameters
    ----------
    damping, stiffness : ndarray
        ``A t`` and ``B t²``, or ``A K`` and ``B K²``, at most :data:`_START` and its square.
    inverse : float or ndarray
        0 for flow; 1/K for steps.
    """
    total, coefficient = np.ones(damping.shape), np.ones(damping.shape)
    earlier, polynomial = np.zeros(damping.shape), np.ones(damping.shape)
    for n in range(2, _TERMS):
        earlier, polynomial = polynomial, damping * polynomial - stiffness * earlier
        coefficient = coefficient * (n * inverse - 1) / (n + 1)
        total = total + coefficient * polynomial
    return total


def _sign(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(−1)^k``."""
    return np.asarray(1 - 2 * np.fmod(k, 2))
