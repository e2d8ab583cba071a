"""Optional packages, which only some functions need."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, package: str) -> Any:
    """Import an optional module and return it.

    Raises
    ------
    ImportError
        If the import fails. The message is one line that names the package, and says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {package} ({error}): pip install 'ntkrs[demo]'") from error
