"""Stored kernel matrices: products, rows, columns and the diagonal, from memory or from a file."""

from __future__ import annotations

import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ntkrs import _core
from ntkrs._checks import arrays, memory, numbers, paths
from ntkrs._checks.indices import checked_indices
from ntkrs.errors import DamagedFileError
from ntkrs.storage import files
from ntkrs.storage.journal import Part
from ntkrs.storage.layout import gathered, layout_of, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike
    from ntkrs.storage.layout import Layout

    #: The first row j of a piece, and its rows of the packed array, or rows j and h + j of the matrix.
    Piece = tuple[int, list[NDArray[Any]]]

#: Pieces begin at multiples of this number of rows.
_TILE = 96

#: The number of bytes of a piece of a file.
_PIECE = 1 << 24

#: The number of rows that are converted to an array at a time.
_ROWS = 1024


class InMemory:
    """A stored array in memory."""

    path = None

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def block(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a part of the array."""
        part: NDArray[Any] = self.values[rows, columns]
        return part

    def points(self, rows: range, columns: range) -> NDArray[Any]:
        """Return single entries."""
        entries: NDArray[Any] = self.values[np.array(rows, int), np.array(columns, int)]
        return entries

    def pieces(self, layout: Layout, order: int) -> Iterator[Piece]:
        """Yield the array as one piece."""
        for start, parts in pieces(layout, order, max(1, order)):
            yield start, [self.values[rows] for rows in parts]


class OnDisk:
    """A stored array in a .npy file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the file is shorter than its header says.
    ValueError
        If its header is another one.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self._file = os.open(path, files.READ)
        head = header(shape, dtype)
        self.offset = len(head)
        found = np.empty(self.offset, np.uint8)
        files.read(self._file, found, 0, path)
        if found.tobytes() != head:
            raise DamagedFileError(
                f"{path} does not hold an array of shape {shape} and dtype {dtype}, as {path}.json says"
            )
        self._check_size()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def _check_size(self) -> None:
        size = self.offset + self.shape[0] * self.shape[1] * self.dtype.itemsize
        if os.fstat(self._file).st_size < size:
            found = os.fstat(self._file).st_size
            raise DamagedFileError(f"{self.path} was truncated: it has {found} bytes instead of {size}")

    def block(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a part of the array: whole rows at once, parts of rows one by one."""
        self._check_size()
        start, stop = rows.start, max(rows.start, rows.stop)
        first, count = columns.start, max(0, columns.stop - columns.start)
        result = np.empty((stop - start, count), self.dtype)
        if count == self.shape[1]:
            files.read(self._file, result, self._place(start, 0), self.path)
            return result
        for row in range(start, stop):
            files.read(self._file, result[row - start], self._place(row, first), self.path)
        return result

    def points(self, rows: range, columns: range) -> NDArray[Any]:
        """Read single entries."""
        self._check_size()
        result = np.empty(len(rows), self.dtype)
        for index, (row, column) in enumerate(zip(rows, columns, strict=True)):
            files.read(self._file, result[index : index + 1], self._place(row, column), self.path)
        return result

    def pieces(self, layout: Layout, order: int) -> Iterator[Piece]:
        """Yield pieces. The next one is read while one is in use."""
        rows = max(1, _PIECE // max(1, _TILE * self.shape[1] * self.dtype.itemsize)) * _TILE
        whole = slice(0, self.shape[1])

        def read(parts: list[slice]) -> list[NDArray[Any]]:
            return [self.block(part, whole) for part in parts]

        with ThreadPoolExecutor(1) as ahead:
            waiting: list[tuple[int, Future[list[NDArray[Any]]]]] = []
            for start, parts in pieces(layout, order, rows):
                waiting.append((start, ahead.submit(read, parts)))
                if len(waiting) == 2:
                    before, future = waiting.pop(0)
                    yield before, future.result()
            for before, future in waiting:
                yield before, future.result()

    def _place(self, row: int, column: int) -> int:
        return self.offset + (row * self.shape[1] + column) * self.dtype.itemsize


class Gram(LinearOperator):  # type: ignore[misc]  # SciPy has no types
    """A symmetric kernel matrix that is stored: a SciPy linear operator whose entries can be read.

    :func:`ntkrs.gram` and :func:`ntkrs.open_gram` make it. ``G @ V`` has the dtype of the matrix, and sums are taken in
    float64. Its bits do not depend on threads, nor on where the matrix is stored. ``numpy.asarray(G)`` is the matrix.

    Attributes
    ----------
    shape : (int, int)
        (N, N).
    dtype : dtype
        float32 or float64.
    packed : bool
        True for LAPACK's rectangular full packed format: half of the memory.
    nbytes : int
        The size of the stored array: s N (N + 1) / 2 bytes if packed, where s = ``dtype.itemsize``.
    path : pathlib.Path or None
        The file, or None for a matrix in memory.

    Notes
    -----
    A product costs 2 N² r flops for r vectors, and one pass over the stored bytes. A file is read in pieces of some
    16 MB, one ahead; nothing is mapped, so a file that is truncated during a product raises an OSError.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import gram, mlp
    >>> kernel, X = mlp(depth=1, width=1, outputs=1).kernel(), np.eye(4)
    >>> G = gram(kernel, X)
    >>> np.array_equal(np.asarray(G), kernel(X)), np.array_equal(G.columns([2]), kernel(X)[:, [2]])
    (True, True)
    """

    def __init__(self, entries: InMemory | OnDisk, layout: Layout, order: int, dtype: np.dtype[Any]) -> None:
        super().__init__(dtype, (order, order))
        self._entries, self._layout = entries, layout
        self.packed = layout.packed
        self.nbytes = layout.shape[0] * layout.shape[1] * dtype.itemsize
        self.path = entries.path

    def __repr__(self) -> str:
        place = "in memory" if self.path is None else f"in {str(self.path)!r}"
        return f"<Gram of shape {self.shape}, {self.dtype}, {'packed' if self.packed else 'square'}, {place}>"

    def __reduce__(self) -> tuple[Callable[..., Gram], tuple[Any, ...]]:
        """Pickle a matrix in a file by its path."""
        if isinstance(self._entries, OnDisk):
            return open_gram, (self._entries.path,)
        return Gram, (self._entries, self._layout, self.shape[0], self.dtype)

    def product(self, V: ArrayLike) -> NDArray[np.float64]:
        """Return ``K V`` in float64, without rounding it to the dtype of the matrix.

        Parameters
        ----------
        V : (N,) or (N, r) array_like
            Vectors.

        Returns
        -------
        float64 ndarray of the shape of V

        Raises
        ------
        ValueError
            If V is not finite or has another number of rows, or the product is not finite.
        MemoryError
            If the vectors and their product do not fit in memory. Nothing is computed then.
        """
        vectors = arrays.finite_float64(V, "V")
        order = self.shape[0]
        if vectors.ndim not in (1, 2) or len(vectors) != order:
            raise ValueError(f"V has shape {vectors.shape}, but ({order},) or ({order}, r) is needed")
        pieces = 0 if self.path is None else min(self.nbytes, 3 * _PIECE)
        what = f"a product with an array of shape {vectors.shape}"  # the core has the vectors in an order of its own
        memory.require(3 * vectors.nbytes + pieces, what, "Multiply fewer vectors at a time.")
        product = _core.StoredProduct(order, vectors.reshape(order, *vectors.shape[1:] or (1,)))
        for start, rows in self._entries.pieces(self._layout, order):
            product.add(start, (rows[0], rows[1] if len(rows) > 1 else None), None)
        return product.total().reshape(vectors.shape)

    def rows(self, start: int, stop: int) -> Array:
        """Return rows ``start`` to ``stop`` of the matrix, (stop - start, N), to the last bit.

        From a file it reads about ``stop - start`` numbers from each of N rows, each with a call of the system.
        """
        first, last = numbers.integer(start, "start"), numbers.integer(stop, "stop")
        if not 0 <= first <= last <= self.shape[0]:
            raise ValueError(f"rows {first} to {last} are not among 0 to {self.shape[0]}")
        memory.require((last - first) * self.shape[0] * self.dtype.itemsize, "these rows", "Ask for fewer rows.")
        return self._filled(np.empty((last - first, self.shape[0]), self.dtype), first)

    def columns(self, indices: ArrayLike) -> Array:
        """Return columns of the matrix, (N, len(indices)), to the last bit. From a file: one pass over it."""
        wanted = checked_indices(indices, self.shape[0])
        memory.require(len(wanted) * self.shape[0] * self.dtype.itemsize, "these columns", "Ask for fewer columns.")
        result = np.empty((self.shape[0], len(wanted)), self.dtype)
        for start, rows in self._entries.pieces(self._layout, self.shape[0]):
            gathered(result, start, rows, wanted, packed=self.packed)
        return result

    def diagonal(self) -> Array:
        """Return the diagonal, (N,)."""
        result: Array = self._layout.diagonal(self._entries)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the matrix, (N, N)."""
        if copy is False:
            raise ValueError("a stored kernel matrix cannot become an array without a copy")
        order = self.shape[0]
        result = arrays.output(None, (order, order), np.dtype(dtype or self.dtype), [], "the matrix")
        return self._filled(result, 0)

    def _filled(self, rows: NDArray[Any], first: int) -> NDArray[Any]:
        """Fill an array with the rows of the matrix from ``first`` on, some at a time: their parts take memory too."""
        for start in range(0, len(rows), _ROWS):
            stop = min(len(rows), start + _ROWS)
            rows[start:stop] = self._layout.rows(self._entries, first + start, first + stop)
        return rows

    def _matmat(self, V: ArrayLike) -> Array:
        with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite, as in the kernel
            result: Array = self.product(V).astype(self.dtype, copy=False)
        return result

    _matvec = _rmatvec = _rmatmat = _matmat

    def _adjoint(self) -> Gram:
        return self

    _transpose = _adjoint


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file that lies beside another one."""
    return path.with_name(f"{path.name}.{ending}")


def header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a .npy file."""
    import io

    stream = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def open_gram(path: str | os.PathLike[str], *, verify: bool = False) -> Gram:
    """Open a finished kernel matrix that :func:`ntkrs.gram` wrote.

    Parameters
    ----------
    path : path
        The file. ``path.json`` lies beside it.
    verify : bool
        If True, compare every part of the file with its checksum, in one pass.

    Returns
    -------
    Gram

    Raises
    ------
    FileNotFoundError
        If the file, or the one beside it, is missing; also if the matrix is not finished.
    ntkrs.DamagedFileError
        If the file is truncated, its header or a checksum does not match, or ``path.json`` cannot be read.
    OSError
        If the path is a folder.

    Examples
    --------
    >>> import tempfile, numpy as np, ntkrs
    >>> kernel, X = ntkrs.mlp(depth=1, width=1, outputs=1).kernel(), np.eye(4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = ntkrs.gram(kernel, X, f"{folder}/K.npy")
    ...     ntkrs.open_gram(f"{folder}/K.npy", verify=True).shape
    (4, 4)
    """
    place = paths.file_path(path, "path").absolute()  # pickles are read in other folders
    if not place.exists() and beside(place, "journal").exists():
        raise FileNotFoundError(f"{place} is not finished: call ntkrs.gram with the same arguments to go on with it")
    identity, parts = description(place)
    gram = opened(place, identity)
    if numbers.boolean(verify, "verify"):
        check(place, identity, parts)
    return gram


def check(path: Path, identity: dict[str, Any], parts: list[Part]) -> None:
    """Compare a finished file with its checksums.

    Raises
    ------
    ValueError
        If a part does not match.
    """
    shape = layout_of(identity["order"], packed=identity["packed"]).shape
    entries, done = OnDisk(path, shape, np.dtype(identity["dtype"])), 0
    for part in parts:
        rows = entries.block(slice(part.start, part.stop), slice(0, shape[1]))
        if part.start != done or checksum(rows) != part.checksum:
            raise DamagedFileError(
                f"{path} is damaged: rows {part.start} to {part.stop} of the file do not match their checksum. "
                "Compute it again with overwrite=True."
            )
        done = part.stop
    if done != shape[0]:
        raise DamagedFileError(f"{path}.json is damaged: its checksums end at row {done} of {shape[0]}")


def opened(path: Path, identity: dict[str, Any]) -> Gram:
    """Return the matrix in a finished file of this identity."""
    layout, dtype = layout_of(identity["order"], packed=identity["packed"]), np.dtype(identity["dtype"])
    return Gram(OnDisk(path, layout.shape, dtype), layout, identity["order"], dtype)


def description(path: Path) -> tuple[dict[str, Any], list[Part]]:
    """Return the identity and the parts of a finished file, from the file beside it.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If it is not a description of a kernel matrix.
    """
    described = beside(path, "json")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not described.exists():
        raise FileNotFoundError(f"there is no file {described}, which ntkrs.gram writes beside {path}")
    try:
        found = json.loads(described.read_text(encoding="utf-8"))
        identity, parts = found["identity"], [_part(*part) for part in found["parts"]]
        numbers.integer(identity["order"], "order"), bool(identity["packed"]), np.dtype(identity["dtype"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFileError(f"{described} does not describe a kernel matrix: {error!r}") from error
    return identity, parts


def _part(start: Any, stop: Any, found: Any) -> Part:
    """Return a part of three integers."""
    return Part(*(numbers.integer(value, name) for value, name in zip((start, stop, found), Part._fields, strict=True)))


def checksum(rows: NDArray[Any]) -> int:
    """Return the CRC-32 of the bytes of contiguous rows."""
    return zlib.crc32(files.bytes_of(rows))
