"""Nyström features: the kernel with a few training inputs, which are chosen by randomly pivoted Cholesky."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks import arrays, images, memory, numbers
from ntkrs._checks.advice import shown
from ntkrs.empirical.network_kernel import NetworkKernel, no_form
from ntkrs.features.blocks import operations
from ntkrs.kernel import Kernel
from ntkrs.network import Network
from ntkrs.solvers.rpcholesky import rpcholesky

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, KernelName
    from ntkrs.kernel import PreparedInputs


@dataclass(frozen=True, eq=False)
class NystromFeatures:
    """Nyström features of a kernel, made by :func:`nystrom`: ``F(x) = k(x, S) L⁻ᵀ`` with ``K_SS = L Lᵀ``.

    Attributes
    ----------
    pivots : (rank,) ndarray of int
        The indices of S among the training inputs, in the order in which they were chosen.
    residual_trace : float
        ``tr(K − F Fᵀ)/tr K`` on the training inputs, between 0 and 1: the relative error in the trace norm.
    get : "ntk" or "nngp"
        The kernel that they approximate.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> F = ntkrs.features.nystrom(ntkrs.mlp(depth=1, width=1, outputs=1).kernel(), X, rank=10)
    >>> F.pivots.shape, 0 < F.residual_trace < 1
    ((10,), True)
    """

    pivots: NDArray[np.int64]
    residual_trace: float
    get: KernelName
    _kernel: Kernel | NetworkKernel = field(repr=False)
    _rows: PreparedInputs | Array = field(repr=False)
    _lower: NDArray[np.float64] = field(repr=False)

    def transform(self, Z: ArrayLike) -> Array:
        """Return the features of each row of Z.

        Parameters
        ----------
        Z : (M, n_0) or (M, H, W, C) array_like
            Inputs. float32 inputs give float32 features, which are computed in float64 and rounded once.

        Returns
        -------
        (M, rank) ndarray
            On pivots, F(x) · F(z) is the kernel up to round-off.

        Raises
        ------
        TypeError, ValueError
            If Z is not a two-dimensional array of finite real numbers, or does not have the n_0 columns of X.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        M·rank entries of the kernel, and M·rank² operations.

        Examples
        --------
        >>> import numpy as np, ntkrs
        >>> X = np.random.default_rng(0).standard_normal((50, 3))
        >>> kernel = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
        >>> F = ntkrs.features.nystrom(kernel, X, rank=10)
        >>> Phi = F.transform(X[F.pivots])
        >>> np.allclose(Phi @ Phi.T, kernel(X[F.pivots]))
        True
        """
        from scipy.linalg import solve_triangular

        z = images.inputs(Z, "Z", self._kernel)
        if z.shape[1:] != self._rows.shape[1:]:
            raise ValueError(images.unlike(z.shape, self._rows.shape))
        rank = len(self.pivots)
        result = arrays.output(None, (len(z), rank), z.dtype, [], "the feature matrix")
        for rows in operations(len(z), rank * rank):
            # The result is read as the transpose of the right-hand sides: nothing is copied.
            columns = self._kernel(z[rows].astype(np.float64), self._rows, get=self.get, progress=False)
            result[rows] = solve_triangular(self._lower, columns.T, lower=True, check_finite=False).T
        return result


def nystrom(
    kernel: Kernel | Network,
    X: ArrayLike,
    rank: int,
    *,
    get: KernelName = "ntk",
    outputs: str | int | None = None,
    method: str = "rpcholesky",
    rng: int | np.random.Generator = 0,
) -> NystromFeatures:
    """Return Nyström features F of a kernel, ``F(x) = k(x, S) L⁻ᵀ``, for pivots S among the rows of X.

    K − F Fᵀ is positive semidefinite, and exactly 0 in rows of pivots. Its trace is known, and measures how good the
    features are. Pivots are drawn one by one, in proportion to the diagonal of K − F Fᵀ so far. This comes close to the
    best features of this rank.

    Spectra of NTKs fall slowly: a quarter of the trace may be left at rank 2000. Where N allows the exact solution,
    :func:`ntkrs.solve` is more accurate.

    Parameters
    ----------
    kernel : Kernel or Network
        ``arch.kernel()``, or a network, whose empirical NTK is taken in the dtype of the network.
    X : (N, n_0) array_like, or (N, H, W, C) for a network with Conv
        Training inputs. For float32 inputs the pivots are drawn in float32.
    rank : int
        The number of pivots, and of features. There are fewer if N is smaller, or if the rest of K is round-off.
    get : "ntk" or "nngp"
        The kernel to approximate.
    outputs : "mean", "trace", "sum" or int, optional
        For networks: the form of the empirical NTK, by default "mean".
    method : "rpcholesky"
        Accelerated, randomly pivoted Cholesky.
    rng : int or numpy.random.Generator
        The seed of the pivots, or a generator.

    Returns
    -------
    NystromFeatures
        ``.transform(Z)`` returns the features of the rows of Z. See also ``.pivots`` and ``.residual_trace``.

    Raises
    ------
    TypeError, ValueError
        If ``kernel`` is neither a :class:`ntkrs.Kernel` nor a :class:`ntkrs.Network`, or an argument is out of its
        domain; and as for the kernel.
    MemoryError
        If N·rank numbers do not fit in memory. Nothing is computed then.

    Notes
    -----
    About 5/4·N·rank entries of the kernel, and N·rank² operations.

    References
    ----------
    Chen, Epperly, Tropp, Webber (2024); Epperly, Tropp, Webber (2024).

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X = np.random.default_rng(0).standard_normal((100, 4))
    >>> kernel = ntkrs.mlp(depth=2, width=1, outputs=1, activation="erf").kernel()
    >>> F = ntkrs.features.nystrom(kernel, X, rank=30)
    >>> K, Phi = kernel(X), F.transform(X)
    >>> bool(np.isclose(F.residual_trace, np.trace(K - Phi @ Phi.T) / np.trace(K)))
    True
    """
    chosen = _chosen(kernel, get, outputs)
    if method != "rpcholesky":
        raise ValueError(f"method is {shown(method)}, but must be 'rpcholesky'")
    x, generator = images.inputs(X, "X", chosen), numbers.generator(rng)
    wanted = min(numbers.count(rank, "rank"), len(x))
    # The factor, the columns of a round, and the pivots' triangle.
    needed = x.dtype.itemsize * len(x) * (wanted + wanted // 8) + 8 * wanted * wanted
    with memory.required(needed, f"a factor of rank {wanted}", "Ask for a lower rank, or pass float32 inputs."):
        operator = chosen.operator(x, get=get, progress=False)
        found = rpcholesky(operator, wanted, generator)
    trace = float(operator.diagonal().sum(dtype=np.float64))
    left = float(found.residual.sum()) / trace if trace else 0.0
    lower = np.tril(found.factor[found.pivots].astype(np.float64))
    rows = chosen.prepare(x[found.pivots].astype(np.float64), progress=False)
    return NystromFeatures(found.pivots, left, get, chosen, rows, lower)


def _chosen(kernel: object, get: str, outputs: str | int | None) -> Kernel | NetworkKernel:
    """Return the kernel, or that of a network.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or ``get`` or ``outputs`` do not suit it.
    """
    if isinstance(kernel, Network):
        return NetworkKernel(kernel, get, outputs)
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel is {shown(kernel)}, but a Kernel is needed, such as arch.kernel(), or a Network")
    no_form(outputs)
    numbers.choice(get, "get", ("ntk", "nngp"))
    return kernel
