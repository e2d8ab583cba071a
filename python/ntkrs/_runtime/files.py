"""Files that take their name once they are complete."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def replaced(path: Path, suffix: str = "partial") -> Iterator[BinaryIO]:
    """Yield a file that takes the name ``path`` at the end, such that a crash leaves the old file or the new one.

    It has this suffix until then, and is deleted after an error.
    """
    beside = path.with_name(f"{path.name}.{suffix}")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
