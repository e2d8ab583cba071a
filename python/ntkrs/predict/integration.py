"""The path of training on any loss: an ODE for the coefficients of the kernel, or explicit steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks.scaling import ldexp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs.predict.losses import LossFunction
    from ntkrs.predict.operators import Products

#: Solvers that use a Jacobian.
IMPLICIT = ("LSODA", "BDF", "Radau")


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

    Computations use units in which K and η are near 1. With ``K = 2^e K̂``, ``r = η 2^e``, ``α̂ = 2^e α`` and ``τ = rt``
    the ODE is ``dα̂/dτ = −∇L(f_0 + K̂α̂)``. With momentum, ``μr d²α̂/dτ² + (1 − μ) dα̂/dτ`` replaces the derivative.
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
        advance = self._descend if self.solver == "steps" else self._integrate
        return advance(start, times)

    def _force(self, initial: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return the function ``α̂ ↦ −∇L(f_0 + K̂α̂)`` of flat arrays."""
        samples = initial.shape[0]

        def force(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
            f = initial.ravel() + self.products(alpha.reshape(self.products.size, self.columns)).ravel()
            return -self.loss.gradient(f.reshape(samples, -1)).ravel()

        return force

    def _descend(self, start: State, times: NDArray[np.float64]) -> list[State]:
        """Take the steps ``v ← μv − η∇L, α ← α + v`` one by one."""
        force, exponent = self._force(start.fx_train_0), self.products.exponent
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
                        raise ValueError(
                            f"training diverged at step {step} with learning_rate {self.rate:g}. Lower it: see "
                            "ntkrs.predict.max_learning_rate."
                        )
                reached.append(self._state(start, float(step), alpha, velocity, 1.0))
        return reached

    def _integrate(self, start: State, times: NDArray[np.float64]) -> list[State]:
        """Integrate the ODE through all times."""
        exponent = self.products.exponent
        rate = float(ldexp(self.rate, exponent))
        if not (times > start.time).any() or rate == 0:
            return [replace(start, time=float(time)) for time in times]
        state = np.ldexp(start.coefficients, exponent).ravel()
        if self.momentum:
            state = np.concatenate([state, np.ldexp(start.velocity, exponent).ravel() / rate])
        reached = self._solve(start, rate, state, times)
        size = start.coefficients.size
        still = np.zeros(size)
        return [
            self._state(start, float(time), values[:size], values[size:] if self.momentum else still, rate)
            for time, values in zip(times, reached, strict=True)
        ]

    def _solve(
        self, start: State, rate: float, state: NDArray[np.float64], times: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return α̂, followed by dα̂/dτ if there is momentum, at each time. The solver's own time runs from 0 to 1."""
        from scipy.integrate import solve_ivp

        right, jacobian = self._system(start.fx_train_0, rate)
        duration = times[-1] - start.time
        with np.errstate(over="ignore"):  # refused below
            span = rate * duration
        if not np.isfinite(span):
            raise ValueError(f"t holds {times[-1]}, which with this kernel and learning_rate exceeds float64")
        options = {} if jacobian is None else {"jac": lambda _, values: span * jacobian(values)}
        solution = solve_ivp(
            lambda _, values: span * right(values),
            (0.0, 1.0),
            state,
            method=self.solver,
            t_eval=(times - start.time) / duration,
            rtol=self.tolerances[0],
            atol=self.tolerances[1],
            **options,
        )
        if not solution.success or not np.isfinite(solution.y).all():
            reached = start.time + (solution.t[-1] * duration if len(solution.t) else 0.0)
            raise RuntimeError(
                f"{self.solver} gave up after t = {reached:g}: {solution.message} Choose another solver, larger "
                "tolerances, or optimizer='gd'."
            )
        return np.asarray(solution.y.T)

    def _system(
        self, initial: NDArray[np.float64], rate: float
    ) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        """Return the right-hand side of the ODE in τ, and its Jacobian as :meth:`_force_jacobian` does."""
        force, mass, friction = self._force(initial), self.momentum * rate, 1 - self.momentum
        size = initial.size
        if not self.momentum:
            return force, self._force_jacobian(initial)

        def right(state: NDArray[np.float64]) -> NDArray[np.float64]:
            velocity = state[size:]
            return np.concatenate([velocity, (force(state[:size]) - friction * velocity) / mass])

        inner = self._force_jacobian(initial)
        if inner is None:
            return right, None

        def jacobian(state: NDArray[np.float64]) -> NDArray[np.float64]:
            one, zero = np.eye(size), np.zeros((size, size))
            return np.block([[zero, one], [inner(state[:size]) / mass, -friction / mass * one]])

        return right, jacobian

    def _force_jacobian(self, initial: NDArray[np.float64]) -> Callable[..., NDArray[np.float64]] | None:
        """Return ``α̂ ↦ −∂²L/∂f² K̂``, or None if the loss has no known Hessian or the solver uses no Jacobian."""
        hessian = self.loss.hessian
        if hessian is None or self.solver not in IMPLICIT:
            return None
        n, size = initial.shape[0], initial.size
        outputs = size // max(n, 1)
        kernel = self.products(np.eye(self.products.size))
        full = np.asarray(np.kron(kernel, np.eye(outputs)) if self.columns > 1 else kernel)
        blocks = full.reshape(n, outputs, size)

        def jacobian(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
            f = initial.ravel() + full @ alpha
            return np.asarray(-np.matmul(hessian(f.reshape(n, outputs)), blocks).reshape(size, size))

        return jacobian

    def _state(
        self, start: State, time: float, alpha: NDArray[np.float64], velocity: NDArray[np.float64], rate: float
    ) -> State:
        """Return the state of these α̂ and velocities in the user's units; ``rate`` is dτ/dt, or 1 for steps."""
        shape, exponent = start.coefficients.shape, self.products.exponent
        return State(
            time,
            start.fx_train_0,
            ldexp(alpha, -exponent).reshape(shape),
            ldexp(velocity * rate, -exponent).reshape(shape),
        )
