"""ODE solvers of SciPy with bounded work, and without messages of their own."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: Solvers that use a Jacobian.
IMPLICIT = ("LSODA", "BDF", "Radau")

#: The most evaluations of the right-hand side. They take 5 to 60 seconds for small kernels.
EVALUATIONS = 500_000

#: The progress of a solver is first recorded after this many evaluations, and then whenever they have doubled.
_FIRST = 5000

#: In longer times the error estimate of DOP853, which divides by the length of a step, underflows to 0.
_LONGEST_DOP853 = 1e130

#: SciPy warns of smaller relative tolerances.
LEAST_RELATIVE = 2.3e-14


@dataclass(frozen=True)
class System:
    """The ODE ``ds/dt = right(s)``.

    Attributes
    ----------
    right : callable
        The right-hand side.
    jacobian : callable or None
        Its Jacobian.
    limit : callable or None
        The function of a state and a time that returns the limit of the ODE, if from this state it is reached in this
        time, and otherwise None.
    """

    right: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    jacobian: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None
    limit: Callable[[NDArray[np.float64], float], NDArray[np.float64] | None] | None = None


@dataclass(frozen=True)
class Leg:
    """A stretch of time that one solver integrates.

    Attributes
    ----------
    method : str
        Name of a solver of SciPy.
    stop : float
        The end of the stretch.
    busy : float
        The time from which on the solver may take longer steps.
    tolerances : (float, float)
        Relative and absolute tolerance per step.
    """

    method: str
    stop: float
    busy: float
    tolerances: tuple[float, float]


class TooLongError(Exception):
    """The work exceeds :data:`EVALUATIONS`. The argument is the number of evaluations that are needed."""


class StuckError(Exception):
    """A solver cannot continue. The argument is the share of the time that it reached."""


def solve(
    system: System,
    start: NDArray[np.float64],
    times: NDArray[np.float64],
    legs: list[Leg],
) -> tuple[NDArray[np.float64], int]:
    """Return the states at ascending times >= 0, (T, n), from the state at time 0, and the number of evaluations.

    Parameters
    ----------
    system : System
        The ODE.
    start : (n,) ndarray
        The state at time 0.
    times : (T,) ndarray
        The last one is the end of the last leg.
    legs : list of Leg
        The solvers, one after another.

    Raises
    ------
    TooLongError
        If it takes too many evaluations, as far as progress so far tells.
    StuckError
        If a solver fails, or the state is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> from ntkrs.predict.solving import Leg, System, solve
    >>> decay = System(lambda s: -s, None)
    >>> leg = Leg("DOP853", stop=1.0, busy=1.0, tolerances=(1e-10, 1e-10))
    >>> values, _ = solve(decay, np.ones(1), np.array([0.0, 1.0]), [leg])
    >>> bool(np.allclose(values[:, 0], [1, np.exp(-1)]))
    True
    """
    result = np.empty((len(times), start.size))
    done = int(np.searchsorted(times, 0.0, side="right"))
    result[:done] = start
    reached, spent = 0.0, 0
    with _quiet():
        for leg in legs:
            solver = _started(system, start, reached, leg)
            watch = _Watch(leg, reached, spent)
            while solver.status == "running":
                try:
                    _step(solver, watch, times[-1])
                except (TooLongError, StuckError):
                    limit = _limit(system, solver, times[done])
                    if limit is None:
                        raise
                    result[done:] = limit
                    return result, spent + solver.nfev
                upto = int(np.searchsorted(times, solver.t, side="right"))
                if upto > done:
                    result[done:upto] = solver.dense_output()(times[done:upto]).T
                    done = upto
            start, reached, spent = solver.y, leg.stop, spent + solver.nfev
    return result, spent


def _step(solver: Any, watch: _Watch, end: float) -> None:
    """Take a step.

    Raises
    ------
    TooLongError, StuckError
        If there is no use in further steps.
    """
    solver.step()
    if solver.status == "failed" or not np.isfinite(solver.y).all():
        raise StuckError(solver.t / end)
    watch.check(solver.t, solver.nfev)


def _limit(system: System, solver: Any, time: float) -> NDArray[np.float64] | None:
    """Return the limit of the ODE if it is reached before this time."""
    if system.limit is None or not np.isfinite(solver.y).all():
        return None
    return system.limit(solver.y, time - solver.t)


def _started(system: System, start: NDArray[np.float64], begin: float, leg: Leg) -> Any:
    """Return a solver of SciPy at the beginning of a stretch of time."""
    from scipy import integrate

    if leg.method == "DOP853" and leg.stop > _LONGEST_DOP853:
        raise TooLongError(leg.stop)
    jacobian = system.jacobian
    options = {} if jacobian is None or leg.method not in IMPLICIT else {"jac": lambda _, state: jacobian(state)}
    return getattr(integrate, leg.method)(
        lambda _, state: system.right(state),
        begin,
        start,
        leg.stop,
        rtol=max(leg.tolerances[0], LEAST_RELATIVE),
        atol=leg.tolerances[1],
        **options,
    )


class _Watch:
    """The progress of a solver, and the work that is left to it if it does not speed up."""

    def __init__(self, leg: Leg, begin: float, spent: int) -> None:
        self._leg = leg
        self._begin = begin
        self._spent = spent
        self._recorded = (0.0, 0)
        self._next = _FIRST

    def check(self, reached: float, evaluations: int) -> None:
        """Stop a solver that has done too much, or whose steps do not grow and are too short for the rest."""
        if evaluations < self._next:
            return
        covered = reached - self._begin
        end = self._leg.busy if reached < self._leg.busy else self._leg.stop
        with np.errstate(over="ignore"):
            needed = self._spent + evaluations * float(np.divide(end - self._begin, covered))
        steady = covered < 4 * self._recorded[0]
        if self._spent + evaluations > EVALUATIONS or (steady and needed > EVALUATIONS):
            raise TooLongError(max(needed, EVALUATIONS))
        self._recorded = (covered, evaluations)
        self._next = 2 * evaluations


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence NumPy and SciPy: states that are not finite, and solvers that fail, raise exceptions."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.filterwarnings("ignore", module=r"scipy\.")
        yield
