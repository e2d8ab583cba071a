"""Linear systems with kernel matrices of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import numbers, paths, solving
from ntkrs._checks.scaling import exponent_of, ldexp
from ntkrs._runtime.progress import removed, reporter
from ntkrs._runtime.warning import warn
from ntkrs.errors import ConvergenceWarning
from ntkrs.solvers import choose
from ntkrs.solvers.direct import factorized
from ntkrs.solvers.iterative import iterated
from ntkrs.solvers.problem import Options, Problem
from ntkrs.solvers.solution import Solution
from ntkrs.solvers.sources import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, Progress, Report
    from ntkrs.solvers.problem import Found


def solve(
    K: ArrayLike,
    y: ArrayLike,
    diag_reg: ArrayLike = 0.0,
    *,
    diag_reg_absolute_scale: bool = False,
    method: str = "auto",
    tolerance: float = 1e-6,
    preconditioner: Any = "rpcholesky",
    rank: int | None = None,
    max_iterations: int | None = None,
    rng: Any = 0,
    overwrite_k: bool = False,
    checkpoint: Any = None,
    checkpoint_seconds: float = 60.0,
    progress: Progress = None,
) -> Solution:
    """Solve ``(K + rI) α = y`` for a kernel K in memory, on disk, or as an operator that never forms it.

    Parameters
    ----------
    K : (N, N) array_like, Gram or LinearOperator
        A symmetric, positive semidefinite kernel, such as ``kernel(X)`` or ``kernel.operator(X)``.
    y : (N,) or (N, O) array_like
        Right-hand sides. All are solved at once.
    diag_reg : float or (R,) array_like
        The ridge r, relative to the mean of the diagonal of K. Conjugate gradients solve for several ridges at the cost
        of the smallest one; Cholesky takes a factorization for each.
    diag_reg_absolute_scale : bool
        If True, ``diag_reg`` is r itself.
    method : "auto", "cholesky" or "pcg"
        A Cholesky factorization, or preconditioned conjugate gradients. "auto" factorizes arrays and Gram matrices of
        up to 12 000 rows whose factor fits into memory, if there is no checkpoint.
    tolerance : float
        The largest ``|y − (K + rI)α| / |y|``. For the accuracy of a classifier 1e-2 is often enough.
    preconditioner : "rpcholesky", "nystrom", None, or (N, N) LinearOperator
        "rpcholesky" is made of columns of K at random pivots. "nystrom" is made of products with random vectors, for
        operators without columns. An operator is applied as an approximation of ``(K + rI)⁻¹``.
    rank : int, optional
        The rank of the preconditioner. By default N/32, from 256 to 2048; for an operator N/16, from 512 to 4096; and
        less if it would take more than a tenth of the memory.
    max_iterations : int, optional
        The largest number of iterations. By default N, but at least 1000 and at most 10 000.
    rng : int or numpy.random.Generator
        The seed of the pivots or vectors, or a generator.
    overwrite_k : bool
        If True, a Cholesky factorization for one ridge may overwrite an array K that is writeable, and needs no memory
        beside it.
    checkpoint : path, optional
        A file from which the same call continues, to the same bits, after it was interrupted in any way. The file
        stays after the end, and the same call then returns at once. A second file, ``path + ".preconditioner"``, holds
        the preconditioner.
    checkpoint_seconds : float
        The least time between two checkpoints. With 0.0, each iteration writes one.
    progress : callable or bool, optional
        A callable is called as ``progress(done, max_iterations)`` after each iteration, and with 0 before. An exception
        that it raises ends the call. True shows a tqdm bar, False does not.

    Returns
    -------
    Solution
        ``.alpha``, float64, with the accuracy that was reached: ``.residual``, ``.error``, ``.converged``.

    Raises
    ------
    ntkrs.SingularKernelError
        If ``K + rI`` is not positive definite. :func:`ntkrs.predict.gradient_descent_mse` takes singular kernels.
    ValueError
        If K is not square or not symmetric, an entry is NaN or infinite, an option is unknown, the checkpoint belongs
        to another problem, or α exceeds the range of float64.
    TypeError
        If an array does not hold real numbers.
    MemoryError
        If a factor or the solution does not fit into memory. Nothing is computed then.
    OSError
        If the checkpoint is a folder, in one that does not exist, or cannot be written.
    ntkrs.DamagedFileError
        If the checkpoint does not hold what was written.

    Warns
    -----
    ntkrs.ConvergenceWarning
        If the iteration ends before the tolerance is reached.

    Notes
    -----
    Cholesky: N³/3 flops a ridge; a float32 factor is refined in float64. pcg: a product with K an iteration, for all
    right-hand sides and ridges together, and sums in float64. Predict with ``kernel.operator(X_test, X) @ s.alpha``,
    which never holds the (M, N) kernel.

    References
    ----------
    Hestenes, Stiefel (1952); Strakoš, Tichý (2002); Epperly, Tropp, Webber (2024); Frangella, Tropp, Udell (2023).

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> kernel, y = ntkrs.mlp(depth=2, width=1, outputs=1).kernel(), np.sin(X[:, 0])
    >>> s = ntkrs.solve(kernel.operator(X), y, diag_reg=1e-3, tolerance=1e-8)
    >>> K = kernel(X)
    >>> bool(np.allclose(K @ s.alpha + 1e-3 * np.diag(K).mean() * s.alpha, y, atol=1e-6)), s.method
    (True, 'pcg')
    """
    source = Source(K)
    right, levels = solving.right_hand_sides(y, source.shape[0]), solving.ridges(diag_reg)
    shown = reporter(progress)
    options = Options(
        tolerance=solving.tolerance(tolerance),
        preconditioner=solving.preconditioner(preconditioner, len(right)),
        rank=choose.rank(source, None if rank is None else numbers.count(rank, "rank")),
        max_iterations=choose.iterations(
            len(right), None if max_iterations is None else numbers.count(max_iterations, "max_iterations")
        ),
        rng=numbers.generator(rng),
        overwrite=numbers.boolean(overwrite_k, "overwrite_k") and source.is_writeable and levels.size == 1,
        checkpoint=None if checkpoint is None else str(paths.new_file(checkpoint, "checkpoint").absolute()),
        seconds=numbers.nonnegative(checkpoint_seconds, "checkpoint_seconds"),
        report=_rising(shown),
    )
    wanted = numbers.choice(method, "method", ("auto", "cholesky", "pcg"))
    absolute = numbers.boolean(diag_reg_absolute_scale, "diag_reg_absolute_scale")
    problem = _problem(source, right, levels, absolute=absolute)
    with removed(shown):
        found = _solved(problem, wanted, options)
    _warn(found, options)
    return _solution(problem, found, (levels.shape, right.shape), options.tolerance)


def _rising(report: Report | None) -> Report | None:
    """Return a callback whose count never falls, also if one method ends and another one begins."""
    if report is None:
        return None
    most = 0

    def rising(done: int, total: int) -> None:
        nonlocal most
        most = max(most, done)
        report(most, total)

    return rising


def _problem(source: Source, y: NDArray[np.float64], levels: NDArray[np.float64], *, absolute: bool) -> Problem:
    """Return the systems over powers of two.

    Raises
    ------
    ValueError
        If a relative ridge is wanted, and the diagonal is unknown.
    ntkrs.SingularKernelError
        If an entry of the diagonal of ``K + rI`` is not positive.
    """
    columns = y.reshape(len(y), -1) if y.size else y.reshape(len(y), y.shape[1] if y.ndim == 2 else 1)
    exponents = np.frexp(np.abs(columns).max(axis=0, initial=0.0))[1].astype(np.int64)
    if absolute or not levels.any():
        source.exponent = max(source.exponent, exponent_of(levels)) if levels.any() else source.exponent
        ridges = ldexp(levels.ravel(), -source.exponent)
    else:
        ridges = levels.ravel() * source.mean_of_diagonal()
    problem = Problem(source, ldexp(columns, -exponents), exponents, ridges, levels.ravel())
    if source.has_columns and len(columns):
        diagonal, at = source.diagonal(), int(source.diagonal().argmin())
        if not diagonal[at] + ridges.min() > 0:
            value = float(ldexp(diagonal[at], source.exponent))
            raise problem.raise_it(f"is not positive definite: K[{at}, {at}] is {value:.3g}")
    return problem


def _solved(problem: Problem, wanted: str, options: Options) -> Found:
    """Solve by the method that is wanted, or chosen."""
    source, overwrite = problem.source, options.overwrite
    if wanted == "cholesky":
        _check_factorizable(source, options)
        return factorized(problem, options)
    large = source.shape[0] > choose.FACTORIZED
    if wanted == "auto" and options.checkpoint is None and choose.factorizes(source, overwrite=overwrite):
        try:
            return factorized(problem, options)
        except np.linalg.LinAlgError:
            if source.dtype == np.float64 or overwrite:
                raise
    found = iterated(problem, options)
    if (
        wanted == "auto"
        and large
        and not (found.residual <= options.tolerance).all()
        and choose.factor_fits(source, overwrite=False)
    ):
        return factorized(problem, options)
    return found


def _check_factorizable(source: Source, options: Options) -> None:
    """Check that ``method="cholesky"`` can be carried out.

    Raises
    ------
    ValueError
        If K is an operator, or a checkpoint is wanted.
    MemoryError
        If the factor does not fit into memory.
    """
    if not source.stored:
        raise ValueError(
            f"method is 'cholesky', but K is a {type(source.kernel).__name__}, which has no entries to factorize. Pass "
            "kernel(X) or ntkrs.gram(kernel, X), or method='pcg'."
        )
    if options.checkpoint is not None:
        raise ValueError("checkpoint is given, but method='cholesky' has no iterations to continue: pass method='pcg'")
    choose.require_factor(source, overwrite=options.overwrite)


def _warn(found: Found, options: Options) -> None:
    """Warn if a column has not converged."""
    if not (found.residual <= options.tolerance).all():
        reason = (
            f"max_iterations={options.max_iterations} was too few"
            if found.iterations >= options.max_iterations
            else "the residual has stopped falling"
        )
        warn(
            f"solve reached a residual of {found.residual.max():.3g}, not tolerance={options.tolerance:.3g}, in "
            f"{found.iterations} iterations (estimated error {found.error.max():.3g}): {reason}. Raise max_iterations, "
            "rank, diag_reg or tolerance.",
            ConvergenceWarning,
        )


def _solution(
    problem: Problem, found: Found, shapes: tuple[tuple[int, ...], tuple[int, ...]], tolerance: float
) -> Solution:
    """Return the solution in the shapes of the ridges and of y, with the worst column of each ridge."""
    levels, right = shapes

    def worst(values: NDArray[np.float64]) -> Any:
        by_ridge = values.reshape(len(problem.ridges), -1).max(axis=1)
        return by_ridge if levels else float(by_ridge[0])

    alpha, residual = problem.unscaled(found.alpha).reshape(levels + right), worst(found.residual)
    if not np.isfinite(alpha).all():
        raise ValueError("alpha exceeds the range of float64. Scale y down, or K up.")
    return Solution(
        alpha=alpha,
        residual=residual,
        error=worst(found.error),
        converged=residual <= tolerance,
        method=found.method,
        iterations=found.iterations,
        products=found.products,
        rank=found.rank,
    )
