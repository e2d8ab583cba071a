"""Solutions by Cholesky factors, refined with products in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks.scaling import ldexp
from ntkrs.solvers import pcg
from ntkrs.solvers.cholesky import WHOLE, Factor, factor
from ntkrs.solvers.packed import PackedFactor, packed_factor
from ntkrs.solvers.problem import Found, relative

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs.solvers.problem import Options, Problem
    from ntkrs.solvers.sources import Source

    Product = Callable[[NDArray[np.float64]], NDArray[np.float64]]

#: The number of rows in a block. Ctrl-C takes effect between blocks.
_ROWS = 256


class FactorPreconditioner:
    """A Cholesky factor in float32 as the preconditioner of the same system in float64."""

    def __init__(self, found: Factor | PackedFactor, exponent: int, order: int) -> None:
        self._factor, self._exponent = found, exponent
        self.rank = order

    def apply(self, residuals: NDArray[np.float64], ridges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(K + rI)⁻¹ R``, by two triangular solves."""
        del ridges
        return self._factor.solve(residuals, self._exponent)


@dataclass(eq=False)
class _Part:
    """The solution for one ridge: α, residual and error by column, and the numbers of iterations and products."""

    alpha: NDArray[np.float64]
    residual: NDArray[np.float64]
    error: NDArray[np.float64]
    iterations: int
    products: int


def factorized(problem: Problem, options: Options) -> Found:
    """Solve by one Cholesky factor for each ridge.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a factor fails, or cannot be told from that of a singular matrix.
    """
    parts: list[_Part] = []
    for index in range(len(problem.ridges)):
        before = sum(part.iterations for part in parts)
        parts.append(_one_ridge(problem, options, index, _after(options, before)))
    return Found(
        alpha=np.concatenate([part.alpha for part in parts], axis=1),
        residual=np.concatenate([part.residual for part in parts]),
        error=np.concatenate([part.error for part in parts]),
        method="cholesky",
        iterations=sum(part.iterations for part in parts),
        products=sum(part.products for part in parts),
        rank=problem.source.shape[0],
    )


def _after(options: Options, before: int) -> Callable[[int], None]:
    """Return the function that reports the iterations of a ridge, after ``before`` iterations for others."""

    def report(iterations: int) -> None:
        if options.report is not None:
            options.report(before + iterations, options.max_iterations)

    return report


def _one_ridge(problem: Problem, options: Options, index: int, report: Callable[[int], None]) -> _Part:
    """Return the solution for a ridge."""
    source, ridge = problem.source, float(problem.ridges[index])
    diagonal = source.diagonal()
    report(0)
    found = _factor(problem, index, overwrite=options.overwrite)
    product = _of_half(source, diagonal, found.exponent) if options.overwrite else source.product
    if source.dtype == np.float64:
        part = _refined(problem, found, product, ridge)
        report(part.iterations)
        return part
    ridges = np.full(problem.targets.shape[1], ridge)
    preconditioner = FactorPreconditioner(found, source.exponent, source.shape[0])
    system = pcg.System(product, problem.targets, ridges, options.tolerance, preconditioner)
    state = pcg.started(system, products=0)
    try:
        pcg.iterate(system, state, options.max_iterations, lambda now: report(now.iteration))
    except np.linalg.LinAlgError as failed:
        raise problem.raise_it(str(failed), index) from failed
    residual = relative(state.checked, state.norms[0])
    return _Part(state.alpha, residual, pcg.errors(state), state.iteration, state.products)


def _factor(problem: Problem, index: int, *, overwrite: bool) -> Factor | PackedFactor:
    """Return the Cholesky factor for a ridge: in K itself, in a small copy, or in a packed one.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it fails. The message names diag_reg.
    """
    source = problem.source
    ridge = float(ldexp(problem.ridges[index], source.exponent))
    try:
        if overwrite or source.shape[0] <= WHOLE:
            matrix = np.array(source.kernel, order="C") if source.matrix is None else _c_ordered(source.matrix)
            return factor(matrix, ridge, overwrite)
        return packed_factor(source.rows, source.kernel.diagonal(), source.dtype, ridge)
    except np.linalg.LinAlgError as failed:
        raise problem.raise_it(str(failed).removeprefix("K + r I ").partition(", with r =")[0], index) from failed


def _refined(problem: Problem, found: Factor | PackedFactor, product: Product, ridge: float) -> _Part:
    """Return the solution by a float64 factor, after one step of refinement."""
    y, exponent = problem.targets, problem.source.exponent
    alpha = found.solve(y, exponent)
    rest = y - product(alpha) - ridge * alpha
    change = found.solve(rest, exponent)
    alpha += change
    error = relative(_root(change, rest), _root(alpha, y))
    rest = y - product(alpha) - ridge * alpha
    residual = relative(np.linalg.norm(rest, axis=0), np.linalg.norm(y, axis=0))
    return _Part(alpha, residual, error, 1, 2)


def _root(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``√(aᵀb)`` by column, which is ‖a‖_A if b = A a."""
    return np.asarray(np.sqrt(np.abs(np.einsum("ij,ij->j", a, b))))


def _c_ordered(matrix: Any) -> Any:
    """Return a symmetric matrix in C order. One in Fortran order is its transpose."""
    return matrix if matrix.flags.c_contiguous or not matrix.flags.f_contiguous else matrix.T


def _of_half(source: Source, diagonal: NDArray[np.float64], exponent: int) -> Product:
    """Return the products with K, whose lower triangle is overwritten. The upper one is K over ``2^exponent``."""
    upper = _c_ordered(source.matrix)
    shift = exponent - source.exponent

    def product(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.zeros_like(vectors)
        for start in range(0, len(upper), _ROWS):
            stop = min(start + _ROWS, len(upper))
            block = np.triu(upper[start:stop, start:].astype(np.float64), 1)
            result[start:stop] += block @ vectors[start:]
            result[start:] += block.T @ vectors[start:stop]
        return ldexp(result, shift) + diagonal[:, None] * vectors

    return product
