"""The first claim of the theory: the kernels of random networks converge as their width grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ntkrs._checks import arrays, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.diagnostics.scaling import WidthScaling, fit, networks, sizes
from ntkrs.layers import check_architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ntkrs._typing import ArrayLike, Progress
    from ntkrs.layers import Sequential
    from ntkrs.network import Network


@dataclass(frozen=True, eq=False)
class WidthConvergence(WidthScaling):
    """``‖Θ̂_n − Θ‖_F/‖Θ‖_F`` of random networks of width n: see :func:`width_convergence`."""

    LABEL: ClassVar[str] = r"relative error $\|\hat\Theta_n-\Theta\|_F\,/\,\|\Theta\|_F$"


def width_convergence(
    arch: Sequential,
    X: ArrayLike,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    seeds: int = 10,
    rng: int = 0,
    *,
    progress: Progress = None,
) -> WidthConvergence:
    """Measure how the kernels of random networks approach that of the infinitely wide one.

    ``‖Θ̂_n − Θ‖_F/‖Θ‖_F`` on X, for the kernel of one output. Theory: it falls like ``n^{−1/2}``.

    Parameters
    ----------
    arch : Sequential
        The network; the widths of its hidden layers are replaced.
    X : (N, n_0) array_like
        Inputs.
    widths : sequence of int
        Units per hidden layer.
    seeds : int
        Networks per width.
    rng : int
        Network j of width n is drawn from ``[rng, n, j]``.
    progress : callable or bool, optional
        As for :meth:`ntkrs.Network.ntk`; counts networks by their size.

    Returns
    -------
    WidthConvergence
        With ``.plot()``; ``values`` (W, S).

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its domain, or the architecture has no hidden layer.

    Notes
    -----
    S kernels of each width: N² n multiply-adds per layer.

    References
    ----------
    Jacot, Gabriel, Hongler (2018), theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> found = width_convergence(mlp(2, 1, 1, "relu"), np.eye(4), widths=(16, 256), seeds=5)
    >>> bool(found.values[1].mean() < found.values[0].mean())
    True
    """
    check_architecture(arch)
    counts, number = sizes(widths, seeds)
    x = arrays.finite(arrays.batch(X, "X"), "X").astype(np.float64)
    limit = arch.kernel()(x)
    length = np.linalg.norm(limit)
    if length == 0:
        raise ValueError("X gives a kernel that is all 0: there is nothing to be relative to")

    def error(net: Network) -> float:
        return float(np.linalg.norm(net.ntk(x, outputs=0) - limit) / length)

    found = networks(arch, x.shape[1], counts, number, numbers.integer(rng, "rng"), error, reporter(progress))
    values = np.array(found)
    return WidthConvergence(counts, values, fit(counts, values), len(x))
