"""Eigenvalues of a kernel, and the energy of the targets along its eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._checks.scaling import exponent_of, ldexp
from ntkrs._runtime import display
from ntkrs.diagnostics._matrices import kernel_matrix, label_columns
from ntkrs.predict.modes import decompose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike
    from ntkrs.predict.modes import KrylovReport, Report

#: The power law is fitted to this share of the eigenvalues, the largest ones. The smallest depend on the finite sample.
_FITTED = 0.25


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The result of :func:`spectrum`.

    Attributes
    ----------
    eigenvalues : (n,) ndarray
        The eigenvalues in descending order. Eigenvalues within round-off of 0 are set to 0.
    effective_rank_entropy : float
        ``exp(−Σ p log p)`` with ``p = λ/Σλ`` (Roy & Vetterli 2007).
    effective_rank_participation : float
        ``(Σλ)²/Σλ²``, the participation ratio. It is never larger than ``effective_rank_entropy``.
    condition_number : float
        The largest eigenvalue divided by the smallest nonzero one.
    decay_exponent : float or None
        α of ``λ_i ∝ i^{−α}``, fitted to the first quarter of the nonzero eigenvalues; None for fewer than two.
    label_energy : (n,) ndarray or None
        ``|u_iᵀY|²/|Y|²`` in the order of ``eigenvalues``, with sum 1; None without targets.
    report : Report
        A report on the eigenvalues that were set to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import spectrum
    >>> found = spectrum(np.diag(np.arange(1.0, 41.0) ** -2))
    >>> round(found.decay_exponent, 12), round(found.condition_number)
    (2.0, 1600)
    """

    eigenvalues: NDArray[np.float64]
    effective_rank_entropy: float
    effective_rank_participation: float
    condition_number: float
    decay_exponent: float | None
    label_energy: NDArray[np.float64] | None
    report: Report | KrylovReport

    def _repr_html_(self) -> str:
        """Return a table of the numbers, which notebooks show."""
        rows: list[list[object]] = [
            ["eigenvalues", len(self.eigenvalues)],
            ["largest", display.number(self.eigenvalues[0])],
            ["condition number", display.number(self.condition_number)],
            ["effective rank (entropy)", display.number(self.effective_rank_entropy)],
            ["effective rank (participation)", display.number(self.effective_rank_participation)],
            ["decay exponent", display.number(self.decay_exponent)],
        ]
        return display.table("Spectrum", ["", ""], rows)

    def plot(self, ax: Any = None) -> Any:
        """Draw the eigenvalues, and the cumulative label energy if targets were given.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, or a pair of them, optional
            Axes for the eigenvalues alone, or a pair for both panels; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is missing; the message says how to install it.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.diagnostics import spectrum
        >>> len(spectrum(np.eye(3), np.ones(3)).plot().axes)
        2
        """
        from ntkrs import plot

        return plot.kernel_spectrum(self, ax)


def spectrum(k: ArrayLike, y: ArrayLike | None = None) -> Spectrum:
    """Return the eigenvalues of a kernel, its effective rank, and the energy of the targets along its eigenvectors.

    Parameters
    ----------
    k : (N, N) or (N, N, O, O) array_like
        Kernel matrix.
    y : (N,) or (N, O) array_like, optional
        Labels.

    Returns
    -------
    Spectrum
        Its ``plot()`` draws the eigenvalues.

    Raises
    ------
    TypeError, ValueError
        If the kernel is not square, not symmetric, empty or not finite, or if the targets do not fit or are all 0.
    ntkrs.IndefiniteKernelError
        If an eigenvalue is negative by more than round-off: 32·ε·trace, and in float32 this over √n.

    Notes
    -----
    One eigendecomposition, in O(n³) time with n = N or N·O.

    References
    ----------
    Roy & Vetterli (2007) for the entropy.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import spectrum
    >>> found = spectrum(np.diag([1.0, 1.0, 1.0, 0.0]))
    >>> round(found.effective_rank_entropy, 12), round(found.effective_rank_participation, 12), found.report.zeroed
    (3.0, 3.0, 1)
    """
    kernel = np.asarray(k)
    matrix, eps = kernel_matrix(k)
    labels = None if y is None else label_columns(y, len(matrix))
    # The kernel is the matrix times a power of two, 2^exponent.
    largest = max(float(kernel.max()), -float(kernel.min()))
    modes = decompose(matrix, exponent_of(np.array([largest], dtype=np.float64)), eps, "k")
    values = modes.scaled[::-1]
    total = float(values.sum())
    share = values[values > 0] / total if total else np.zeros(0)
    energy = None if labels is None else (modes.components(labels) ** 2).sum(axis=1)[::-1] / (labels**2).sum()
    return Spectrum(
        eigenvalues=ldexp(values, modes.exponent),
        effective_rank_entropy=float(np.exp(-np.sum(share * np.log(share)))) if total else 0.0,
        effective_rank_participation=float(1 / np.sum(share**2)) if total else 0.0,
        condition_number=float(share[0] / share[-1]) if total else 1.0,
        decay_exponent=_decay(share),
        label_energy=energy,
        report=modes.report,
    )


def label_energy(k: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Return the energy of the targets along each eigenvector of a kernel, ``|u_iᵀY|²/|Y|²``.

    The largest eigenvalue comes first. Gradient flow learns the share of mode i at the rate ``ηλ_i/Z``.

    Parameters
    ----------
    k : (N, N) or (N, N, O, O) array_like
        Kernel matrix.
    y : (N,) or (N, O) array_like
        Labels. Subtract their mean first if a constant should not count.

    Returns
    -------
    (n,) ndarray
        Energies with sum 1; n = N or N·O.

    Raises
    ------
    TypeError, ValueError, ntkrs.IndefiniteKernelError
        As in :func:`spectrum`.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import label_energy
    >>> label_energy(np.diag([1.0, 3.0, 2.0]), [0.0, 3.0, 4.0]).round(12)
    array([0.36, 0.64, 0.  ])
    """
    return cast("NDArray[np.float64]", spectrum(k, y).label_energy)  # not None: targets are given


def _decay(share: NDArray[np.float64]) -> float | None:
    """Return the exponent of the least-squares power law through the largest eigenvalues.

    Each octave of the index has the same weight.
    """
    count = max(int(_FITTED * len(share)), min(len(share), 2))
    if count < 2:
        return None
    index = np.arange(1, count + 1)
    slope = np.polyfit(np.log(index), np.log(share[:count]), 1, w=index**-0.5)[0]
    return float(-slope)
