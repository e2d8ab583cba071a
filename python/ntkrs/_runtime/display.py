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
    """Return a table of the layers of an architecture, with their scales. An activation stands beside its layer."""
    rows: list[list[object]] = []
    for layer in arch.layers:
        if hasattr(layer, "spec"):
            rows[-1][4] = layer
        elif hasattr(layer, "sigma_w"):
            rows.append([len(rows), _units(layer), *_scales(layer), "", ", ".join(_exceptions(layer))])
        else:  # a pool, or the head of a network of images
            rows.append([len(rows), layer, "", "", "", ""])
    return table(title, ["layer", "units", "sigma_w", "sigma_b", "activation", ""], rows)


def _units(layer: Any) -> object:
    """Return the number of units of a dense layer, or the channels and the window of a convolution."""
    return layer.width if hasattr(layer, "width") else f"{layer.channels}, window {' × '.join(map(str, layer.window))}"


def _scales(layer: Any) -> list[str]:
    """Return the scales of the weights and of the biases."""
    return ["unknown", "unknown"] if layer.sigma_w is None else [number(layer.sigma_w), number(layer.sigma_b)]


def _exceptions(layer: Any) -> list[str]:
    """Return the ways in which a layer learns otherwise than most."""
    kept = [] if layer.trainable else ["not trained"]
    return kept if layer.tau_b is None else [*kept, f"tau_b={number(layer.tau_b)}"]
