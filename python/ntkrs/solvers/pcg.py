"""Preconditioned conjugate gradients for all right-hand sides and ridges at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs.errors import SingularKernelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs.solvers.preconditioners import Preconditioner

    Floats = NDArray[np.float64]

#: The most restarts of a column, and the least factor by which each must lower its residual.
_RESTARTS, _GAIN = 5, 10.0

#: The least number of iterations in which a column must make progress. Later it is half of the iterations so far.
_PATIENCE = 100

#: The most that the squared error exceeds ρ after a sudden end of the iteration.
_SUDDEN = 1e3

#: The share of all γρ up to which the recent ones count as none.
_STILL = 1e-4

#: The share of dᵀd up to which dᵀ(K + rI)d is round-off, and the factor by which no residual of a regular kernel grows.
_FLAT, _GROWN = 4 * float(np.finfo(np.float64).eps), 1e8

#: The number of iterations between two looks for progress.
_EVERY = 10


@dataclass(frozen=True, eq=False)
class System:
    """The systems ``(K + r_j I) α_j = y_j``.

    Attributes
    ----------
    product : callable
        ``V ↦ K V`` in float64, (N, c).
    targets : (N, C) ndarray
        The right-hand sides y_j.
    ridges : (C,) ndarray
        The ridges r_j.
    tolerance : float
        The largest ``|y_j − (K + r_j I) α_j| / |y_j|``.
    preconditioner : Preconditioner
        P.
    """

    product: Callable[[Floats], Floats]
    targets: Floats
    ridges: Floats
    tolerance: float
    preconditioner: Preconditioner


@dataclass(eq=False)
class State:
    """The iteration, from which it continues to the same bits. All is by column, except the numbers.

    Attributes
    ----------
    iteration, products : int
        The number of iterations so far, and of products with K.
    rank : int
        The rank of the preconditioner.
    alpha, residual, direction : (N, C) ndarray
        α, the recursive residual R, and the direction D.
    rho : (C,) ndarray
        ``ρ = rᵀP⁻¹r``.
    norms, gains : (m, C) ndarray
        |r| and γρ after each iteration of a column.
    steps, restarts : (C,) ndarray of int
        The number of iterations and of restarts of a column.
    active, stalled : (C,) ndarray of bool
        True for columns that are being iterated, and for those that make no more progress.
    checked : (C,) ndarray
        |y − (K + rI)α|, as last computed.
    """

    iteration: int
    products: int
    rank: int
    alpha: Floats
    residual: Floats
    direction: Floats
    rho: Floats
    norms: Floats
    gains: Floats
    steps: NDArray[np.int64]
    restarts: NDArray[np.int64]
    active: NDArray[np.bool_]
    stalled: NDArray[np.bool_]
    checked: Floats

    def arrays(self) -> dict[str, Any]:
        """Return all attributes by name. The histories end with the longest of them."""
        longest = int(self.steps.max(initial=0))
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "norms": self.norms[: longest + 1],
            "gains": self.gains[:longest],
        }


def started(system: System, products: int) -> State:
    """Return the state before the first iteration: α = 0. ``products`` were spent on the preconditioner."""
    n, count = system.targets.shape
    zeros = np.zeros(count)
    norms = _norms(system.targets)
    return State(
        iteration=0,
        products=products,
        rank=system.preconditioner.rank,
        alpha=np.zeros((n, count)),
        residual=system.targets.copy(),
        direction=np.zeros((n, count)),
        rho=zeros.copy(),
        norms=norms[None].copy(),
        gains=np.empty((0, count)),
        steps=np.zeros(count, np.int64),
        restarts=np.zeros(count, np.int64),
        active=norms > 0,
        stalled=np.zeros(count, dtype=np.bool_),
        checked=norms,
    )


def iterate(system: System, state: State, most: int, after: Callable[[State], None]) -> None:
    """Iterate until all columns have converged or stalled, or for ``most`` iterations. ``after`` is called after each.

    Raises
    ------
    numpy.linalg.LinAlgError
        If ``K + rI`` is not positive definite, or cannot be told from a singular matrix.
    ValueError
        If the preconditioner is not positive definite.

    References
    ----------
    Hestenes, Stiefel (1952); van der Vorst, Ye (2000) for residual replacement.
    """
    goal = system.tolerance * state.norms[0]
    if not goal.any():
        return  # y = 0, and so α = 0
    if state.iteration == 0:
        _redirect(system, state, state.active)
    while True:
        while state.active.any() and state.iteration < most:
            _step(system, state)
            state.active &= _norms(state.residual) > goal
            if state.iteration % _EVERY == 0:
                _look_for_progress(state)
            after(state)
        if state.active.any():
            state.checked = _norms(_residuals(system, state))
            return
        if not _replaced(system, state, goal):
            return


def errors(state: State) -> Floats:
    """Return estimates of ``‖α − α*‖_A / ‖α*‖_A`` with ``A = K + rI``, by column.

    ::

        error² = min(S, max(4 S₁ q/(1 − q), ρ)) / Σ_{j<i} γ_jρ_j,        q = S₁/S₀

    An iteration lowers ``‖α − α*‖²_A`` by γ_jρ_j, which in all sums to ``‖α*‖²_A``. S is their sum over the last
    d = max(2, i/5) iterations, S₁ over the later half of these, and S₀ over the earlier one. S is the error d
    iterations ago. Its fall from half to half, continued as a geometric series, is the error now; 4 is for safety.
    ``ρ = rᵀP⁻¹r`` is the error if P is A.

    References
    ----------
    Hestenes, Stiefel (1952); Strakoš, Tichý (2002).
    """
    result = np.zeros(len(state.steps))
    for column, steps in enumerate(state.steps.tolist()):
        if state.norms[0, column] > 0:
            gains, rho = state.gains[:steps, column], float(state.rho[column])
            result[column] = (_rest(gains, rho) / gains.sum()) ** 0.5 if steps else 1.0
    return result


def _rest(gains: Floats, rho: float) -> float:
    """Return an estimate of the sum of all later γρ."""
    window = max(2, len(gains) // 5)
    half = (window + 1) // 2
    recent, later, earlier = _recent(gains), float(gains[-half:].sum()), float(gains[-2 * half : -half].sum())
    if len(gains) < 2 * half:  # a single iteration
        return min(recent, rho)
    if later < earlier:
        return min(recent, max(4 * later**2 / (earlier - later), rho))
    return min(recent, _SUDDEN * rho)  # the last of few iterations may end it at once


def _step(system: System, state: State) -> None:
    """Take one step of all active columns."""
    index: Any = slice(None) if state.active.all() else np.flatnonzero(state.active)
    ridges, direction, rho = system.ridges[index], state.direction[:, index], state.rho[index].copy()
    image = system.product(direction) + ridges * direction
    curvature = _dots(direction, image)
    _check_curvature(curvature / _dots(direction, direction))
    step = rho / curvature
    state.alpha[:, index] += step * direction
    residual = state.residual[:, index] - step * image
    state.residual[:, index] = residual
    preconditioned = system.preconditioner.apply(residual, ridges)
    following = _dots(residual, preconditioned)
    _check_preconditioner(following)
    state.direction[:, index] = preconditioned + following / rho * direction
    state.rho[index] = following
    state.iteration += 1
    state.products += 1
    norms = _norms(residual)
    if not (norms <= _GROWN * state.norms[0, index]).all():
        raise SingularKernelError("cannot be told from a singular matrix: residuals grow without bound")
    _record(state, index, norms, step * rho)


def _check_curvature(curvature: Floats) -> None:
    """Check that dᵀ(K + rI)d/dᵀd, the entries of K being near 1, is above round-off.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not.
    """
    least = float(curvature.min())
    if not least > 0:
        raise SingularKernelError(f"is not positive definite: d'(K + rI)d/d'd is {least:.3g} for a vector d")
    if least <= _FLAT:
        raise SingularKernelError(
            f"cannot be told from a singular matrix: d'(K + rI)d/d'd is {least:.3g} for a vector d, K_ii being near 1"
        )


def _record(state: State, index: Any, norms: Floats, gains: Floats) -> None:
    """Append the norms and gains of the active columns to the histories, which double when they are full."""
    columns = np.arange(len(state.steps))[index]
    before = state.steps[columns]
    if before.max() >= len(state.gains):
        room = ((0, max(16, len(state.gains))), (0, 0))
        state.gains, state.norms = np.pad(state.gains, room), np.pad(state.norms, room)
    state.gains[before, columns] = gains
    state.norms[before + 1, columns] = norms
    state.steps[columns] += 1


def _look_for_progress(state: State) -> None:
    """Mark columns as stalled, in which for a long time nothing has become better.

    Residuals of hard kernels rise for hundreds of iterations before they fall, so there are three signs of progress:
    the least residual has halved; the recent sum of γρ has halved; or much of all γρ is recent, and so α still grows.
    """
    for column in np.flatnonzero(state.active):
        steps = int(state.steps[column])
        past = steps - max(_PATIENCE, steps // 2)
        norms, gains = state.norms[: steps + 1, column], state.gains[:steps, column]
        if past < 2 or norms.min() <= norms[: past + 1].min() / 2 or _recent(gains) <= _recent(gains[:past]) / 2:
            continue
        if gains[past:].sum() <= _STILL * gains.sum():
            state.stalled[column], state.active[column] = True, False


def _recent(gains: Floats) -> float:
    """Return the sum of γρ over the last d = max(2, i/5) of i iterations."""
    return float(gains[-max(2, len(gains) // 5) :].sum())


def _replaced(system: System, state: State, goal: Floats) -> bool:
    """Compute the residuals from α. Restart columns above the goal, and return True if there are any."""
    state.residual = _residuals(system, state)
    norms = _norms(state.residual)
    above = (norms > goal) & ~state.stalled
    gained = (norms <= state.checked / _GAIN) & (state.restarts < _RESTARTS)
    state.checked = norms
    state.stalled |= above & ~gained
    state.active = above & gained
    state.restarts += state.active
    _redirect(system, state, state.active)
    return bool(state.active.any())


def _residuals(system: System, state: State) -> Floats:
    """Return ``Y − (K + rI)α``, at the cost of a product."""
    state.products += 1
    return system.targets - system.product(state.alpha) - system.ridges * state.alpha


def _redirect(system: System, state: State, columns: NDArray[np.bool_]) -> None:
    """Set the directions of these columns to their preconditioned residuals."""
    index = np.flatnonzero(columns)
    if len(index):
        residual = state.residual[:, index]
        preconditioned = system.preconditioner.apply(residual, system.ridges[index])
        state.direction[:, index] = preconditioned
        state.rho[index] = _dots(residual, preconditioned)
        _check_preconditioner(state.rho[index])


def _check_preconditioner(rho: Floats) -> None:
    """Check that rᵀP⁻¹r is not negative."""
    if (rho < 0).any():
        raise ValueError(
            f"preconditioner is not positive definite: r' P^-1 r is {rho.min():.3g} for a residual r. Pass a "
            "symmetric, positive definite one."
        )


def _dots(a: Floats, b: Floats) -> Floats:
    """Return the inner products of columns, in a fixed order of sums."""
    return np.asarray(np.einsum("ij,ij->j", a, b))


def _norms(a: Floats) -> Floats:
    """Return the norms of columns."""
    return np.asarray(np.sqrt(_dots(a, a)))
