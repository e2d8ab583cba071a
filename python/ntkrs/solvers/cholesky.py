"""The Cholesky factor of a kernel, at any scale of its entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs.errors import SingularKernelError
from ntkrs.solvers import panels
from ntkrs.solvers.round_off import cutoff

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array

#: A factor counts if ``1/‖(K + rI)⁻¹‖₁`` exceeds this times the cutoff of eigenvalues.
_CLEAR = 4.0

#: Larger matrices are factorized panel by panel, between which Ctrl-C takes effect.
WHOLE = 2048

#: Powers of two with larger exponents are applied one entry at a time, because float32 does not hold them.
_SMALL_EXPONENT = 100


@dataclass(frozen=True, eq=False)
class Factor:
    """The Cholesky factor L of ``K + rI = 2^exponent L Lᵀ``.

    Attributes
    ----------
    upper : (n, n) ndarray
        Lᵀ in the upper triangle, in Fortran order and the dtype of K. The other triangle means nothing.
    exponent : int
        An even exponent, which brings the largest entry near 1.
    condition : float
        An estimate of ``‖K + rI‖₁ ‖(K + rI)⁻¹‖₁``.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.cholesky import factor
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0], [0.0]])
    >>> L = factor(K)
    >>> L.solve(y).round(12).tolist()
    [[2.0], [-1.0]]
    >>> half = L.half_solve(y)
    >>> bool(np.allclose(half.T @ half, y.T @ L.solve(y)))
    True
    """

    upper: Array
    exponent: int
    condition: float

    def solve(self, columns: NDArray[np.floating], exponent: int = 0) -> NDArray[np.float64]:
        """Return ``2^exponent (K + rI)⁻¹ columns``, (n, c), by two triangular solves in the dtype of K.

        With ``self.exponent`` the result neither overflows nor underflows for columns near 1.
        """
        right, own = self._prepared(columns)
        if len(right) > WHOLE:
            panels.solve_lower(self.upper.T, right)
            panels.solve_upper(self.upper.T, right)
        elif right.size:
            right = _lapack("potrs", self.upper.dtype)(self.upper, right, lower=0, overwrite_b=1)[0]
        return _scaled_back(right, own + exponent - self.exponent)

    def half_solve(self, columns: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ``H = 2^{−exponent/2} L⁻¹ columns``, (n, c), by one triangular solve: ``HᵀH = kᵀ(K + rI)⁻¹k``."""
        right, own = self._prepared(columns)
        if len(right) > WHOLE:
            panels.solve_lower(self.upper.T, right)
        elif right.size:
            right = _lapack("trtrs", self.upper.dtype)(self.upper, right, lower=0, trans=1, overwrite_b=1)[0]
        return _scaled_back(right, own - self.exponent // 2)

    @property
    def log_determinant(self) -> float:
        """``log det (K + rI)``."""
        logs = np.log(self.upper.diagonal().astype(np.float64))
        return float(2 * logs.sum() + len(self.upper) * self.exponent * np.log(2))

    def inverse(self) -> Array:
        """Return ``(K + rI)⁻¹`` in the upper triangle of a matrix in Fortran order. It overwrites the factor."""
        if not self.upper.size:
            return self.upper
        inverse = cast("Array", _lapack("potri", self.upper.dtype)(self.upper, lower=0, overwrite_c=1)[0])
        return _shrunk(inverse, -self.exponent, inverse)

    def _prepared(self, columns: NDArray[np.floating]) -> tuple[Array, int]:
        """Return the columns over ``2^exponent`` in the dtype of K and Fortran order, and the exponent."""
        shrunk, exponent = scaled(columns.astype(np.float64, copy=False))
        return cast("Array", np.array(shrunk, self.upper.dtype, order="F")), exponent


def factor(K: NDArray[np.floating], r: float = 0.0, overwrite: bool = False) -> Factor:
    """Return the Cholesky factor of ``K + rI``, if it can be told from a singular matrix.

    Parameters
    ----------
    K : (n, n) ndarray of float32 or float64
        A symmetric matrix, in C order if it is to be overwritten. Its lower triangle is read.
    r : float
        The ridge.
    overwrite : bool
        If True, K is overwritten, by the factor in its lower triangle, and no second matrix is needed.

    Returns
    -------
    Factor
        The factor, in the dtype of K.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a pivot is not positive, or if ``1/‖(K + rI)⁻¹‖₁``, as LAPACK estimates it, is at most 4 times the cutoff of
        eigenvalues: then round-off alone may have kept the pivots positive.

    Notes
    -----
    n³/3 operations, and n² numbers of memory unless K is overwritten.
    """
    diagonal = np.abs(K.diagonal())
    exponent = exponent_of(diagonal, float(r)) if np.isfinite(r) else 0
    exponent += exponent % 2  # so that its half is a whole number
    matrix = _shrunk(K, -exponent, K if overwrite else np.empty(K.shape, K.dtype))
    matrix[np.diag_indices_from(matrix)] += np.ldexp(r, -exponent)
    trace = float(matrix.trace(dtype=np.float64))
    # The transpose has the memory order of LAPACK, so nothing is copied.
    if not matrix.size:
        return Factor(matrix, exponent, 1.0)
    norm = float(_lapack("lange", matrix.dtype)("1", matrix.T))
    upper, info = _factorized(matrix)
    check_pivots(info, len(K), r)
    least = _least_inverse(upper)
    check_distinct(least, cutoff(trace, len(K), float(np.finfo(K.dtype).eps)), exponent, r)
    return Factor(upper, exponent, norm / least)


def check_pivots(failed: int, n: int, r: float) -> None:
    """Raise an error if a factorization of order n with the ridge r failed at a pivot; 0 is none."""
    if failed:
        raise SingularKernelError(f"K + r I is not positive definite: pivot {failed} of {n}, with r = {r:.3g}")


def check_distinct(least: float, bound: float, exponent: int, r: float) -> None:
    """Raise an error if ``K + rI`` cannot be told from a singular matrix.

    ``least`` is the norm of the smallest change that makes ``(K + rI) / 2^exponent`` singular, and ``bound`` the cutoff
    of its eigenvalues.
    """
    if not least > _CLEAR * bound:
        change = float(ldexp(least, exponent))
        raise SingularKernelError(
            f"K + r I cannot be told from a singular matrix: a change of {change:.3g} makes it one, with r = {r:.3g}"
        )


def _factorized(matrix: Array) -> tuple[Array, int]:
    """Overwrite the lower triangle by the factor L. Return Lᵀ, and the number of the pivot that failed, or 0."""
    if len(matrix) > WHOLE:
        return matrix.T, panels.factorize(matrix)
    upper, info = _lapack("potrf", matrix.dtype)(matrix.T, lower=0, clean=0, overwrite_a=1)
    return cast("Array", upper), int(info)


def _least_inverse(upper: Array) -> float:
    """Return an estimate of ``1/‖(LLᵀ)⁻¹‖₁``."""
    if len(upper) > WHOLE:
        return panels.least_inverse(lambda right: _solved(upper.T, right), len(upper))
    # With 1 as the norm of the matrix, LAPACK's estimate is 1/‖(LLᵀ)⁻¹‖₁ itself.
    return float(_lapack("pocon", upper.dtype)(upper, 1.0, uplo="U")[0])


def _solved(lower: Array, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(LLᵀ)⁻¹ right`` in float64, computed in the dtype of L."""
    columns = cast("Array", right.astype(lower.dtype))
    panels.solve_lower(lower, columns)
    panels.solve_upper(lower, columns)
    return columns.astype(np.float64, copy=False)


def _shrunk(matrix: NDArray[np.floating], exponent: int, out: NDArray[np.floating]) -> Array:
    """Write ``matrix · 2^exponent`` to ``out``, and return it. Entries beyond the range become infinite."""
    with np.errstate(over="ignore"):
        if abs(exponent) <= _SMALL_EXPONENT:
            return cast("Array", np.multiply(matrix, 2.0**exponent, out=out))
        return cast("Array", np.ldexp(matrix, exponent, out=out))


def _scaled_back(values: Any, exponent: int) -> NDArray[np.float64]:
    """Return ``values · 2^exponent`` in float64."""
    result = np.asarray(values, dtype=np.float64)
    return ldexp(result, exponent) if exponent else result


def _lapack(name: str, dtype: np.dtype[Any]) -> Any:
    """Return a routine of LAPACK for this dtype."""
    from scipy.linalg import lapack

    return getattr(lapack, ("s" if dtype == np.float32 else "d") + name)
