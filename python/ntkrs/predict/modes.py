"""The eigendecomposition of a kernel, with eigenvalues at round-off level set to 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import memory
from ntkrs._checks.kernels import symmetric
from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs._runtime.interrupts import interruptible
from ntkrs.errors import IndefiniteKernelError
from ntkrs.solvers import in_place
from ntkrs.solvers.round_off import ROUND_OFF, cutoff

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Advice for when the eigendecomposition of a kernel does not fit in memory.
_REMEDY = "Use fewer samples."


@dataclass(frozen=True)
class Report:
    """Diagnostics of the eigendecomposition of a kernel.

    Attributes
    ----------
    size : int
        Order of the kernel matrix: N, or N·O with output blocks.
    zeroed : int
        Number of eigenvalues within ``cutoff`` of 0. They count as 0, and training changes nothing along their
        eigenvectors.
    negative : int
        Number of these eigenvalues that were negative.
    lowest, highest : float
        The extreme eigenvalues, before any was set to 0.
    cutoff : float
        ``32 · ε · Σ|λ|`` in float64, and this over ``√size`` in float32.
    condition : float
        The largest eigenvalue divided by the smallest that does not count as 0.
    residual : float
        ``‖Kz − VΛVᵀz‖/(‖Λ‖‖z‖)`` for a random vector z, after zeroing: the relative size of all errors and changes.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> f = predict.gradient_descent_mse(np.ones((2, 2)), np.array([1.0, 0.0]))  # the same input twice
    >>> f.report.size, f.report.zeroed
    (2, 1)
    >>> bool(np.allclose(f(t=None), 0.5))  # training can only fit the mean target
    True
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
    """Diagnostics of ``method="krylov"``, which knows a kernel only from products with it.

    Attributes
    ----------
    products : int
        Number of products of K with a block of vectors.
    dimension : int
        Number of vectors in the basis, which is the order of the projected kernel.
    error : float
        Estimated error relative to ``f_0(X) − Y``, the largest over the requested times.
    tolerance : float
        The error that was to be reached.
    zeroed : int
        Number of Ritz values within ``cutoff`` of 0, which count as 0.
    cutoff : float
        ``32 · ε · Σ|θ|`` over the Ritz values θ in float64, and this over ``√N`` in float32.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> K = np.diag(np.arange(1.0, 101.0))
    >>> f = predict.gradient_descent_mse(K, np.ones(100), loss_scale="sum", method="krylov")
    >>> f_t = f(0.1)
    >>> f.report.products < 30 and f.report.error <= 1e-8  # though K has order 100
    True
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
    """The eigenvalues and eigenvectors of a symmetric kernel: ``K = 2^exponent · V diag(scaled) Vᵀ``.

    Attributes
    ----------
    scaled : (m,) ndarray
        Eigenvalues over ``2^exponent``, ascending. Eigenvalues at round-off level are 0.
    basis : (n, m) ndarray
        V if ``rotation`` is None; otherwise an orthonormal basis, with ``V = basis @ rotation``.
    rotation : (m, m) ndarray or None
        The eigenvectors in this basis.
    exponent : int
        The exponent of the kernel's largest entry. With this scale taken out, nothing computed from ``scaled``
        overflows or underflows.
    eps : float
        ε of the kernel's dtype.
    scaled_cutoff : float
        ``cutoff`` over ``2^exponent``.
    report : Report or KrylovReport
        Diagnostics of the decomposition.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> K = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> modes = predict.gradient_descent_mse(K, np.array([1.0, -1.0])).modes
    >>> bool(np.allclose(modes.values, [1, 3]))
    True
    >>> bool(np.allclose(K @ modes.vectors, modes.vectors * modes.values))
    True
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
        """Eigenvalues, ascending. Eigenvalues at round-off level are 0."""
        return ldexp(self.scaled, self.exponent)

    @property
    def vectors(self) -> NDArray[np.float64]:
        """V, (n, m), with the eigenvectors as columns."""
        return self.basis if self.rotation is None else self.basis @ self.rotation

    @property
    def cutoff(self) -> float:
        """The largest magnitude of eigenvalues that count as 0: ``32 · ε · trace`` in float64."""
        return float(ldexp(self.scaled_cutoff, self.exponent))

    @property
    def null(self) -> int:
        """The number of eigenvalues that are 0. Training changes nothing along their eigenvectors."""
        return int(np.count_nonzero(self.scaled == 0))

    @property
    def positive(self) -> NDArray[np.float64]:
        """The eigenvalues that are not 0, over ``2^exponent``: the last entries of ``scaled``."""
        return self.scaled[self.null :]

    def components(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``Vᵀ columns``."""
        inner = self.basis.T @ columns
        return inner if self.rotation is None else self.rotation.T @ inner

    def combine(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``V components``."""
        return self.basis @ (components if self.rotation is None else self.rotation @ components)

    def project(self, rows: Any, eps: float) -> NDArray[np.float64]:
        """Return ``rows V`` for a matrix or operator, with round-off in null modes set to 0: time would amplify it."""
        projected = np.asarray(rows @ self.basis)
        if self.rotation is not None:
            projected = projected @ self.rotation
        if self.null:
            # The row norms of an operator are unknown. The norms of the projected rows are not larger.
            norms = np.linalg.norm(rows if isinstance(rows, np.ndarray) else projected, axis=1, keepdims=True)
            noise = ROUND_OFF * max(eps, self.eps) * norms
            projected[(self.scaled == 0) & (np.abs(projected) <= noise)] = 0.0
        return projected


def decompose(matrix: NDArray[np.float64], exponent: int, eps: float, name: str = "k_train_train") -> Modes:
    """Return the modes of the symmetric ``2^exponent · matrix``. ``matrix`` is overwritten.

    Raises
    ------
    ntkrs.IndefiniteKernelError
        If an eigenvalue is negative beyond round-off.
    """
    if not matrix.size:
        return assemble(np.empty(0), np.empty((0, 0)), None, exponent, eps, name)
    regularized = exponent_of(matrix)  # a large regularizer has a scale of its own
    if regularized:
        matrix = ldexp(matrix, -regularized)
    probe = np.random.default_rng(0).standard_normal(len(matrix))
    image = matrix @ probe
    values, vectors = _eigenvectors(matrix)
    return assemble(values, vectors, None, exponent + regularized, eps, name, (probe, image))


def _eigenvectors(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the eigenvalues of a symmetric matrix, ascending, and its eigenvectors in its own memory.

    Raises
    ------
    MemoryError
        If the work space of LAPACK does not fit in memory.
    """
    copies = 2 if matrix.flags.c_contiguous else 3
    with memory.required(copies * matrix.nbytes, f"an eigendecomposition of order {len(matrix)}", _REMEDY):
        vectors = np.asfortranarray(matrix.T)  # a copy only if the matrix is not in C order
        values = interruptible(lambda: in_place.eigendecompose(vectors))
    return values.astype(np.float64, copy=False), vectors


def assemble(
    values: NDArray[np.float64],
    basis: NDArray[np.float64],
    rotation: NDArray[np.float64] | None,
    exponent: int,
    eps: float,
    name: str,
    probe: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Modes:
    """Build Modes from ascending eigenvalues, scaled by ``2^-exponent``; eigenvalues at round-off level are set to 0.

    ``probe`` is a vector z with its product Kz. It gives the residual of the report, which is 0 without it.
    """
    bound = cutoff(float(np.abs(values).sum()), len(basis), eps)
    lowest, highest = (float(ldexp(value, exponent)) for value in (values.min(initial=np.inf), values.max(initial=0.0)))
    if values.size and values[0] < -bound:
        found = "eigenvalue" if rotation is None else "an eigenvalue of at most"  # Ritz values lie within the spectrum
        raise IndefiniteKernelError(
            f"{name} has {found} {lowest:.6g}, negative beyond round-off ({ldexp(bound, exponent):.3g}): it is not "
            "a kernel. Compute it in float64, or add diag_reg."
        )
    null = np.abs(values) <= bound
    kept = np.where(null, 0.0, values)
    smallest = kept[~null].min(initial=np.inf)
    report = Report(
        size=len(basis),
        zeroed=int(null.sum()),
        negative=int((values < 0).sum()),
        lowest=lowest if values.size else 0.0,
        highest=highest,
        cutoff=float(ldexp(bound, exponent)),
        condition=float(kept.max(initial=0.0) / smallest) if smallest < np.inf else 1.0,
        residual=0.0 if probe is None else _residual(kept, basis, *probe),
    )
    return Modes(kept, basis, rotation, exponent, eps, bound, report)


def _residual(
    values: NDArray[np.float64], vectors: NDArray[np.float64], probe: NDArray[np.float64], image: NDArray[np.float64]
) -> float:
    """Return ``‖Kz − VΛVᵀz‖/(‖Λ‖‖z‖)``, where ``probe`` is z and ``image`` is Kz."""
    largest = values.max(initial=0.0)
    difference = image - vectors @ (values * (vectors.T @ probe))
    return float(np.linalg.norm(difference) / (largest * np.linalg.norm(probe))) if largest else 0.0


def kernel_modes(
    matrix: NDArray[np.float64], eps: float, diag_reg: float, absolute: bool, name: str = "k_train_train"
) -> Modes:
    """Return the modes of ``K + rI``, where r is relative to the mean of the diagonal unless ``absolute``.

    ``matrix`` is not changed.
    """
    # A power of two brings the entries near 1 before anything else is done. Otherwise large entries could overflow,
    # and LAPACK would lose the digits of tiny ones.
    with memory.required(8 * matrix.size, f"a copy of {name}", _REMEDY):
        shrunk, exponent = scaled(matrix, diag_reg if absolute else 0.0)
        shrunk = symmetric(shrunk, exponent, eps)
    mean = np.trace(shrunk) / max(len(shrunk), 1)
    shrunk[np.diag_indices_from(shrunk)] += np.ldexp(diag_reg, -exponent) if absolute else diag_reg * mean
    return decompose(shrunk, exponent, eps, name)


def square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R with ``R Rᵀ = matrix`` for a symmetric matrix, whose negative eigenvalues count as 0."""
    shrunk, exponent = scaled(matrix)
    values, vectors = _eigenvectors(shrunk) if matrix.size else (np.zeros(0), matrix)
    half, odd = divmod(exponent, 2)
    return ldexp(vectors * np.sqrt(np.maximum(values, 0.0) * 2.0**odd), half)
