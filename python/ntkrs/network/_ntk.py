"""The empirical kernels: the NTK, in one call of the core or band by band, its diagonal, and the NNGP kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntkrs import _core
from ntkrs._architecture import layer_scales
from ntkrs._checks import arrays, memory, numbers
from ntkrs._runtime.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Outputs, Progress, Report
    from ntkrs.network._state import NetworkState

#: Inputs x and z, and the planes of the result, each of shape (N, S, M, S).
Call: TypeAlias = "tuple[Array, Array | None, Sequence[NDArray[Any]]]"

#: The number of samples in a tile. Bands consist of whole tiles.
_TILE = 96

#: The number of samples in a block of the kernel, of which only the diagonal is kept: enough for all threads.
_DIAGONAL = 2 * _TILE

#: The number of rows of a block that are mirrored in one copy. Ctrl-C takes effect between copies.
_COPIED = 256


def ntk(
    state: NetworkState,
    X: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    outputs: Outputs = "full",
    per_layer: bool = False,
    out: NDArray[Any] | None = None,
    progress: Progress = None,
) -> Array:
    """Return the empirical NTK, as :meth:`ntkrs.Network.ntk` describes it."""
    count = state.arch.outputs
    selection, report = numbers.selection(outputs, count), reporter(progress)
    by_layer = numbers.boolean(per_layer, "per_layer")
    leading = (len(state.weights),) if by_layer else ()
    trailing = {"full": (count, count), "diagonal": (count,)}.get(str(selection), ())

    def shape(n: int, m: int) -> tuple[int, ...]:
        return (*leading, n, m, *trailing)

    def planes(result: Array) -> list[Array]:
        return [plane for layer in (result if by_layer else result[None]) for plane in _planes(layer, selection)]

    with arrays.call(arrays.pair(X, Z, state.dtype), [out], shape, planes) as (call, (result,)):
        rows = _rows_at_once(state, call, selection, result.nbytes if out is None else 0)
        if rows is None:
            state.core.ntk(call, selection, by_layer, report)
        else:
            _by_bands(state, call, rows, (selection, by_layer, report))
    return result


def diag(state: NetworkState, X: ArrayLike, outputs: Outputs) -> Array:
    """Return the diagonal of the empirical NTK, as :meth:`ntkrs.Network.diag` describes it."""
    count = state.arch.outputs
    selection = numbers.selection(outputs, count)
    x = arrays.finite(arrays.copied(state.batch(X, "X")), "X")  # a copy: other threads may change X between blocks
    trailing = {"full": (count, count), "diagonal": (count,)}.get(str(selection), ())
    out = arrays.output(None, (len(x), *trailing), state.dtype, [], "the diagonal")
    size = max(1, _DIAGONAL // (count if selection == "full" else 1))
    for start in range(0, max(len(x), 1), size):
        block = ntk(state, x[start : start + size], outputs=selection, progress=False)  # type: ignore[arg-type]
        index = np.arange(len(block))
        out[start : start + size] = block[index, index]
    return out


def nngp(state: NetworkState, X: ArrayLike, Z: ArrayLike | None) -> Array:
    """Return the empirical Σ, as :meth:`ntkrs.Network.nngp` describes it.

    It is the NTK of a network with the same hidden layers, and one output whose layer alone is trained.
    """
    sigma_w, sigma_b = state.arch.dense[-1].scales
    width, dtype = len(state.weights[-1]), state.dtype
    scales = layer_scales(state.arch, state.in_features, state.parameterization)
    hidden = [(weight_scale, bias_scale, 0.0, 0.0) for weight_scale, bias_scale, _, _ in scales[:-1]]
    own = (sigma_w / width**0.5, sigma_b)
    weights = (*state.weights[:-1], np.zeros((width, 1), dtype))
    biases = (*state.biases[:-1], np.zeros(1, dtype) if sigma_b else None)
    core = _core.Network((weights, biases), [*hidden, (*own, *own)], state.specs)

    def planes(result: Array) -> list[Array]:
        return [result[:, None, :, None]]

    inputs = arrays.pair(X, Z, dtype)
    with arrays.call(inputs, [None], lambda n, m: (n, m), planes) as (call, (result,)):
        samples = sum(len(array) for array in call[:2] if array is not None)
        needed = samples * state.values_per_sample() * dtype.itemsize
        memory.require(needed, f"the activations of {samples} samples", "Pass fewer rows of X and Z.")
        core.ntk(call, 0, False, None)
    return result


def _planes(layer: Array, selection: str | int) -> list[Array]:
    """Return the views of one layer's result that the core writes, each of shape (N, S, M, S)."""
    if selection == "full":
        return [layer.transpose(0, 2, 1, 3)]
    if selection == "diagonal":
        return [layer[:, None, :, m][..., None] for m in range(layer.shape[2])]
    return [layer[:, None, :, None]]


