"""The ODE of gradient flow, with or without momentum, in units of its own time scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ntkrs.predict.solving import IMPLICIT, LEAST_RELATIVE, Leg, System, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.predict.coordinates import Coordinates

#: The logarithm of the factor by which oscillations shrink until they are below any tolerance.
_SILENCE = 28.0

#: If oscillations end after this share of the time, one explicit solver does everything.
_SHARE = 0.7

#: Newton's method is exact to the square of this, relative to the size of f − Y.
_NEAR = 1e-5

#: Curvatures below this share of the largest possible one may be those of a loss without a minimum.
_FLAT = 1e-9

#: Up to this order complex factorizations take less than a tenth of a second.
_FACTORED = 600

#: Inertia whose time constant is below this times the time scale of the flow has no effect.
_INERTIA = 1e-20


@dataclass(frozen=True)
class Flow:
    """The flow ``q' = r F(q)``, or ``μq'' + (1 − μ)q' = r F(q)``.

    Attributes
    ----------
    coordinates : Coordinates
        q and F.
    rate : float
        r.
    momentum : float
        μ.
    stiffness : float
        A bound of the eigenvalues of F's derivative, for a loss of known curvature.
    bound : float
        An error δ of q is an error of f up to this times δ.
    scale : float
        The size of ``f − Y`` at the start.
    jacobian : bool
        True if F has a known derivative.
    """

    coordinates: Coordinates
    rate: float
    momentum: float
    stiffness: float
    bound: float
    scale: float
    jacobian: bool

    def gradient_flow(
        self, q: NDArray[np.float64], times: NDArray[np.float64], method: str, tolerances: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Return q at ascending times >= 0, (T, n), for μ = 0. The solver's own time runs from 0 to 1."""
        span, force, slope = self.rate * float(times[-1]), self.coordinates.force, self.coordinates.jacobian
        jacobian = (lambda q: span * slope(q)) if self.jacobian else None
        system = System(lambda q: span * force(q), jacobian)
        return solve(system, q, times / times[-1], [Leg(method, 1.0, 1.0, tolerances)])[0]

    def long_gradient_flow(
        self, q: NDArray[np.float64], times: NDArray[np.float64], method: str, tolerances: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Return the same as :meth:`gradient_flow`. The solver's own unit of time is that of the fastest mode."""
        force, slope = self.coordinates.force, self.coordinates.jacobian
        jacobian = (lambda q: slope(q) / self.stiffness) if self.jacobian else None
        system = System(lambda q: force(q) / self.stiffness, jacobian, self._limit)
        own = self.rate * self.stiffness * times
        return solve(system, q, own, [Leg(method, float(own[-1]), float(own[-1]), tolerances)])[0]

    def _limit(self, q: NDArray[np.float64], time: float) -> NDArray[np.float64] | None:
        """Return the optimum if it is near and reached in this time, in units of the fastest mode."""
        found = self.coordinates.to_optimum(q, _FLAT * self.stiffness)
        if found is None:
            return None
        step, slowest = found
        near = float(np.abs(step).max()) * self.bound <= _NEAR * self.scale
        return q + step if near and slowest / self.stiffness * time > _SILENCE else None

    @property
    def oscillation(self) -> tuple[float, float]:
        """The frequency ω of the fastest mode, and the friction in units of it, ``(1 − μ)/(μω)``."""
        frequency = float(np.sqrt(self.rate) * np.sqrt(self.stiffness / self.momentum))
        return frequency, (1 - self.momentum) / self.momentum / frequency

    @property
    def overdamped(self) -> bool:
        """True if no mode oscillates for long."""
        return self.oscillation[1] >= 1

    def negligible_inertia(self, end: float) -> bool:
        """Return True if up to this time momentum does nothing but to divide the learning rate by ``1 − μ``."""
        friction = 1 - self.momentum
        with np.errstate(over="ignore", divide="ignore"):
            slowest = np.float64(friction) / max(self.rate * self.stiffness, friction / end)
            return bool(self.momentum / friction < _INERTIA * slowest)

    def accumulation(self, end: float) -> float:
        """Return the number of radians of the fastest mode that friction lets errors of steps live on."""
        frequency, friction = self.oscillation
        return float(min(frequency * end, 2 / friction))

    def with_momentum(
        self,
        start: tuple[NDArray[np.float64], NDArray[np.float64]],
        times: NDArray[np.float64],
        method: str,
        tolerances: tuple[float, float],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return q and q' at ascending times >= 0, (T, n) each, from those at time 0, and the error of f.

        The error is relative to the tolerance: above 1, rounding exceeds it.

        With w, the velocity in units in which it is as large as q, and s = σt, the ODE is ``dq/ds = aw`` and
        ``dw/ds = bF(q) − cw``. Modes that oscillate keep an error of a step until friction ends it, so the tolerance of
        a step is that of f, divided by the number of radians for which errors add up. It is the same for all components
        and for q and w, since a relative tolerance of q, which is largest in slow modes, would be a loose one in fast
        modes.
        """
        end = float(times[-1])
        sigma, a, b, c = self._units(end)
        size, force, slope = start[0].size, self.coordinates.force, self.coordinates.jacobian

        def right(state: NDArray[np.float64]) -> NDArray[np.float64]:
            w = state[size:]
            return np.concatenate([a * w, b * force(state[:size]) - c * w])

        def jacobian(state: NDArray[np.float64]) -> NDArray[np.float64]:
            one, zero = np.eye(size), np.zeros((size, size))
            return np.block([[zero, a * one], [b * slope(state[:size]), -c * one]])

        error = (tolerances[1] + tolerances[0] * self.scale) / self.bound
        states, evaluations = solve(
            System(right, jacobian if self.jacobian else None),
            np.concatenate([start[0], start[1] / (a * sigma)]),
            sigma * times,
            self._legs(end, method, size, (tolerances[0], error)),
        )
        rounding = LEAST_RELATIVE * self.scale * min(self.accumulation(end), evaluations)
        return states[:, :size], states[:, size:] * (a * sigma), rounding / (error * self.bound)

    def _units(self, end: float) -> tuple[float, float, float, float]:
        """Return σ, a, b and c of :meth:`with_momentum`."""
        frequency, damping = self.oscillation
        if damping < 1:
            return frequency, 1.0, 1 / self.stiffness, damping
        friction = 1 - self.momentum
        sigma = max(self.rate * self.stiffness / friction, 1 / end)
        relaxation = friction / (self.momentum * sigma)
        return sigma, self.rate * self.stiffness / (friction * sigma), relaxation / self.stiffness, relaxation

    def _legs(self, end: float, method: str, size: int, tolerances: tuple[float, float]) -> list[Leg]:
        """Return the solvers for a time, in units of :meth:`_units`, and until when they follow oscillations."""
        _, damping = self.oscillation
        strict = (0.0, tolerances[1] / (1 + self.accumulation(end)))
        stop = self._units(end)[0] * end
        silence = min(2 * _SILENCE / damping, stop) if damping < 1 else stop
        if method != "auto":
            return [Leg(method, stop, silence if method in IMPLICIT else stop, strict)]
        if damping >= 1:
            return [Leg("LSODA", stop, stop, strict)]
        if silence >= _SHARE * stop or size > _FACTORED:
            return [Leg("DOP853", stop, stop, strict)]
        return [Leg("DOP853", silence, silence, strict), Leg("Radau", stop, stop, tolerances)]
