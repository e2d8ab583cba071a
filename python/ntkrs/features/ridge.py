"""Ridge regression on features, in one pass over the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays, images, memory, numbers
from ntkrs._checks.advice import shown
from ntkrs.errors import SingularKernelError
from ntkrs.features.blocks import operations
from ntkrs.solvers.cholesky import factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Rows = NDArray[np.float64]


def ridge(
    F: Any,
    X: ArrayLike,
    y: ArrayLike,
    diag_reg: float,
    *,
    diag_reg_absolute_scale: bool = False,
    block_rows: int = 4096,
) -> NDArray[np.float64]:
    """Return the weights w of ridge regression on features Φ = F(X): ``(ΦᵀΦ + r I) w = Φᵀ y``.

    Predictions are ``F.transform(Z) @ w``. They are those of kernel regression with the kernel ΦΦᵀ and the same ridge.

    Parameters
    ----------
    F : feature map
        An object with ``transform``, such as those of :func:`random` and :func:`nystrom`.
    X : (N, n_0) or (N, H, W, C) array_like
        Inputs. A memory map is read block by block.
    y : (N,) or (N, O) array_like
        Labels.
    diag_reg : float
        The ridge: r is ``diag_reg`` times the mean of the diagonal of ΦΦᵀ.
    diag_reg_absolute_scale : bool
        If True, r is ``diag_reg`` itself.
    block_rows : int
        The number of rows whose features are in memory at a time.

    Returns
    -------
    (rank,) or (rank, O) float64 ndarray
        The weights. They are 0 if there are no rows, or all features are 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, is not finite, or is out of its domain; and as for ``F.transform``.
    ntkrs.SingularKernelError
        If ``ΦᵀΦ + r I`` is singular within round-off, because features depend on each other or are more than the rows.
        Pass a larger ridge.
    MemoryError
        If ΦᵀΦ does not fit in memory. Nothing is computed then.

    Notes
    -----
    N·rank² + rank³/3 operations in float64, and rank² + block_rows·rank numbers of memory, for any N. The normal
    equations square the condition number of Φ. So a ridge below 1e-12 of the mean diagonal has no effect beyond
    round-off.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X, y = np.eye(4), np.arange(4.0)
    >>> kernel = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> F = ntkrs.features.random(kernel, in_features=4, n_features=16)
    >>> w, Phi = ntkrs.features.ridge(F, X, y, 0.1), F.transform(X)
    >>> K = Phi @ Phi.T
    >>> np.allclose(Phi @ w, K @ np.linalg.solve(K + 0.1 * np.trace(K) / 4 * np.eye(4), y))
    True
    """
    if not callable(getattr(F, "transform", None)):
        raise TypeError(f"F is {shown(F)}, but features with a method transform are needed, such as features.random")
    x, targets = images.inputs(X, "X", F), arrays.finite_float64(y, "y")
    if targets.ndim not in (1, 2) or len(targets) != len(x):
        raise ValueError(f"y has shape {targets.shape}, but ({len(x)},) or ({len(x)}, O) is needed to match X")
    level = numbers.nonnegative(diag_reg, "diag_reg")
    absolute = numbers.boolean(diag_reg_absolute_scale, "diag_reg_absolute_scale")
    gram, right = _normal_equations(
        F, x, targets if targets.ndim == 2 else targets[:, None], numbers.count(block_rows, "block_rows")
    )
    trace = float(np.trace(gram))
    r = level if absolute else level * trace / max(len(x), 1)
    weights = np.zeros_like(right) if trace == 0 else _solved(gram, r, right)
    return weights.reshape(len(gram), *targets.shape[1:])


def _normal_equations(F: Any, x: NDArray[Any], targets: Rows, block: int) -> tuple[Rows, Rows]:
    """Return ``ΦᵀΦ`` (rank, rank) and ``Φᵀ targets`` (rank, O), summed over blocks of rows."""
    rank = _features(F, x[:0]).shape[1]
    remedy = "Use fewer features."
    with memory.required(8 * rank * (2 * rank + min(block, len(x))), f"regression on {rank} features", remedy):
        gram, right = np.zeros((rank, rank)), np.zeros((rank, targets.shape[1]))
        for start in range(0, len(x), block):
            phi = _features(F, x[start : start + block])
            for rows in operations(len(phi), rank * rank):
                gram += phi[rows].T @ phi[rows]
                right += phi[rows].T @ targets[start : start + block][rows]
    return gram, right


def _features(F: Any, x: NDArray[Any]) -> Rows:
    """Return the features of some rows in float64."""
    phi = arrays.finite_float64(F.transform(x), "F.transform(X)")
    if phi.ndim != 2 or len(phi) != len(x):
        raise ValueError(f"F.transform returned shape {phi.shape} for {len(x)} rows, but ({len(x)}, rank) is needed")
    return phi


def _solved(gram: Rows, r: float, right: Rows) -> Rows:
    """Return ``(gram + r I)⁻¹ right``. It overwrites ``gram``."""
    try:
        return factor(gram, r, overwrite=True).solve(right)
    except np.linalg.LinAlgError as error:
        raise SingularKernelError(
            f"ΦᵀΦ + r I cannot be told from a singular matrix, with r = {r:.3g}: the {len(gram)} features depend on "
            "each other, or are more than the rows. Raise diag_reg."
        ) from error
