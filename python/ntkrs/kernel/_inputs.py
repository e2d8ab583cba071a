"""The inputs of kernels: how they are read, and how they stay prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ntkrs._architecture import check_dense, grids, takes_images
from ntkrs._checks import arrays, images
from ntkrs._checks.elsewhere import KERNEL, Elsewhere
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._gram import array_of, core_kernel, warn_of_channels_first

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ntkrs._architecture import Architecture
    from ntkrs._core import InfiniteKernel
    from ntkrs._typing import Array, ArrayLike, Inputs, Parameterization, Progress
    from ntkrs.kernel._gram import Core, Side


class PreparedInputs:
    """Inputs X that are prepared for one kernel, which takes them in place of the array.

    :meth:`~ntkrs.kernel.Kernel.prepare` returns them.

    Attributes
    ----------
    array : (N, n_0) ndarray
        A copy of X, float32 or float64. It is read-only.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> prepared = mlp(depth=2, width=1, outputs=1).kernel().prepare(np.eye(3))
    >>> prepared, len(prepared)
    (PreparedInputs(shape=(3, 3), dtype=float64), 3)
    """

    def __init__(self, side: Any) -> None:
        self._side = side

    @property
    def array(self) -> Array:
        """A copy of X, (N, n_0). It is read-only."""
        return cast("Array", self._side.array)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, n_0)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: that of the results for these inputs."""
        return self.array.dtype

    def __len__(self) -> int:
        """Return N."""
        return len(self.array)

    def __repr__(self) -> str:
        return f"PreparedInputs(shape={self.shape}, dtype={self.dtype})"


#: Inputs that a kernel takes.
KernelInput: TypeAlias = "Inputs | PreparedInputs"


class KernelInputs(Elsewhere):
    """The part of :class:`~ntkrs.kernel.Kernel` that reads inputs."""

    _ELSEWHERE = KERNEL

    arch: Architecture
    parameterization: Parameterization
    _cores: dict[tuple[int, ...] | None, Core]

    @property
    def takes_images(self) -> bool:
        """True if inputs are images (N, H, W, C), False if they are rows (N, n_0)."""
        return takes_images(self.arch)

    def _for(self, x: Side) -> Core:
        """Return the core's kernel for inputs x. In "standard" it depends on the shape of one of them."""
        sample = array_of(x).shape[1:]
        if self.takes_images:
            grids(self.arch, sample)  # refuses images that do not fit the windows
        if self.parameterization == "ntk":
            return self._cores[None]
        if sample not in self._cores:
            self._cores.setdefault(sample, core_kernel(self.arch, "standard", sample))
        return self._cores[sample]

    def _for_rows(self, method: str) -> Callable[[Side], InfiniteKernel]:
        """Return a function from inputs to the core's kernel, for a method that only dense networks have."""
        self._check_rows(method)
        return cast("Callable[[Side], InfiniteKernel]", self._for)

    def _check_rows(self, option: str) -> None:
        """Raise ValueError for a network of images, whose kernel lacks this method or option."""
        check_dense(self.arch, option, "The kernel of a network with Conv has none: call it, or its diag or operator.")

    def _pair(self, X: ArrayLike, Z: ArrayLike | None) -> tuple[Side, Side | None]:
        """Return inputs X and Z after they are checked: rows, or images for a network with Conv."""
        if not self.takes_images:
            x, z = arrays.pair(_array(X), _array(Z))
            return _side(X, "X", x), None if z is None else _side(Z, "Z", z)
        x, z = images.pair(X, Z)
        warn_of_channels_first(x.shape)
        return x, z

    def _kept_pair(self, X: ArrayLike, Z: ArrayLike | None) -> tuple[Core, tuple[Side, Side | None]]:
        """Return the core's kernel, and copies of X and Z after they are checked.

        The core keeps rows prepared from their first use on. Images are prepared for each product again, which costs
        little beside their pairs of pixels.
        """
        if self.takes_images:
            x, z = images.snapshots(X, Z)
            return self._for(x), (x, z)
        x, z = arrays.snapshots(_array(X), _array(Z))
        core = cast("InfiniteKernel", self._for(x))

        def kept(given: ArrayLike, name: str, array: Array) -> Side:
            side = _side(given, name, array)
            return core.keep(array) if side is array else side

        return core, (kept(X, "X", x), None if z is None else kept(Z, "Z", z))

    def prepare(self, X: Inputs, progress: Progress = None) -> PreparedInputs:
        """Return inputs that this kernel need not prepare again, such as training inputs that many calls share.

        Every call packs its inputs, takes their norms, and runs the recursion along the diagonal. For prepared inputs
        this was done once. All methods take them as X or Z, and return the same bits as for the array.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs, which are copied. float32 stays float32; everything else becomes float64.
        progress : callable or bool, optional
            As for :meth:`__call__`.

        Returns
        -------
        PreparedInputs
            ``.array`` is the copy of X. Calls with another array take the wider of both dtypes, which must be the one
            of the prepared inputs.

        Raises
        ------
        ValueError
            If X is refused by the kernel, or the network has a Conv. By other kernels, even equal ones, if the result
            is passed to them.
        TypeError
            If X does not hold real numbers. By a method, if an array beside prepared float32 inputs is float64.
        MemoryError
            If the copies do not fit in memory.

        Notes
        -----
        O(N·(n_0 + L)) time. Memory: X twice, and up to 25 float64 numbers for each row and layer; a few hundred for
        activations that are computed by series. An operator of :meth:`operator` keeps its inputs by itself.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X, Z = mlp(depth=2, width=1, outputs=1).kernel(), np.eye(3), np.ones((2, 3))
        >>> train = kernel.prepare(X)
        >>> np.array_equal(kernel(Z, train), kernel(Z, X)) and np.array_equal(kernel.diag(train), kernel.diag(X))
        True
        """
        self._check_rows("prepare")
        core, (side, _) = self._kept_pair(X, None)
        array_of(side).setflags(write=False)
        cast("InfiniteKernel", core).prepare(cast("Any", side), reporter(progress))
        return PreparedInputs(side)


def _array(given: ArrayLike) -> ArrayLike:
    """Return the array of prepared inputs; anything else as it is."""
    return given.array if isinstance(given, PreparedInputs) else given


def _side(given: ArrayLike, name: str, array: Array) -> Side:
    """Return inputs for the core: ``array``, which was read from those ``given``, or what it keeps of it.

    Raises
    ------
    TypeError
        If prepared inputs have another dtype than the array.
    """
    if not isinstance(given, PreparedInputs):
        return array
    if given.dtype != array.dtype:
        raise TypeError(
            f"{name} was prepared in {given.dtype}, but the other inputs are {array.dtype}: pass them as "
            f"{given.dtype}, or prepare {name} in {array.dtype}"
        )
    return cast("Side", given._side)  # noqa: SLF001  # a class of this module
