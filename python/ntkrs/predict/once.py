"""Values that are computed when first needed, and kept."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Once:
    """Values by key, each computed once, even if several threads ask for it at the same time.

    Examples
    --------
    >>> from ntkrs.predict.once import Once
    >>> values = Once()
    >>> values.get("answer", lambda: 42), values.get("answer", lambda: 43)
    (42, 42)
    """

    def __init__(self) -> None:
        self.values: dict[Hashable, Any] = {}
        self.lock = threading.RLock()

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return the value of this key, computed once. Other threads wait for it."""
        with self.lock:
            if key not in self.values:
                self.values[key] = compute()
            return self.values[key]

    def __getstate__(self) -> dict[str, Any]:
        """Return the values: locks cannot be pickled."""
        return {"values": self.values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the values, with a new lock."""
        self.values = state["values"]
        self.lock = threading.RLock()
