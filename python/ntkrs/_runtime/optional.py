"""Packages that only some functions need."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, package: str) -> Any:
    """Import an optional module, or say in one line how to get it.

    Raises
    ------
    ImportError
        Naming the package, and the extra of this one that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {package} ({error}): pip install 'ntkrs[demo]'") from error
