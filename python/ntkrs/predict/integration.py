"""The path of training on any loss: an ODE for the coefficients of the kernel, or explicit steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks.scaling import ldexp
from ntkrs._runtime.warning import warn
from ntkrs.errors import ConvergenceError, ConvergenceWarning, DivergenceError
from ntkrs.predict import square_flow
from ntkrs.predict.continuous import Flow
from ntkrs.predict.coordinates import Coefficients, Features
from ntkrs.predict.learning_rates import largest_eigenvalue
from ntkrs.predict.rules import Flow as FlowRule
from ntkrs.predict.solving import StuckError, TooLongError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.predict.coordinates import Coordinates
    from ntkrs.predict.losses import LossFunction
    from ntkrs.predict.modes import Modes
    from ntkrs.predict.operators import Products

#: Above this order the factorizations of a stiff solver cost more than the small steps of an explicit one.
_STIFF = 2000

#: In times longer than this, in units of the fastest mode, the drift of null modes would hide f.
_LONG = 1e10

#: Beyond this many radians of oscillation, rounding of the coefficients would show in f.
_MANY = 100.0

#: The longest time in these units. Differences of longer times are not resolved.
_LONGEST = 1e304


@dataclass(frozen=True, eq=False)
class State:
    """The state of training: everything needed to continue.

    Attributes
    ----------
    time : float
        t, or the number of steps.
    fx_train_0 : ndarray of y_train's shape
        Outputs on the training inputs before training.
    coefficients : ndarray of y_train's shape
        α of ``f_t(x) = f_0(x) + k(x, X) α``.
    velocity : ndarray of y_train's shape
        With "flow", dα/dt if there is momentum, and 0 otherwise. With "gd", the last step's change of α.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> f = predict.gradient_descent("mse", np.diag([1.0, 2.0]), np.array([1.0, -1.0]), optimizer="gd")
    >>> halfway = f.state(5)
    >>> bool(np.array_equal(f(10, start=halfway), f(10)))
    True
    """

    time: float
    fx_train_0: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    velocity: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Integrator:
    """Training by the ODE ``dα/dt = −η ∇L(f_0 + Kα)`` or by discrete steps, with or without momentum.

    Computations use units in which K and η are near 1. With ``K = 2^e K̂``, ``r = η 2^e`` and ``α̂ = 2^e α`` the ODE is
    ``dα̂/dt = −r ∇L(f_0 + K̂α̂)``. With momentum, ``μ d²α̂/dt² + (1 − μ) dα̂/dt`` replaces the derivative.
    """

    products: Products
    loss: LossFunction
    rate: float
    momentum: float
    solver: str
    tolerances: tuple[float, float]
    columns: int

    def __repr__(self) -> str:
        return f"learning rate {self.rate:g}, momentum {self.momentum:g}, {self.solver}"

    def run(self, start: State, times: NDArray[np.float64]) -> list[State]:
        """Return the states at ascending times, none of which is before the start."""
        if self.solver == "steps":
            return self._descend(start, times)
        rate = float(ldexp(self.rate, self.products.exponent))
        if not (times > start.time).any() or rate == 0:
            return [replace(start, time=float(time)) for time in times]
        if self.loss.square and self.solver == "auto" and self._modes is not None:
            return self._square(self._modes, start, times)
        try:
            return self._integrate(start, times, rate)
        except StuckError as error:
            reached = start.time + error.args[0] * (times[-1] - start.time)
            raise ConvergenceError(
                f"t holds {times[-1]:g}, but solver {self.solver!r} gave up after t = {reached:g} with learning_rate "
                f"{self.rate:g}. Pass a smaller t or learning_rate, larger tolerances, or another solver."
            ) from None
        except TooLongError as error:
            raise ConvergenceError(
                f"t holds {times[-1]:g}, for which solver {self.solver!r} would need about {error.args[0]:.0e} "
                f"evaluations of the loss with learning_rate {self.rate:g} and this kernel. Pass a smaller t or "
                "learning_rate, or another solver."
            ) from None

    @cached_property
    def _modes(self) -> Modes | None:
        """The eigenmodes of an array that is small and a kernel, otherwise None."""
        if not self.products.dense or self.products.size > _STIFF:
            return None
        try:
            return self.products.modes()
        except np.linalg.LinAlgError:
            return None

    @cached_property
    def _largest(self) -> float:
        """The largest eigenvalue of K̂, or 1 if K is 0."""
        return max(largest_eigenvalue(self.products), 0.0) or 1.0

    def _descend(self, start: State, times: NDArray[np.float64]) -> list[State]:
        """Take the steps ``v ← μv − η∇L, α ← α + v`` one by one."""
        force = Coefficients(self.products, self.loss, start.fx_train_0, self.columns).force
        exponent = self.products.exponent
        rate = float(ldexp(self.rate, exponent))
        alpha, velocity = (np.ldexp(a, exponent).ravel() for a in (start.coefficients, start.velocity))
        reached, step = [], int(start.time)
        with np.errstate(over="ignore", invalid="ignore"):
            for stop in times:
                while step < stop:
                    velocity = self.momentum * velocity + rate * force(alpha)
                    alpha = alpha + velocity
                    step += 1
                    if not np.isfinite(alpha).all():
                        raise DivergenceError(
                            f"training diverged at step {step} with learning_rate {self.rate:g}. Lower it: see "
                            "ntkrs.predict.max_learning_rate."
                        )
                reached.append(self._state(start, float(step), alpha, velocity))
        return reached

    def _square(self, modes: Modes, start: State, times: NDArray[np.float64]) -> list[State]:
        """Return the states for the square loss from its closed form."""
        shape = (self.products.size, self.columns)
        alpha, velocity = (a.reshape(shape) for a in self._scaled(start))
        residual = (start.fx_train_0.ravel() - self.loss.targets.ravel()).reshape(shape) + self.products(alpha)
        rule = FlowRule(self.rate * self.loss.curvature, self.momentum)
        changes, velocities = square_flow.advance(modes, rule, residual, velocity, times - start.time)
        return [
            self._state(start, float(time), alpha + change, moving) if time > start.time else start
            for time, change, moving in zip(times, changes, velocities, strict=True)
        ]

    def _integrate(self, start: State, times: NDArray[np.float64], rate: float) -> list[State]:
        """Integrate the ODE through all times."""
        since = times - start.time
        with np.errstate(over="ignore"):  # refused below
            span = np.float64(rate) * since[-1] * self.loss.curvature * max(self.products.size, 1) / (1 - self.momentum)
        if not span < _LONGEST:
            raise ValueError(
                f"t holds {times[-1]:g}, which with learning_rate {self.rate:g} and this kernel exceeds float64. Pass "
                "a smaller t or learning_rate."
            )
        alpha, velocity = self._scaled(start)
        flow = self._flow(start.fx_train_0, rate, float(since[-1]), long=bool(span > _LONG))
        coordinates, q = flow.coordinates, flow.coordinates.start(alpha)
        if self.momentum and not flow.negligible_inertia(float(since[-1])):
            moved, speeds = self._with_momentum(flow, (q, coordinates.start(velocity)), since)
        else:
            flow = replace(flow, rate=rate / (1 - self.momentum))
            advance = flow.long_gradient_flow if span > _LONG else flow.gradient_flow
            moved = advance(q, since, "LSODA" if self._method == "auto" else self._method, self.tolerances)
            moved = coordinates.conserved(moved, q)
            speeds = np.array([flow.rate * coordinates.force(one) * (self.momentum > 0) for one in moved])
        return [
            self._state(start, float(time), coordinates.moved(alpha, one), coordinates.coefficients(speed))
            for time, one, speed in zip(times, moved, speeds, strict=True)
        ]

    def _with_momentum(
        self, flow: Flow, state: tuple[NDArray[np.float64], NDArray[np.float64]], since: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return q and its velocity at times since the start, and warn if rounding exceeds the tolerance."""
        moved, speeds, excess = flow.with_momentum(state, since, self._method, self.tolerances)
        if excess > 1:
            warn(
                f"with momentum {self.momentum:g} the outputs oscillate so long that rounding errors add up to about "
                f"{excess:.1g} times the tolerances. Raise these, or lower t or learning_rate.",
                ConvergenceWarning,
            )
        return flow.coordinates.conserved(moved, state[0]), speeds

    def _flow(self, initial: NDArray[np.float64], rate: float, end: float, *, long: bool) -> Flow:
        """Return the ODE, in the kernel's features if time is long or oscillations are many, and if they are known."""
        coordinates: Coordinates = Coefficients(self.products, self.loss, initial, self.columns)
        largest = self._largest if self.momentum or long else 1.0
        distance = initial.ravel() - self.loss.targets.ravel()
        flow = Flow(
            coordinates=coordinates,
            rate=rate,
            momentum=self.momentum,
            stiffness=self.loss.curvature * largest,
            bound=coordinates.bound(largest),
            scale=float(np.abs(distance).max(initial=0.0)),
            jacobian=self.loss.hessian is not None,
        )
        many = long or (self.momentum > 0 and flow.accumulation(end) > _MANY)
        if many and self._modes is not None and self._modes.positive.size:
            features = Features(self._modes, self.loss, initial, self.columns)
            return replace(flow, coordinates=features, bound=features.bound(largest))
        return flow

    @property
    def _method(self) -> str:
        """The solver; "auto" where a stiff one is among the candidates."""
        small = self.products.size * self.columns <= _STIFF and self.products.dense
        return self.solver if self.solver != "auto" or small else "DOP853"

    def _scaled(self, start: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return α̂ and its velocity, flat."""
        exponent = self.products.exponent
        return np.ldexp(start.coefficients, exponent).ravel(), np.ldexp(start.velocity, exponent).ravel()

    def _state(self, start: State, time: float, alpha: NDArray[np.float64], velocity: NDArray[np.float64]) -> State:
        """Return the state of these α̂ and velocities in the user's units."""
        shape, exponent = start.coefficients.shape, self.products.exponent
        return State(
            time,
            start.fx_train_0,
            ldexp(alpha, -exponent).reshape(shape),
            ldexp(velocity, -exponent).reshape(shape),
        )
