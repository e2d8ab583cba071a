"""Files in the safetensors format, which hold arrays and no code."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ntkrs._runtime.files import replaced
from ntkrs.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ntkrs._typing import Array

#: The entry of the metadata that describes a network.
KEY = "ntkrs"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield an open file.

    Raises
    ------
    ImportError
        If the package safetensors is missing.
    OSError
        If the file does not exist or cannot be read.
    DamagedFileError
        If it is incomplete, or of another format.
    """
    package = _package()
    try:
        with package.safe_open(path, framework="numpy") as tensors:
            yield tensors
    except package.SafetensorError as error:
        raise DamagedFileError(f"path is {str(path)!r}, which is not a complete safetensors file: {error}") from error


def write(path: Path, arrays: dict[str, Array], description: str) -> None:
    """Write arrays and the description of a network. A crash leaves the old file or the new one.

    Raises
    ------
    ImportError
        If the package safetensors is missing.
    OSError
        If the file cannot be written.
    """
    _package()
    from safetensors.numpy import save

    content = save(arrays, {KEY: description})
    with replaced(path) as file:
        file.write(content)


def _package() -> Any:
    """Return the package safetensors, or raise ImportError."""
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            "safetensors files are read and written by the safetensors package: pip install 'ntkrs[convert]'"
        ) from None
    return safetensors
