"""The sum of the kernels of all layers, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from ntkrs import _core
from ntkrs._checks import arrays, chunks, memory, numbers, records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ntkrs._checks.records import Record
    from ntkrs._typing import Array, Report


class Options(NamedTuple):
    """The options of a kernel that all layers share."""

    outputs: Any
    #: The number of layers if each has a kernel of its own, else None.
    per_layer: int | None
    #: "tokens", "gradients", or None for the cheaper one.
    form: str | None
    out: NDArray[Any] | None
    report: Report | None


class KernelSum:
    """A kernel to which layers are added one by one.

    Parameters
    ----------
    x, z : Record
        The first layer in both batches; z is None if the second batch is the first.
    """

    def __init__(self, x: Record, z: Record | None, options: Options) -> None:
        self._first, self._other, self._options = x, z, options
        self._selection = numbers.selection(options.outputs, x.gradients.shape[3])
        if not x.several and isinstance(self._selection, str):
            self._selection = "trace"
        count = x.gradients.shape[3]
        n, m = len(x.gradients), len((x if z is None else z).gradients)
        leading = () if options.per_layer is None else (options.per_layer,)
        trailing = {"full": (count, count), "diagonal": (count,)}.get(str(self._selection), ())
        self._shape = (*leading, n, m, *trailing)
        self._dtype = np.dtype(np.float32)
        self._out = self._checked_out(x, z)
        self._sums = self._zeros()

    def add(self, x: Record, z: Record | None, factor: float, part: tuple[int, int]) -> None:
        """Add the kernel of a layer, times ``factor``. ``part`` is the index of the layer and the number of layers."""
        records.check_same(self._first, x, batches=False)
        if z is not None and self._other is not None:
            records.check_same(self._other, z, batches=False)
            records.check_same(x, z, batches=True)
        both = [x] if z is None else [x, z]
        dtype = np.result_type(
            *(record.gradients for record in both), *(r.values for r in both if r.values is not None)
        )
        self._dtype = np.result_type(self._dtype, dtype)
        self._checked_out(x, z)
        if not self._sums.size:
            return
        if self._selection in {"mean", "sum"}:
            factor /= x.gradients.shape[3]
        batches = [self._batch(record.in_dtype(dtype), of_gradients=self._of_gradients(both)) for record in both]
        layer = self._sums if self._options.per_layer is None else self._sums[part[0]]
        planes = self._planes(layer)
        call = (batches[0], batches[1] if z is not None else None)
        try:
            scales = (factor, float(x.bias))
            _core.add_layer_kernel(call, planes, scales, self._of_gradients(both), part, self._options.report)
        except ValueError as error:
            for record in both:
                record.check_finite()
            if "exceeds the largest" in str(error) or " holds " in str(error):
                raise ValueError(
                    f"the kernel of {x.name} exceeds the range of {dtype}. Scale its gradients down, or pass float64."
                ) from error
            raise

    def result(self) -> Array:
        """Return the sum, in float32 if all arrays were, or in the dtype of ``out``."""
        values = self._shaped(self._sums)
        if self._out is None and self._dtype == np.float64:
            return values
        target = self._out
        if target is None:
            memory.require(self._sums.size * 4, f"the kernel of shape {self._shape} and dtype float32")
            target = arrays.empty(self._shape, self._dtype)
        if not np.may_share_memory(target, self._sums):
            with np.errstate(over="ignore"):  # an overflow is reported below
                chunks.assign(target, values)
            if chunks.first(np.isinf, target) is not None:
                raise ValueError(
                    f"an entry of the kernel exceeds the largest {target.dtype}. Pass out=numpy.empty({self._shape})."
                )
        return target

    def _checked_out(self, x: Record, z: Record | None) -> Array | None:
        """Return ``out`` after its checks, against the arrays of a layer too."""
        out = self._options.out
        if out is None:
            return None
        inputs = x.arrays if z is None else [*x.arrays, *z.arrays]
        dtype = getattr(out, "dtype", None)
        own = np.dtype(np.float32 if dtype == np.float32 else np.float64)
        return arrays.output(out, self._shape, own, cast("Sequence[Array]", inputs), "the kernel")

    def _zeros(self) -> NDArray[np.float64]:
        """Return the array of sums: ``out`` if it can hold them, else an array with the axes in the core's order."""
        out = self._out
        if out is not None and out.dtype == np.float64 and self._selection != "diagonal":
            sums: Any = out.swapaxes(-3, -2) if self._selection == "full" else out
        else:
            axes = list(range(len(self._shape)))
            if self._selection == "full":
                axes[-3], axes[-2] = axes[-2], axes[-3]
            elif self._selection == "diagonal":
                axes.insert(-2, axes.pop())
            shape = tuple(self._shape[axis] for axis in axes)
            needed = 8 * int(np.prod(shape, dtype=object))
            memory.require(needed, f"the float64 sums of a kernel of shape {self._shape}")
            sums = arrays.empty(shape, np.dtype(np.float64))
        chunks.assign(sums, np.broadcast_to(0.0, sums.shape))
        return cast("NDArray[np.float64]", sums)

    def _shaped(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums with the axes in the order of the result."""
        if self._selection == "full":
            return sums.swapaxes(-3, -2)
        return np.moveaxis(sums, -3, -1) if self._selection == "diagonal" else sums

    def _planes(self, sums: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Return the arrays (N, S, M, S) that the core writes, given the sums of one layer."""
        if self._selection == "full":
            return [sums]
        planes = list(sums) if self._selection == "diagonal" else [sums]
        return [plane[:, None, :, None] for plane in planes]

    def _of_gradients(self, both: Sequence[Record]) -> bool:
        """Return True if the kernel of a layer is computed from the gradients of its weights."""
        if both[0].values is None:
            return False
        if self._options.form is not None:
            return self._options.form == "gradients"
        n, m, count = both[0].shape
        m *= count if self._selection in {"trace", "mean"} else 1
        pairs = both[0].gradients.shape[1] * both[-1].gradients.shape[1]
        return bool(pairs > 1 and pairs * (n + m) > n * m)

    def _batch(self, record: Record, *, of_gradients: bool) -> tuple[NDArray[Any] | None, list[Array]]:
        """Return values (N, 1, T, n) and gradients (N, S, T, m) for the core, or with T at the end."""
        order: Callable[[Any], Any] = (lambda array: array.swapaxes(2, 3)) if of_gradients else (lambda array: array)
        values: NDArray[Any] | None = None if record.values is None else order(record.values[:, None])
        if record.indices is not None:
            values = record.indices.reshape(-1)
        return values, [order(plane) for plane in self._gradients(record.gradients)]

    def _gradients(self, gradients: Array) -> list[Any]:
        """Return the gradients of each plane, (N, S, T, m), given those of all outputs, (N, T, m, O)."""
        n, tokens, m, count = gradients.shape
        if self._selection == "full":
            return [gradients.transpose(0, 3, 1, 2)]
        if self._selection == "diagonal":
            return [gradients[:, None, :, :, output] for output in range(count)]
        if self._selection == "sum":
            with np.errstate(invalid="ignore", over="ignore"):  # the core refuses what is not finite
                sums = gradients.sum(axis=3, dtype=np.float64).astype(gradients.dtype)
            return [sums[:, None]]
        if isinstance(self._selection, int):
            return [gradients[:, None, :, :, self._selection]]
        return [gradients.reshape(n, 1, tokens, m * count)]
