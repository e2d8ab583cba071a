"""Tables that notebooks show for the objects of this package."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: One row of a table: anything with a text.
Row: TypeAlias = "Sequence[object]"

#: The largest number of rows that a table shows.
_ROWS = 12


def number(value: Any) -> str:
    """Return a number with four digits, and "" for None."""
    return "" if value is None else f"{value:.4g}"


def shape(array: Any) -> str:
    """Return the shape of an array, or "none" for None."""
    return "none" if array is None else " × ".join(map(str, array.shape)) or "one number"


def table(title: str, header: Row, rows: Iterable[Row]) -> str:
    """Return an HTML table. Of many rows it shows the first and the last ones.

    Parameters
    ----------
    title : str
        The text above the table.
    header : sequence
        The titles of the columns.
    rows : iterable of sequences
        The rows. Numbers and texts are escaped.
    """
    found = list(rows)
    if len(found) > _ROWS:
        half = _ROWS // 2
        found = [*found[:half], ["⋮"] * len(header), *found[-half:]]
    lines = ["<table><caption>", escape(title), "</caption><thead>", _row("th", header), "</thead><tbody>"]
    return "".join([*lines, *(_row("td", row) for row in found), "</tbody></table>"])


def _row(tag: str, cells: Row) -> str:
    """Return one row of a table."""
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def layers(title: str, arch: Any) -> str:
    """Return a table of the layers of an architecture, with their scales."""
    rows = []
    for index, dense in enumerate(arch.dense):
        kept = [] if dense.trainable else ["not trained"]
        kept += [] if dense.tau_b is None else [f"tau_b={number(dense.tau_b)}"]
        unknown = dense.sigma_w is None
        scales = ["unknown", "unknown"] if unknown else [number(dense.sigma_w), number(dense.sigma_b)]
        activation = arch.activations[index] if index < len(arch.activations) else ""
        rows.append([index, dense.width, *scales, activation, ", ".join(kept)])
    return table(title, ["layer", "units", "sigma_w", "sigma_b", "activation", ""], rows)