def _rows_at_once(state: NetworkState, call: Call, selection: str | int, beside: int) -> int | None:
    """Return a band size such that the activations and deltas of two bands fit in memory.

    Return None if those of all samples fit at once. ``beside`` is the memory in bytes that the kernel still needs.

    Raises
    ------
    MemoryError
        If not even two bands of one tile fit beside the kernel.
    """
    hidden = sum(dense.width for dense in state.arch.dense[:-1])
    directions = 1 if selection == "sum" or isinstance(selection, int) else state.arch.outputs
    each = (state.in_features + state.arch.outputs + (2 + directions) * hidden) * state.dtype.itemsize
    inputs = [array for array in call[:2] if array is not None]
    samples = sum(map(len, inputs))
    available = memory.lacking(beside + samples * each)
    if available is None:
        return None
    beside += sum(array.nbytes for array in inputs)
    what = f"a kernel, with the activations and deltas of {2 * _TILE} of {samples} samples at a time,"
    memory.require(beside + 2 * _TILE * each, what)
    # A quarter of the memory is left for tiles and for other processes.
    return max(3 * (available - beside) // (8 * each) // _TILE, 1) * _TILE


def _by_bands(
    state: NetworkState,
    call: Call,
    rows: int,
    how: tuple[str | int, bool, Report | None],
) -> None:
    """Fill the planes of a kernel block by block. Of a symmetric kernel, compute one half and mirror it.

    ``how`` holds the selection of outputs, True for one plane per layer, and the progress callback.
    """
    x, z, planes = call
    # The inputs at entry: other threads may change them between the calls of the core.
    x = arrays.finite(arrays.copied(x), "X")
    z = None if z is None else arrays.finite(arrays.copied(z), "Z")
    selection, per_layer, report = how
    others = x if z is None else z
    bands = [slice(start, start + rows) for start in range(0, len(x), rows)]
    columns = [slice(start, start + rows) for start in range(0, len(others), rows)]
    pairs = [(i, j) for i in range(len(bands)) for j in range(i if z is None else 0, len(columns))]
    for done, (i, j) in enumerate(pairs):
        blocks = [plane[bands[i], :, columns[j]] for plane in planes]
        same = z is None and i == j
        part = None if report is None else _Part(report, done, len(pairs))
        state.core.ntk((x[bands[i]], None if same else others[columns[j]], blocks), selection, per_layer, part)
        if z is None and not same:
            for plane, block in zip(planes, blocks, strict=True):
                mirrored = plane[columns[j], :, bands[i]].transpose(2, 3, 0, 1)
                for start in range(0, len(block), _COPIED):
                    mirrored[start : start + _COPIED] = block[start : start + _COPIED]


class _Part:
    """A progress callback for one of several blocks. It reports the progress of all of them, in 1/1000 of a block."""

    def __init__(self, report: Report, before: int, count: int) -> None:
        self._report, self._before, self._count = report, before, count

    def __call__(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` tiles of this block are done."""
        self._report(1000 * self._before + 1000 * done // max(total, 1), 1000 * self._count)
