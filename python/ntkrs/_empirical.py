"""The empirical NTK: the method :meth:`ntkrs.Network.ntk`, at once or by bands of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrs._checks import arrays, memory, numbers
from ntkrs._runtime.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Outputs, Progress, Report
    from ntkrs.network import Network

#: Bands are whole tiles of so many samples.
_TILE = 96

#: How many rows of a block are mirrored at once: an interrupt is heard between two copies.
_COPIED = 256


def ntk(
    self: Network,
    X: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    outputs: Outputs = "full",
    per_layer: bool = False,
    out: NDArray[Any] | None = None,
    progress: Progress = None,
) -> Array:
    """Return the empirical NTK Θ(x, x') = ⟨∂f(x)/∂θ, ∂f(x')/∂θ⟩, without a Jacobian.

    ::

        Θ_mn(x, x') = Σ_l (sigma_w²/n_l ⟨x^l, x'^l⟩ + sigma_b²) ⟨δ^{l+1}_m, δ'^{l+1}_n⟩

    summed over the layers that are trained; with ``tau_b²`` for ``sigma_b²``, where it is given.

    Parameters
    ----------
    X : (N, n_0) array_like
        Inputs.
    Z : (M, n_0) array_like, optional
        Other inputs; by default X, at half the cost.
    outputs : str or int
        ``"full"``: (N, M, O, O); ``"trace"``: Σ_m Θ_mm, (N, M); ``"mean"``: the trace over O, (N, M);
        ``"diagonal"``: Θ_mm, (N, M, O); ``"sum"``: Σ_mn Θ_mn/O, the pseudo-NTK, (N, M); an integer m: Θ_mm, (N, M).
    per_layer : bool
        Whether to return the summands of the formula instead, with a leading axis of length L.
    out : ndarray, optional
        Where to write the result, of its shape and dtype, with any strides.
    progress : callable or bool, optional
        A callable is called as ``progress(done, total)`` about every 50 ms; what it raises ends the call. True
        shows a bar of tqdm, False none; by default a terminal sees one when the call takes longer than 2 s.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As :meth:`jacobian`, and for ``outputs`` or ``out`` that do not fit.

    Notes
    -----
    Two Gram matrices per layer: Σ_l N·M (n_l + S² n_{l+1}) multiply-adds with S² = O² for ``"full"``, O for
    ``"trace"``, ``"mean"`` and ``"diagonal"``, else 1; half of them without Z. At the last hidden layer S² = 1 for
    ``"trace"`` and ``"mean"``, too.

    Activations and deltas of all samples are held: (2 + S) Σ_l n_l numbers each, S = 1 for ``"sum"`` and an integer,
    else O. Where they do not fit into memory beside the result they are computed again for each pair of bands of
    samples, with the same bits.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Novak, Sohl-Dickstein, Schoenholz (2022).
    """
    selection, report = self._selection(outputs), reporter(progress)
    per_layer = numbers.boolean(per_layer, "per_layer")
    x = self._batch(X, "X")
    z = None if Z is None else self._batch(Z, "Z")
    pairs = (len(x), len(x if z is None else z))
    count = self.arch.outputs
    shape = pairs + {"full": (count, count), "diagonal": (count,)}.get(str(selection), ())
    shape = (len(self.weights), *shape) if per_layer else shape
    inputs = [array for array in (x, z) if array is not None]
    result = arrays.output(out, shape, self.dtype, inputs, "the kernel")
    layers = result if per_layer else result[None]
    planes = [plane for layer in layers for plane in _planes(layer, selection) if plane.size]
    rows = _rows_at_once(self, inputs, selection, result.nbytes if out is None else 0)
    if rows is not None:  # the inputs at entry; the core takes each band's in its turn
        x, z = arrays.finite(x.copy(), "X"), None if z is None else arrays.finite(z.copy(), "Z")
    with arrays.apart(x, z, planes) as separate:
        if rows is None:
            self._core.ntk(separate, selection, per_layer, report)
        else:
            _by_bands(self, separate, rows, (selection, per_layer, report))
    return result


def _planes(layer: Array, selection: str | int) -> list[Array]:
    """Views of one layer's result, each of shape (N, S, M, S), as the core writes it."""
    if selection == "full":
        return [layer.transpose(0, 2, 1, 3)]
    if selection == "diagonal":
        return [layer[:, None, :, m][..., None] for m in range(layer.shape[2])]
    return [layer[:, None, :, None]]


def _rows_at_once(net: Network, inputs: list[Array], selection: str | int, beside: int) -> int | None:
    """How many samples a band has, of two of which activations and deltas fit; None if those of all samples do.

    Raises
    ------
    MemoryError
        If not even those of two bands of one tile fit beside the result.
    """
    hidden = sum(dense.width for dense in net.arch.dense[:-1])
    directions = 1 if selection == "sum" or isinstance(selection, int) else net.arch.outputs
    each = (net.in_features + net.arch.outputs + (2 + directions) * hidden) * net.dtype.itemsize
    samples = sum(map(len, inputs))
    available = memory.lacking(beside + samples * each)
    if available is None:
        return None
    beside += sum(array.nbytes for array in inputs)
    what = f"a kernel, with the activations and deltas of {2 * _TILE} of {samples} samples at a time,"
    memory.require(beside + 2 * _TILE * each, what)
    # A quarter is left for what tiles need, and for others.
    return max(3 * (available - beside) // (8 * each) // _TILE, 1) * _TILE


def _by_bands(
    net: Network,
    call: tuple[Array, Array | None, Sequence[NDArray[Any]]],
    rows: int,
    how: tuple[str | int, bool, Report | None],
) -> None:
    """Fill the planes of a kernel block by block; of a symmetric one half, and mirror it."""
    x, z, planes = call
    selection, per_layer, report = how
    others = x if z is None else z
    bands = [slice(start, start + rows) for start in range(0, len(x), rows)]
    columns = [slice(start, start + rows) for start in range(0, len(others), rows)]
    pairs = [(i, j) for i in range(len(bands)) for j in range(i if z is None else 0, len(columns))]
    for done, (i, j) in enumerate(pairs):
        blocks = [plane[bands[i], :, columns[j]] for plane in planes]
        same = z is None and i == j
        part = None if report is None else _Part(report, done, len(pairs))
        net._core.ntk((x[bands[i]], None if same else others[columns[j]], blocks), selection, per_layer, part)  # noqa: SLF001 a method of it
        if z is None and not same:
            for plane, block in zip(planes, blocks, strict=True):
                mirrored = plane[columns[j], :, bands[i]].transpose(2, 3, 0, 1)
                for start in range(0, len(block), _COPIED):
                    mirrored[start : start + _COPIED] = block[start : start + _COPIED]


class _Part:
    """The progress of one block of several, in thousandths of a block."""

    def __init__(self, report: Report, before: int, count: int) -> None:
        self._report, self._before, self._count = report, before, count

    def __call__(self, done: int, total: int) -> None:
        self._report(1000 * self._before + 1000 * done // max(total, 1), 1000 * self._count)
