"""Optional packages, which only some functions need."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, package: str, extra: str = "demo") -> Any:
    """Import an optional module and return it.

    Parameters
    ----------
    module, package : str
        The module, and the name of the package that brings it.
    extra : str
        The extra of ntkrs that installs the package.

    Raises
    ------
    ImportError
        If the import fails. The message is one line that names the package, and says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {package} ({error}): pip install 'ntkrs[{extra}]'") from error
