"""Progress in rows of a file, across the bands and the calls of the kernel that make it up."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import Report
    from ntkrs.storage.layout import Block, Layout

#: Bands that take less than this many seconds are reported once, at their end.
_PATIENCE_S = 0.1


class RowCounter:
    """Reports rows: those of finished bands, and those so far of a band that takes long. Counts never fall."""

    def __init__(self, report: Report | None, ready: Callable[[], bool] = lambda: True) -> None:
        self._report, self._ready = report, ready

    def finished(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` rows are finished."""
        if self._report is not None:
            self._report(done, total)

    def band(self, compute: Callable[..., Any], layout: Layout, start: int, stop: int) -> Block:
        """Return ``compute``, a function of two slices of X and an array, such that it reports on this band."""
        entries, begin = 0.0, monotonic()
        whole, last = max(1.0, layout.work(start, stop)), stop - start - 1

        def block(rows: slice, columns: slice | None, out: NDArray[Any] | None) -> NDArray[Any]:
            nonlocal entries
            height = rows.stop - rows.start
            share = height * height / 2 if columns is None else float(height * (columns.stop - columns.start))

            def heard(done: int, parts: int) -> None:
                if monotonic() - begin > _PATIENCE_S and self._ready():
                    fraction = (entries + share * done / max(1, parts)) / whole
                    self.finished(start + min(last, int((stop - start) * fraction)), layout.shape[0])

            result: NDArray[Any] = compute(rows, columns, out, False if self._report is None else heard)
            entries += share
            return result

        return block
