"""Files: complete reads and writes at an offset, reserved space, and names that survive a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from numpy.typing import NDArray

#: The number of bytes of zeros written at a time.
_ZEROS = 1 << 22

#: The number of bytes in one call of the system. Ctrl-C takes effect in between.
_CALL = 1 << 24

_BINARY = getattr(os, "O_BINARY", 0)

#: Flags of files to read, and of files to read and write.
READ, WRITE = os.O_RDONLY | _BINARY, os.O_RDWR | os.O_CREAT | _BINARY


#: Files that forked children close at once. Weak references: no signal can come while the interpreter closes a file.
_HELD: list[weakref.ref[FileIO]] = []


def held(path: Path, flags: int) -> FileIO:
    """Return an open file that forked children do not have: with its copies, they would hold its lock."""
    file = open(path, "r+b", buffering=0, opener=lambda name, _: os.open(name, flags, 0o666))  # noqa: SIM115
    _HELD[:] = [other for other in _HELD if other() is not None]
    _HELD.append(weakref.ref(file))
    return file


def number(file: FileIO | None) -> int:
    """Return the number that the system gave a file; -1 for none, and once it is closed."""
    return -1 if file is None or file.closed else file.fileno()


def _leave_to_parent() -> None:
    """Close the files of the parent in a forked child."""
    for held_file in _HELD:
        if (file := held_file()) is not None:
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Yield an open file."""
    file = os.open(path, flags, 0o666)
    try:
        yield file
    finally:
        os.close(file)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the bytes of a contiguous array."""
    return memoryview(array.reshape(-1).view(np.uint8).data)


def read(file: int, target: NDArray[Any], offset: int, path: Path) -> None:
    """Fill a contiguous array with the bytes from ``offset`` on.

    Raises
    ------
    OSError
        If the file ends before.
    """
    bytes_wanted = bytes_of(target)
    done = 0
    while done < len(bytes_wanted):
        part = bytes_wanted[done : done + _CALL]
        count = _read_at(file, part, offset + done)
        if count == 0:
            raise DamagedFileError(errno.EIO, "the file is shorter than its header says: it was truncated", str(path))
        done += count


def write(file: int, source: NDArray[Any], offset: int) -> None:
    """Write the bytes of a contiguous array from ``offset`` on."""
    values = bytes_of(source)
    done = 0
    while done < len(values):
        done += _write_at(file, values[done : done + _CALL], offset + done)


def reserve(file: int, size: int) -> None:
    """Extend a file to ``size`` bytes that later writes are sure to find on the disk.

    Raises
    ------
    OSError
        If the disk has no room for them, or the file may not be so large.
    """
    if hasattr(os, "posix_fallocate"):
        if size:
            os.posix_fallocate(file, 0, size)
        return
    zeros = np.zeros(_ZEROS, np.uint8)
    for start in range(0, size, _ZEROS):
        write(file, zeros[: size - start], start)


def synchronize(file: int, *, data_only: bool = False) -> None:
    """Return once the bytes of a file are on the disk; with ``data_only`` without the time of the write."""
    (os.fdatasync if data_only and hasattr(os, "fdatasync") else os.fsync)(file)


def synchronize_names(folder: Path) -> None:
    """Return once the names in a folder are on the disk, where the system offers that."""
    if os.name == "posix":  # Windows does not open folders
        with opened(folder, os.O_RDONLY) as file:
            os.fsync(file)


def _read_at(file: int, part: memoryview, offset: int) -> int:
    """Read once. Systems without pread seek first: each file has one reader."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [part], offset)
    os.lseek(file, offset, os.SEEK_SET)
    found = os.read(file, len(part))
    part[: len(found)] = found
    return len(found)


def _write_at(file: int, part: memoryview, offset: int) -> int:
    """Write once. Systems without pwrite seek first: each file has one writer."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, part, offset)
    os.lseek(file, offset, os.SEEK_SET)
    return os.write(file, part)
