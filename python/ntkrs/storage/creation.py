"""The function :func:`gram`: a kernel matrix is computed band by band, into memory or into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrs._checks import arrays, memory, numbers, paths
from ntkrs._runtime.progress import reporter
from ntkrs.storage.identity import KernelMatrix
from ntkrs.storage.layout import layout_of, part_rows
from ntkrs.storage.matrix import Gram, InMemory
from ntkrs.storage.rows import RowCounter
from ntkrs.storage.writing import write

if TYPE_CHECKING:
    import os

    from ntkrs._typing import ArrayLike, KernelName, Progress

#: Advice for a matrix that does not fit in memory.
_REMEDY = "Pass path= to write it to a file, float32 inputs, or use kernel.operator(X), which forms no matrix."


def gram(
    kernel: Any,
    X: ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    get: KernelName = "ntk",
    outputs: str | int | None = None,
    packed: bool = True,
    overwrite: bool = False,
    band_bytes: int = 2**28,
    progress: Progress = None,
) -> Gram:
    """Compute the kernel matrix of X in half of the memory, or in a file that survives a crash.

    ``K_ij = kernel(x_i, x_j)``, to the last bit that of ``kernel(X)``. The same call continues a file that was
    interrupted, and opens one that is finished.

    Parameters
    ----------
    kernel : Kernel or Network
        ``arch.kernel()``, or a network, whose empirical NTK is taken.
    X : (N, n_0) array_like, or (N, H, W, C) for a network with Conv
        Inputs. float32 inputs give float32 results; everything else is computed in float64. A network
        computes in its own dtype.
    path : path, optional
        The file to write, a .npy file. By default the matrix stays in memory.
    get : "ntk" or "nngp"
        The kernel at infinite width.
    outputs : "mean", "trace", "sum" or int, optional
        For networks: the form of the empirical NTK, by default "mean".
    packed : bool
        If True, store N (N + 1) / 2 entries in LAPACK's rectangular full packed format. If False, store the (N, N)
        matrix itself; a file of it takes twice the work, because both halves are computed.
    overwrite : bool
        If True, replace a finished file, or an unfinished one of another matrix. The old file stays until the new
        one is finished.
    band_bytes : int
        About the memory that the computation needs for rows that are not in the file yet. Results do not depend on it.
    progress : callable or bool, optional
        A callable is called as ``progress(done, total)`` with numbers of rows of the file, after each band that is on
        the disk, and in between for bands that take long. An exception that it raises ends the call; finished bands
        stay. True shows a tqdm bar, False does not. By default a terminal or notebook shows one if the call takes over
        2 s.

    Returns
    -------
    Gram
        The matrix, a SciPy linear operator with ``rows``, ``columns`` and ``diagonal``.

    Raises
    ------
    ValueError, TypeError
        If X is refused by the kernel, or an argument by this function. Also if the path holds another matrix, or a file
        that this function did not write, and ``overwrite`` is False; or if an :class:`ntkrs.Activation` has no label.
    MemoryError
        If a matrix in memory does not fit. Nothing is computed then.
    BlockingIOError
        If another call is writing this file.
    OSError
        If the path is a folder, or in one that does not exist, or if the disk has no room for the file: all before any
        work. If the file system has no locks, or the file cannot be written.

    Notes
    -----
    N²/2 entries of the kernel are computed, with up to three times the memory of X beside the bands. While rows are
    computed, those before them are written to ``path.partial``. Once these are on the disk, their checksums are written
    to ``path.journal``. At the end ``path`` and ``path.json`` are left.
    ``numpy.load(path)`` reads the array of shape ((N + 1) // 2, N + 1 - N % 2), or (N, N).

    References
    ----------
    Gustavson, Waśniewski, Dongarra, Langou (2010), for the format.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> kernel, X = ntkrs.mlp(depth=3, width=1, outputs=1).kernel(), np.eye(5)
    >>> G = ntkrs.gram(kernel, X)
    >>> np.array_equal(np.asarray(G), kernel(X)), G.nbytes
    (True, 120)
    """
    form, replaced = numbers.boolean(packed, "packed"), numbers.boolean(overwrite, "overwrite")
    size, report = numbers.count(band_bytes, "band_bytes"), reporter(progress)
    place = None if path is None else paths.new_file(path, "path")
    matrix = KernelMatrix(kernel, X, get, outputs)
    if place is None:
        return _in_memory(matrix, size, RowCounter(report), packed=form)
    return write(matrix, place, (form, replaced, size), report)


def _in_memory(matrix: KernelMatrix, band_bytes: int, counter: RowCounter, *, packed: bool) -> Gram:
    """Return the matrix, computed into memory."""
    layout, dtype = layout_of(matrix.order, packed=packed), matrix.dtype
    total, width = layout.shape
    memory.require(total * width * dtype.itemsize, f"a kernel matrix of order {matrix.order}", _REMEDY)
    values = arrays.empty(layout.shape, dtype)
    rows = max(part_rows(layout), band_bytes // max(1, width * dtype.itemsize)) if packed else max(1, total)
    for start in range(0, total, rows):
        band = values[start : start + rows]
        layout.fill(band, start, counter.band(matrix.block, layout, start, start + len(band)))
        counter.finished(start + len(band), total)
    return Gram(InMemory(values), layout, matrix.order, dtype)
