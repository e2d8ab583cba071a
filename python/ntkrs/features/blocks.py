"""Blocks of rows that are short enough for Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The largest number of rows in a block, and the operations on one, some 50 ms.
_ROWS, _OPERATIONS = 4096, 2.5e9


def operations(count: int, each: float) -> Iterator[slice]:
    """Yield slices of ``count`` rows, with ``each`` multiplications on a row. Ctrl-C takes effect between slices.

    Examples
    --------
    >>> from ntkrs.features.blocks import operations
    >>> list(operations(5000, 10))
    [slice(0, 4096, None), slice(4096, 8192, None)]
    """
    rows = int(max(1, min(_ROWS, _OPERATIONS // max(each, 1))))
    for start in range(0, count, rows):
        yield slice(start, start + rows)
