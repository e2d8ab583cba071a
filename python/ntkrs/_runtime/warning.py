"""Warnings that name the user's line."""

from __future__ import annotations

import inspect
import warnings


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that names the line by which a caller entered the package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "ntkrs":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
