"""A kernel in its eigenbasis, round-off told from eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks.kernels import symmetric
from ntkrs._checks.scaling import exponent_of, ldexp, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Eigenvalues within this many ε·trace of 0 are round-off.
ROUND_OFF = 32.0


@dataclass(frozen=True)
class Report:
    """What was found, and counted as 0, when a kernel was brought to its eigenbasis.

    Attributes
    ----------
    size : int
        Order of the kernel matrix: N, or N·O with output blocks.
    zeroed : int
        Eigenvalues within ``cutoff`` of 0, counted as 0: directions that training never changes.
    negative : int
        How many of them were negative.
    lowest, highest : float
        The extreme eigenvalues as computed, before any was counted as 0.
    cutoff : float
        ``32 · ε · Σ|λ|``, ε that of the dtype in which the kernel came.
    condition : float
        The largest eigenvalue over the smallest that is not counted as 0.
    residual : float
        ``‖Kz − VΛVᵀz‖/(‖Λ‖‖z‖)`` for a random vector z, after zeroing: the size of all that was changed.
    """

    size: int
    zeroed: int
    negative: int
    lowest: float
    highest: float
    cutoff: float
    condition: float
    residual: float

    def __str__(self) -> str:
        return (
            f"kernel of order {self.size}, eigenvalues from {self.lowest:.3g} to {self.highest:.3g}, condition "
            f"{self.condition:.3g}; {self.zeroed} within {self.cutoff:.3g} of 0 count as 0 ({self.negative} negative); "
            f"relative residual {self.residual:.2g}"
        )


@dataclass(frozen=True)
class KrylovReport:
    """How well a kernel is known from products with it.

    Attributes
    ----------
    products : int
        How many blocks of vectors K was applied to.
    dimension : int
        Vectors in the basis: the order of the projected kernel.
    error : float
        Estimated error relative to ``f_0(X) − Y``, the largest over the times asked for.
    tolerance : float
        What was to be reached.
    zeroed : int
        Ritz values within ``cutoff`` of 0, counted as 0.
    cutoff : float
        ``32 · ε · Σ|θ|`` over the Ritz values θ.
    """

    products: int
    dimension: int
    error: float
    tolerance: float
    zeroed: int
    cutoff: float

    def __str__(self) -> str:
        return (
            f"{self.products} products with the kernel, a basis of {self.dimension} vectors, estimated error "
            f"{self.error:.2g} (tolerance {self.tolerance:.2g}); {self.zeroed} Ritz values within {self.cutoff:.3g} of "
            "0 count as 0"
        )


@dataclass(frozen=True, eq=False)
class Modes:
    """A symmetric kernel in its eigenbasis, its scale held apart: ``K = 2^exponent · V diag(scaled) Vᵀ``.

    Attributes
    ----------
    scaled : (m,) ndarray
        Eigenvalues over ``2^exponent``, ascending; those that are round-off are 0.
    basis : (n, m) ndarray
        V, or an orthonormal basis in which ``rotation`` gives V.
    rotation : (m, m) ndarray or None
        ``V = basis @ rotation``.
    exponent : int
        That of the kernel's largest entry, so that nothing computed from ``scaled`` overflows or underflows.
    eps : float
        ε of the dtype that the kernel came in.
    scaled_cutoff : float
        ``cutoff`` over ``2^exponent``.
    report : Report or KrylovReport
        What was counted as 0.
    """

    scaled: NDArray[np.float64]
    basis: NDArray[np.float64]
    rotation: NDArray[np.float64] | None
    exponent: int
    eps: float
    scaled_cutoff: float
    report: Report | KrylovReport

    @property
    def values(self) -> NDArray[np.float64]:
        """Eigenvalues, ascending; those that are round-off are 0."""
        return ldexp(self.scaled, self.exponent)

    @property
    def vectors(self) -> NDArray[np.float64]:
        """V, the eigenvectors in columns, (n, m)."""
        return self.basis if self.rotation is None else self.basis @ self.rotation

    @property
    def cutoff(self) -> float:
        """Eigenvalues of at most this magnitude were taken for 0: ``32 · ε · trace``."""
        return float(ldexp(self.scaled_cutoff, self.exponent))

    @property
    def null(self) -> int:
        """How many eigenvalues are 0: directions of the labels that training never changes."""
        return int(np.count_nonzero(self.scaled == 0))

    @property
    def positive(self) -> NDArray[np.float64]:
        """The eigenvalues that are not 0, over ``2^exponent``: the last ones."""
        return self.scaled[self.null :]

    def components(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Vᵀ columns``."""
        inner = self.basis.T @ columns
        return inner if self.rotation is None else self.rotation.T @ inner

    def combine(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        """``V components``."""
        return self.basis @ (components if self.rotation is None else self.rotation @ components)

    def project(self, rows: Any, eps: float) -> NDArray[np.float64]:
        """``rows V`` of a matrix or operator, without the round-off that null modes would amplify with time."""
        projected = np.asarray(rows @ self.basis)
        if self.rotation is not None:
            projected = projected @ self.rotation
        if self.null:
            # An operator does not tell the norm of its rows: that of their projections is no larger.
            norms = np.linalg.norm(rows if isinstance(rows, np.ndarray) else projected, axis=1, keepdims=True)
            noise = ROUND_OFF * max(eps, self.eps) * norms
            projected[(self.scaled == 0) & (np.abs(projected) <= noise)] = 0.0
        return projected


def decompose(matrix: NDArray[np.float64], exponent: int, eps: float, name: str = "k_train_train") -> Modes:
    """Eigenvalues and eigenvectors of the symmetric ``2^exponent · matrix``, which is overwritten.

    Raises
    ------
    numpy.linalg.LinAlgError
        If an eigenvalue is negative beyond round-off.
    """
    from scipy.linalg import eigh

    if not matrix.size:
        return assemble(np.empty(0), np.empty((0, 0)), None, exponent, eps, name)
    regularized = exponent_of(matrix)  # a large regularizer has a scale of its own
    if regularized:
        matrix = ldexp(matrix, -regularized)
    probe = np.random.default_rng(0).standard_normal(len(matrix))
    image = matrix @ probe
    # The transpose is LAPACK's order, so that the matrix itself is overwritten, and not a copy.
    values, vectors = eigh(matrix.T, driver="evd", overwrite_a=True, check_finite=False)
    return assemble(values, vectors, None, exponent + regularized, eps, name, (probe, image))


def assemble(
    values: NDArray[np.float64],
    basis: NDArray[np.float64],
    rotation: NDArray[np.float64] | None,
    exponent: int,
    eps: float,
    name: str,
    probe: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Modes:
    """Modes of ascending eigenvalues over ``2^exponent``, those that are round-off counted as 0.

    ``probe`` is a vector and what the kernel makes of it, to measure what is left out; without one the residual is 0.
    """
    cutoff = ROUND_OFF * eps * float(np.abs(values).sum())
    lowest, highest = (float(ldexp(value, exponent)) for value in (values.min(initial=np.inf), values.max(initial=0.0)))
    if values.size and values[0] < -cutoff:
        bound = "eigenvalue" if rotation is None else "an eigenvalue of at most"  # Ritz values lie within the spectrum
        raise np.linalg.LinAlgError(
            f"{name} has {bound} {lowest:.6g}, negative beyond round-off ({ldexp(cutoff, exponent):.3g}): it is no "
            "kernel. Compute it in float64, or add diag_reg."
        )
    null = np.abs(values) <= cutoff
    kept = np.where(null, 0.0, values)
    smallest = kept[~null].min(initial=np.inf)
    report = Report(
        size=len(basis),
        zeroed=int(null.sum()),
        negative=int((values < 0).sum()),
        lowest=lowest if values.size else 0.0,
        highest=highest,
        cutoff=float(ldexp(cutoff, exponent)),
        condition=float(kept.max(initial=0.0) / smallest) if smallest < np.inf else 1.0,
        residual=0.0 if probe is None else _residual(kept, basis, *probe),
    )
    return Modes(kept, basis, rotation, exponent, eps, cutoff, report)


def _residual(
    values: NDArray[np.float64], vectors: NDArray[np.float64], probe: NDArray[np.float64], image: NDArray[np.float64]
) -> float:
    largest = values.max(initial=0.0)
    difference = image - vectors @ (values * (vectors.T @ probe))
    return float(np.linalg.norm(difference) / (largest * np.linalg.norm(probe))) if largest else 0.0


def kernel_modes(
    matrix: NDArray[np.float64], eps: float, diag_reg: float, absolute: bool, name: str = "k_train_train"
) -> Modes:
    """Modes of ``K + rI``, r relative to the mean of the diagonal unless ``absolute``; ``matrix`` is not changed."""
    # A power of two brings the entries near 1 before anything else is done: nothing overflows, and LAPACK would lose
    # the digits of tiny ones.
    shrunk, exponent = scaled(matrix, diag_reg if absolute else 0.0)
    shrunk = symmetric(shrunk, exponent, eps)
    mean = np.trace(shrunk) / max(len(shrunk), 1)
    shrunk[np.diag_indices_from(shrunk)] += np.ldexp(diag_reg, -exponent) if absolute else diag_reg * mean
    return decompose(shrunk, exponent, eps, name)
