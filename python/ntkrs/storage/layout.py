"""The places of a symmetric matrix in an array: LAPACK's rectangular full packed format, or the matrix itself.

With h = N // 2, m = (N + 1) // 2 and e = 1 for even N, else 0, the packed array A has shape (m, N + e)::

    A[j, :j+e] = K[h+j, m:m+j+e]          A[j, j+e:] = K[j, j:]          j = 0, ..., m-1

This is ``scipy.linalg.lapack.dtrttf(K, uplo="L")``, read in C order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    #: Returns or writes the kernel between rows a and b of X, a and b being slices: ``block(a, b, out)``.
    Block = Callable[[slice, slice | None, NDArray[Any] | None], NDArray[Any]]

#: The largest number of parts with checksums of their own.
_PARTS = 1024


class Entries(Protocol):
    """The stored array."""

    def block(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a part of the array."""

    def points(self, rows: range, columns: range) -> NDArray[Any]:
        """Return single entries of the array."""


class Layout(Protocol):
    """The places of a symmetric matrix of order N in an array.

    Attributes
    ----------
    shape : (int, int)
        The shape of the array.
    packed : bool
        True for the packed format.
    """

    shape: tuple[int, int]
    packed: bool

    def fill(self, band: NDArray[Any], start: int, block: Block) -> None:
        """Compute the rows of the array from ``start`` on."""

    def work(self, start: int, stop: int) -> float:
        """Return the number of entries of the kernel that :meth:`fill` computes for these rows."""

    def rows(self, entries: Entries, start: int, stop: int) -> NDArray[Any]:
        """Return rows of the matrix, (stop - start, N)."""

    def diagonal(self, entries: Entries) -> NDArray[Any]:
        """Return the diagonal of the matrix, (N,)."""

    def halves(self, start: int, stop: int) -> list[slice]:
        """Return the rows of the array that hold rows start:stop of both halves of the matrix."""


def layout_of(order: int, *, packed: bool) -> Layout:
    """Return a layout."""
    return Packed(order) if packed else Square(order)


