"""The first claim of the theory: kernels of random networks converge as the width grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ntkrs._architecture import check_dense
from ntkrs._checks import arrays, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.diagnostics.scaling import WidthScaling, fit, networks, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ntkrs._typing import ArrayLike, Progress
    from ntkrs.layers import Sequential
    from ntkrs.network import Network


@dataclass(frozen=True, eq=False)
class WidthConvergence(WidthScaling):
    """The result of :func:`width_convergence`: ``‖Θ̂_n − Θ‖_F/‖Θ‖_F`` of random networks of width n.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import width_convergence
    >>> width_convergence(mlp(1, 1, 1, "relu"), np.eye(3), widths=(16, 64), seeds=5).values.shape
    (2, 5)
    """

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
    """Measure the convergence of the kernels of random networks to the infinite-width kernel.

    The measure is ``‖Θ̂_n − Θ‖_F/‖Θ‖_F`` on X, for the kernel of one output. Theory predicts that it falls like
    ``n^{−1/2}``.

    Parameters
    ----------
    arch : Sequential
        The network. The widths of its hidden layers are replaced.
    X : (N, n_0) array_like
        Inputs.
    widths : sequence of int
        W widths n, the units per hidden layer.
    seeds : int
        S, the number of networks per width.
    rng : int
        Network j of width n is drawn with the seed ``[rng, n, j]``.
    progress : callable or bool, optional
        As in :meth:`ntkrs.Network.ntk`, with networks weighted by their size.

    Returns
    -------
    WidthConvergence
        ``values`` is (W, S), and ``plot()`` draws them.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its domain, or the architecture has no hidden layer.

    Notes
    -----
    S kernels of each width, at N² n multiply-adds per layer.

    References
    ----------
    Jacot, Gabriel, Hongler (2018), theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import width_convergence
    >>> found = width_convergence(mlp(2, 1, 1, "relu"), np.eye(4), widths=(16, 64, 256), seeds=5)
    >>> -0.7 < found.line.slope < -0.3  # near −1/2
    True
    """
    check_dense(arch, "width_convergence")
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
