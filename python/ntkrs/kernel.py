"""Kernels of infinitely wide networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

import numpy as np

from ntkrs import _arrays, _core
from ntkrs._progress import reporter
from ntkrs.layers import check_architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Get, KernelName, Progress
    from ntkrs.layers import Sequential


class NngpNtk(NamedTuple):
    """What ``get=("nngp", "ntk")`` returns."""

    nngp: Array
    ntk: Array


class NtkNngp(NamedTuple):
    """What ``get=("ntk", "nngp")`` returns."""

    ntk: Array
    nngp: Array


class Nngp(NamedTuple):
    """What ``get=("nngp",)`` returns."""

    nngp: Array


class Ntk(NamedTuple):
    """What ``get=("ntk",)`` returns."""

    ntk: Array


_RESULTS: dict[tuple[str, ...], type[NngpNtk | NtkNngp | Nngp | Ntk]] = {
    cls._fields: cls for cls in (NngpNtk, NtkNngp, Nngp, Ntk)
}


@dataclass(frozen=True)
class Kernel:
    """The NNGP Σ and the NTK Θ of an infinitely wide network, as functions of inputs.

    ::

        Σ^1 = sigma_w² ⟨x,x'⟩/n_0 + sigma_b²          Θ^1 = Σ^1
        Σ^{l+1} = sigma_w² T(Σ^l) + sigma_b²          Θ^{l+1} = Σ^{l+1} + sigma_w² Ṫ(Σ^l) ⊙ Θ^l

    with ``T = E φ(u)φ(v)`` and ``Ṫ = E φ'(u)φ'(v)``. With several outputs the kernel of the whole network is this one
    times the identity of size O.

    Parameters
    ----------
    arch : Sequential
        The network; ``arch.kernel()`` makes its kernel.

    Raises
    ------
    ValueError
        If an activation has no kernel in closed form.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Lee, Bahri et al. (2018); Cho & Saul (2009); Williams (1997).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> kernel = mlp(depth=3, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
    >>> X = np.array([[3.0, 4.0], [3.0, 4.0]])
    >>> K = kernel(X, get=("nngp", "ntk"))
    >>> bool(np.all(K.ntk == K.ntk[0, 0]))  # equal rows: equal entries, to the last bit
    True
    """

    arch: Sequential
    _core: _core.InfiniteKernel = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the architecture, and hand it to the core."""
        check_architecture(self.arch)
        layers = [(dense.sigma_w, dense.sigma_b) for dense in self.arch.dense]
        activations = [activation.spec() for activation in self.arch.activations]
        object.__setattr__(self, "_core", _core.InfiniteKernel(layers, activations))

    def __reduce__(self) -> tuple[type[Kernel], tuple[Sequential]]:
        return Kernel, (self.arch,)

    @overload
    def __call__(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: KernelName = "ntk",
        out: NDArray[Any] | None = None,
        progress: Progress = None,
    ) -> Array: ...

    @overload
    def __call__(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: tuple[KernelName, ...],
        out: Sequence[NDArray[Any]] | None = None,
        progress: Progress = None,
    ) -> Any: ...

    def __call__(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: Get = "ntk",
        out: NDArray[Any] | Sequence[NDArray[Any]] | None = None,
        progress: Progress = None,
    ) -> Any:
        """Return the kernel between the rows of X and those of Z, or of X.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs. float32 gives float32, all else float64.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        get : "ntk", "nngp", or a tuple of them
            A tuple is computed in one pass.
        out : (N, M) ndarray, or a tuple of them, optional
            Where to write the result, of its shape and dtype, with any strides.
        progress : callable or bool, optional
            A callable is called as ``progress(done, total)`` about every 50 ms; what it raises ends the call. True
            shows a bar of tqdm, False none; by default a terminal sees one when the call takes longer than 2 s.

        Returns
        -------
        (N, M) ndarray, or a named tuple of them
            In the order of ``get``. Entry (i, j) depends on rows i and j alone, to the last bit.

        Raises
        ------
        ValueError
            If an input holds NaN or an infinity, is not two-dimensional, or X and Z differ in n_0.
        TypeError
            If an input is not made of real numbers.
        MemoryError
            If the result does not fit, before any work.

        Notes
        -----
        N·M·n_0 multiplications and N·M·L steps of the recursion; half of both without Z. No temporary array of
        the result's size.
        """
        names, report = _names(get), reporter(progress)
        x = _arrays.batch(X, "X")
        z = None if Z is None else _arrays.batch(Z, "Z")
        if z is not None:
            x, z = _arrays.same_dtype(x, z)
        shape = (len(x), len(x if z is None else z))
        given = _given(out, get, len(names))
        inputs = [array for array in (x, z) if array is not None]
        results = [_arrays.output(array, shape, x.dtype, inputs, "the kernel") for array in given]
        if len(results) > 1 and np.shares_memory(results[0], results[1]):
            raise ValueError("the arrays of out share memory, but each result needs its own")
        planes = [array[:, None, :, None] for array in results if array.size]
        with _arrays.apart(x, z, planes) as arrays:
            self._core.gram(arrays, names, report)
        return results[0] if isinstance(get, str) else _RESULTS[names](*results)

    def diag(self, X: ArrayLike, get: KernelName = "ntk") -> Array:
        """Return the diagonal of ``kernel(X)``, the same bits, in O(N n_0).

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        get : "ntk" or "nngp"
            Which kernel.

        Returns
        -------
        (N,) ndarray

        Raises
        ------
        ValueError, TypeError
            As :meth:`__call__`.
        """
        if not isinstance(get, str):
            raise TypeError(f"get is {get!r}, but diag takes one name, 'ntk' or 'nngp'")
        x = _arrays.batch(X, "X")
        values = self._core.diag(x, *_names(get))
        with np.errstate(over="ignore"):  # beyond float32 it is infinite, as in the kernel
            return cast("Array", values.astype(x.dtype, copy=False))


def _names(get: Get) -> tuple[str, ...]:
    names = (get,) if isinstance(get, str) else get
    if not (isinstance(names, tuple) and all(isinstance(name, str) for name in names)):
        raise TypeError(f"get is {get!r}, but must be 'ntk', 'nngp', or a tuple of them")
    if names not in _RESULTS:
        raise ValueError(f"get is {get!r}, but must be 'ntk', 'nngp', or a tuple of them, each at most once")
    return names


def _given(out: NDArray[Any] | Sequence[NDArray[Any]] | None, get: Get, count: int) -> Sequence[NDArray[Any] | None]:
    if out is None:
        return [None] * count
    if isinstance(get, str):
        return [cast("NDArray[Any]", out)]
    if not isinstance(out, list | tuple) or len(out) != count:
        raise TypeError(f"get is {get!r}, so out must be a tuple of {count} arrays")
    return out