def part_rows(layout: Layout) -> int:
    """Return the number of rows of the array in a part with a checksum of its own. It depends on N alone."""
    return max(1, -(-layout.shape[0] // _PARTS))


class Square:
    """The matrix itself, of order N."""

    packed = False

    def __init__(self, order: int) -> None:
        self.order = order
        self.shape = (order, order)

    def fill(self, band: NDArray[Any], start: int, block: Block) -> None:
        """Compute the rows of the matrix from ``start`` on."""
        rows = slice(start, start + len(band))
        block(rows, None if len(band) == self.order else slice(0, self.order), band)

    def work(self, start: int, stop: int) -> float:
        """Return the number of entries that are computed for these rows: half of all, or whole rows."""
        count = (stop - start) * self.order
        return count / 2 if stop - start == self.order else float(count)

    def rows(self, entries: Entries, start: int, stop: int) -> NDArray[Any]:
        """Return rows of the matrix."""
        return entries.block(slice(start, stop), slice(0, self.order))

    def diagonal(self, entries: Entries) -> NDArray[Any]:
        """Return the diagonal."""
        return entries.points(range(self.order), range(self.order))

    def halves(self, start: int, stop: int) -> list[slice]:
        """Return the rows that hold rows start:stop of both halves."""
        half = self.order // 2
        return [slice(start, stop), slice(half + start, half + stop)]


class Packed:
    """The packed format of a matrix of order N."""

    packed = True

    def __init__(self, order: int) -> None:
        self.order = order
        self._half, self._even = order // 2, 1 - order % 2
        self.shape = ((order + 1) // 2, order + self._even)

    def fill(self, band: NDArray[Any], start: int, block: Block) -> None:
        """Compute the rows of the array from ``start`` on: two rectangles, and the triangles of two squares."""
        stop, half, even = start + len(band), self._half, self._even
        first, second = slice(start, stop), slice(half + start, half + stop)
        corner = slice(start + even, stop + even)
        # Below its diagonal, this square is overwritten by the other one.
        block(first, None, band[:, corner])
        block(first, slice(stop, self.order), band[:, stop + even :])
        square = block(second, None, None)
        for row in range(1, len(band)):
            band[row, start + even : start + even + row] = square[row, 1 : row + 1]
        if start + even:
            band[:, start + even - 1] = square[:, 0]
            block(second, slice(self.shape[0], half + start), band[:, : start + even - 1])

    def work(self, start: int, stop: int) -> float:
        """Return the number of entries that are computed for these rows."""
        return float((stop - start) * self.shape[1])

    def rows(self, entries: Entries, start: int, stop: int) -> NDArray[Any]:
        """Return rows of the matrix."""
        middle = self.shape[0]
        upper, lower = (start, min(stop, middle)), (max(start, middle), stop)
        return np.concatenate(
            [part(entries, *ends) for part, ends in ((self._upper, upper), (self._lower, lower)) if ends[0] < ends[1]]
            or [np.empty((0, self.order), entries.block(slice(0, 0), slice(0, 0)).dtype)]
        )

    def _upper(self, entries: Entries, start: int, stop: int) -> NDArray[Any]:
        """Return rows of the first half."""
        even = self._even
        right = entries.block(slice(start, stop), slice(start + even, self.order + even))
        left = entries.block(slice(0, start), slice(start + even, stop + even))
        corner = right[:, : stop - start]
        return np.hstack([left.T, _mirrored(corner, upper=True), right[:, stop - start :]])

    def _lower(self, entries: Entries, start: int, stop: int) -> NDArray[Any]:
        """Return rows of the second half."""
        middle, half, even = self.shape[0], self._half, self._even
        first = entries.block(slice(0, middle), slice(start + even, stop + even))
        left = entries.block(slice(start - half, stop - half), slice(0, stop - middle))
        right = entries.block(slice(stop - half, self.order - half), slice(start - middle, stop - middle))
        corner = left[:, start - middle :]
        return np.hstack([first.T, left[:, : start - middle], _mirrored(corner, upper=False), right.T])

    def diagonal(self, entries: Entries) -> NDArray[Any]:
        """Return the diagonal."""
        middle, half, even = self.shape[0], self._half, self._even
        first = entries.points(range(middle), range(even, middle + even))
        second = entries.points(range(middle - half, self.order - half), range(self.order - middle))
        return np.concatenate([first, second])

    def halves(self, start: int, stop: int) -> list[slice]:
        """Return the rows that hold rows start:stop of both halves."""
        return [slice(start, stop)]


def pieces(layout: Layout, order: int, rows: int) -> Iterator[tuple[int, list[slice]]]:
    """Yield the first row j of pieces of both halves, and the rows of the array that hold them."""
    middle = (order + 1) // 2
    for start in range(0, middle, rows):
        yield start, layout.halves(start, min(middle, start + rows))


def gathered(
    out: NDArray[Any], start: int, rows: list[NDArray[Any]], indices: NDArray[np.intp], *, packed: bool
) -> None:
    """Write the entries of a piece that lie in some columns of the matrix to ``out``, (N, len(indices))."""
    order, (upper, *lower) = len(out), rows
    stop, half, middle, even = start + len(upper), order // 2, (order + 1) // 2, 1 - order % 2
    if not packed:
        out[start:stop], out[half + start : half + stop] = upper[:, indices], lower[0][:, indices]
        return
    own = np.arange(start, stop)[:, None]
    np.copyto(out[start:stop], upper[:, indices + even], where=indices >= own)
    second = indices >= middle
    places = np.where(second, indices - middle, 0)
    np.copyto(out[half + start : half + stop], upper[:, places], where=second & (places < own + even))
    for place, index in enumerate(indices):
        if start <= index < min(stop, middle):
            out[index:, place] = upper[index - start, index + even :]
        if start <= index - half < stop and index >= middle:
            out[middle : index + 1, place] = upper[index - half - start, : index - middle + 1]


def _mirrored(square: NDArray[Any], *, upper: bool) -> NDArray[Any]:
    """Return a symmetric matrix, from its part on and above the diagonal, or on and below it."""
    other = np.tri(len(square), k=-1, dtype=bool)
    return np.where(other if upper else other.T, square.T, square)
