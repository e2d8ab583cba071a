"""The order of layers that are known only by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: A name in three groups: the text before the last number, the number (such as ``2`` or ``1.0``), the text after it.
_NUMBERED = re.compile(r"(.*?)(\d+(?:\.\d+)*)(\D*)")


def in_order(names: Iterable[str], layers: Sequence[str] | None) -> list[str]:
    """Return ``layers`` if they are given, otherwise the names sorted by number.

    The order of a mapping is not used: it may be alphabetical, with 10 before 2.

    Raises
    ------
    TypeError, ValueError
        If ``layers`` is a string, repeats a name, or has one that is not in ``names``. Without ``layers``, if the names
        differ in more than their number.
    """
    found = list(names)
    if layers is None:
        return found if len(found) < 2 else _by_number(found)
    if isinstance(layers, str):
        raise TypeError(f"layers is {layers!r}, but a sequence of names is needed, such as [{layers!r}]")
    chosen = list(layers)
    for name in chosen:
        if name not in found:
            raise ValueError(f"layers names {name!r}, which is not there. These are: {', '.join(map(repr, found))}")
        if chosen.count(name) > 1:
            raise ValueError(f"layers names {name!r} twice, but the parameters of two layers are never the same")
    return chosen


def _by_number(names: Sequence[str]) -> list[str]:
    """Return the names sorted by the number in them. They may not differ in anything more."""
    matches = {name: _NUMBERED.fullmatch(name) for name in names}
    texts = {match and (match[1], match[3]) for match in matches.values()}
    if None in texts or len(texts) > 1:
        raise ValueError(
            f"the order of the layers cannot be told from their names {', '.join(map(repr, names))}. "
            "Pass them in order of application: layers=[...]"
        )
    numbers = {name: tuple(map(int, match[2].split("."))) for name, match in matches.items() if match}
    return sorted(names, key=numbers.__getitem__)
