"""Solutions by preconditioned conjugate gradients, with checkpoints."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from ntkrs.solvers import choose, pcg
from ntkrs.solvers.checkpoint import Checkpoint, identity
from ntkrs.solvers.preconditioners import Given, Plain, low_rank
from ntkrs.solvers.problem import Found, relative

if TYPE_CHECKING:
    from ntkrs.solvers.preconditioners import Preconditioner
    from ntkrs.solvers.problem import Options, Problem


def iterated(problem: Problem, options: Options) -> Found:
    """Solve all columns together, from the checkpoint if there is one.

    Raises
    ------
    numpy.linalg.LinAlgError
        If ``K + rI`` is not positive definite.
    ValueError
        If the checkpoint belongs to another problem.
    """
    columns, ridges = problem.columns, problem.column_ridges
    choose.require_columns(problem.source, columns.shape[1], options.rank)
    file = _checkpoint(problem, options)
    known = None if file is None else file.state()
    if known is not None and known[1] and not _more_allowed(known[0], options):
        return _found(known[0])
    preconditioner, products = _preconditioner(problem, options, file)
    system = pcg.System(problem.source.product, columns, ridges, options.tolerance, preconditioner)
    state = pcg.started(system, products) if known is None else known[0]
    if options.report is not None and known is None:
        options.report(0, options.max_iterations)
    after = _After(options, file)
    try:
        pcg.iterate(system, state, options.max_iterations, after)
    except np.linalg.LinAlgError as error:
        raise problem.raise_it(str(error)) from error
    if file is not None:
        file.save(state, ended=True)
    return _found(state)


def _checkpoint(problem: Problem, options: Options) -> Checkpoint | None:
    """Return the checkpoint of this problem, if there is to be one."""
    if options.checkpoint is None:
        return None
    given = options.preconditioner
    arrays = {"y": problem.targets, "exponents": problem.exponents, "ridges": problem.ridges}
    arguments = {
        "tolerance": options.tolerance,
        "preconditioner": given if given is None or isinstance(given, str) else "operator",
        "rank": options.rank,
        "rng": repr(options.rng.bit_generator.state),
    }
    return Checkpoint(options.checkpoint, identity(problem.source, arrays, arguments))


def _more_allowed(state: pcg.State, options: Options) -> bool:
    """Return True if an iteration that has ended would go on with a larger number of iterations."""
    return bool(state.active.any()) and state.iteration < options.max_iterations


def _preconditioner(problem: Problem, options: Options, file: Checkpoint | None) -> tuple[Preconditioner, int]:
    """Return the preconditioner, from the disk if it is there, and the number of products that it took."""
    wanted = options.preconditioner
    if wanted is None or not problem.targets.any():
        return Plain(), 0
    if not isinstance(wanted, str):
        return Given(wanted), 0
    known = None if file is None else file.preconditioner()
    method = wanted if problem.source.has_columns else "nystrom"
    if known is not None:
        return known, int(method == "nystrom")

    def report(done: int, total: int) -> None:
        del done, total
        if options.report is not None:
            options.report(0, options.max_iterations)

    made, products = low_rank(problem.source, method, options.rank, options.rng, report)
    if file is not None:
        file.save_preconditioner(made)
    return made, products


class _After:
    """Saves a state if a checkpoint is due, and then reports it."""

    def __init__(self, options: Options, file: Checkpoint | None) -> None:
        self._options, self._file = options, file
        self._saved = monotonic()

    def __call__(self, state: pcg.State) -> None:
        """Save and report."""
        if self._file is not None and monotonic() - self._saved >= self._options.seconds:
            self._file.save(state)
            self._saved = monotonic()
        if self._options.report is not None:
            self._options.report(state.iteration, self._options.max_iterations)


def _found(state: pcg.State) -> Found:
    """Return the solution that a state holds."""
    return Found(
        alpha=state.alpha,
        residual=relative(state.checked, state.norms[0]),
        error=pcg.errors(state),
        method="pcg",
        iterations=state.iteration,
        products=state.products,
        rank=state.rank,
    )
