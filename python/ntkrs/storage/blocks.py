"""Blocks of a kernel matrix whose columns are prepared once, and not again in each band of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._checks.protocols import PreparingKernel
    from ntkrs._typing import Array

#: The number of inputs that are prepared together: whole tiles of the core, which have 96 rows.
_ROWS = 20 * 96


class PreparedBlocks:
    """The kernel between inputs X, block by block. Groups of inputs are prepared when they are first needed."""

    def __init__(self, kernel: PreparingKernel, x: Array) -> None:
        self._kernel: Any = kernel  # with the options of ntkrs.Kernel
        self._x = x
        self._groups: dict[int, Any] = {}

    def fill(
        self, rows: slice, columns: slice, out: NDArray[Any], progress: Any = False, **choice: Any
    ) -> NDArray[Any]:
        """Write the kernel between some rows of X and others to ``out``, and return it."""
        parts = list(self._parts(columns))
        ours = self._x[rows]
        if len(parts) > 1:
            ours = self._kernel.prepare(ours, progress=False)
        width = columns.stop - columns.start
        for part in parts:
            begin, end = part.start - columns.start, part.stop - columns.start

            def heard(done: int, total: int, begin: int = begin, end: int = end) -> None:
                progress(begin * total + (end - begin) * done, width * total)

            report = heard if callable(progress) else progress
            self._kernel(ours, self._inputs(part), **choice, out=out[:, begin:end], progress=report)
        return out

    def _inputs(self, part: slice) -> Any:
        """Return some inputs: prepared, if they are a whole group."""
        if part.stop - part.start < min(_ROWS, len(self._x) - part.start):
            return self._x[part]
        if part.start not in self._groups:
            self._groups[part.start] = self._kernel.prepare(self._x[part], progress=False)
        return self._groups[part.start]

    @staticmethod
    def _parts(columns: slice) -> Iterator[slice]:
        """Yield the columns, cut where groups end. There is an empty part if there are none."""
        start = columns.start
        while True:
            stop = min(columns.stop, start - start % _ROWS + _ROWS)
            yield slice(start, stop)
            start = stop
            if start >= columns.stop:
                return
