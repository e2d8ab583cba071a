"""The inputs of kernels: how they are read, and how they stay prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from ntkrs._architecture import check_dense, grids, takes_images
from ntkrs._checks import arrays, images
from ntkrs._checks.elsewhere import KERNEL, Elsewhere
from ntkrs._core import InfiniteKernel
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._gram import array_of, core_kernel, warn_of_channels_first

if TYPE_CHECKING:
    from collections.abc import Callable

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, ArrayLike, Inputs, Parameterization, Progress
    from ntkrs.kernel._gram import Core, Side


class PreparedInputs:
    """Inputs X that are prepared for one kernel, which takes them in place of the array.

    :meth:`~ntkrs.kernel.Kernel.prepare` returns them. A pickle holds the array and the kernel: where it is loaded, the
    first use prepares the inputs again.

    Attributes
    ----------
    array : (N, n_0) or (N, H, W, C) ndarray
        A copy of X, float32 or float64. It is read-only.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> prepared = mlp(depth=2, width=1, outputs=1).kernel().prepare(np.eye(3))
    >>> prepared, len(prepared)
    (PreparedInputs(shape=(3, 3), dtype=float64), 3)
    """

    def __init__(self, kernel: KernelInputs, side: Side) -> None:
        self._kernel, self._side = kernel, side

    @property
    def array(self) -> Array:
        """A copy of X, (N, n_0) or (N, H, W, C). It is read-only."""
        return array_of(self._side)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, n_0) or (N, H, W, C)."""
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

    def __reduce__(self) -> tuple[Callable[..., PreparedInputs], tuple[KernelInputs, Array]]:
        """Pickle the kernel and the array."""
        return kept, (self._kernel, self.array)

    def side(self, kernel: KernelInputs, name: str) -> Side:
        """Return what the core's kernel takes. ``name`` is that of the argument, for messages.

        Raises
        ------
        ValueError
            If ``kernel`` is not the one that prepared the inputs.
        """
        if self._kernel is not kernel:
            raise ValueError(
                f"{name} was prepared by another kernel. Pass the inputs themselves, or what prepare() of this kernel "
                "returns."
            )
        return self._side


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
        checks = images if self.takes_images else arrays
        x, z = checks.pair(self._array(X, "X"), self._array(Z, "Z"))
        if self.takes_images:
            warn_of_channels_first(x.shape)
        return self._side(X, "X", x), None if z is None else self._side(Z, "Z", z)

    def _kept_pair(self, X: ArrayLike, Z: ArrayLike | None) -> tuple[Core, tuple[Side, Side | None]]:
        """Return the core's kernel, and X and Z as it keeps them after they are checked: copies, or prepared inputs."""
        checked = images.pair if self.takes_images else arrays.kernel_pair
        x, z = checked(self._array(X, "X"), self._array(Z, "Z"))

        def kept(given: ArrayLike, name: str, array: Array) -> Side:
            if isinstance(given, PreparedInputs):
                return self._side(given, name, array)
            return self._kept(arrays.finite(arrays.copied(array), name))

        return self._for(x), (kept(X, "X", x), None if z is None else kept(Z, "Z", z))

    def _kept(self, array: Array) -> Side:
        """Return an array, which must not change any more, as the core keeps it.

        Rows stay prepared from their first use on. Images are prepared for each call again, which costs little beside
        their pairs of pixels.
        """
        core = self._for(array)
        return core.keep(array) if isinstance(core, InfiniteKernel) else array

    def _array(self, given: ArrayLike, name: str) -> ArrayLike:
        """Return the array of prepared inputs; anything else as it is.

        Raises
        ------
        ValueError
            If another kernel prepared them.
        """
        return array_of(given.side(self, name)) if isinstance(given, PreparedInputs) else given

    def _side(self, given: ArrayLike, name: str, array: Array) -> Side:
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
        return given.side(self, name)

    def prepare(self, X: Inputs, progress: Progress = None) -> PreparedInputs:
        """Return inputs that this kernel need not prepare again, such as training inputs that many calls share.

        Every call packs its inputs, takes their norms, and runs the recursion along the diagonal. For prepared inputs
        this was done once. All methods take them as X or Z, and return the same bits as for the array. Images are
        checked and copied once, and all else is done in each call.

        Parameters
        ----------
        X : (N, n_0) array_like, or (N, H, W, C) for a network with Conv
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
            If X is refused by the kernel. By other kernels, even equal ones, if the result is passed to them.
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
        core, (side, _) = self._kept_pair(X, None)
        array_of(side).setflags(write=False)
        if isinstance(core, InfiniteKernel) and not isinstance(side, np.ndarray):
            core.prepare(side, reporter(progress))
        return PreparedInputs(self, side)


def kept(kernel: KernelInputs, array: Array) -> PreparedInputs:
    """Return inputs that ``kernel`` prepares when they are first used. The array becomes read-only."""
    array.setflags(write=False)
    return PreparedInputs(kernel, kernel._kept(array))  # noqa: SLF001  # a class of this module
