"""Files that take their name once they are complete, and locks of files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A file to write, which is never reached through a link that somebody else put there.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)

#: The seconds between two looks at a file of another writer, and those after which no more are taken.
_PAUSE_S, _PATIENCE_S = 0.005, 60.0


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the name ``path`` at the end, such that a crash leaves the old file or the new one.

    Until then its name ends in ``.new``, and it is deleted after an error. Other writers of the same path, those of
    other processes too, wait for their turn. The permissions of an old file stay.

    Raises
    ------
    BlockingIOError
        If another writer does not come to an end within a minute.
    OSError
        If the file cannot be written. The message names it.
    """
    beside = path.with_name(f"{path.name}.new")
    with _claimed(beside) as file:
        try:
            _take_permissions(path, file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # an open file keeps its name there
            beside.replace(path)
        except BaseException as error:
            name_file(error, path)
            _give_up(file, beside)
            raise


def name_file(error: BaseException, path: Path) -> None:
    """Let an error of the system, such as a full disk, name the file, unless it names one already."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        error.filename = str(path)


def _claimed(path: Path) -> BinaryIO:
    """Return an empty file that no other writer has."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        # An object that the interpreter closes, at whatever place Ctrl-C comes.
        file = open(path, "wb", opener=lambda name, _: os.open(name, _FLAGS, 0o666))  # noqa: SIM115
        # The writer before has renamed or deleted the file by the time that its lock is free.
        if lock(file.fileno(), path, required=False) and _is_named(file.fileno(), path):
            os.ftruncate(file.fileno(), 0)
            return file
        file.close()
        if time.monotonic() > end:
            raise BlockingIOError(errno.EWOULDBLOCK, "another process is writing this file: wait for it", str(path))
        time.sleep(_PAUSE_S)


def lock(file: int, path: Path, *, required: bool) -> bool:
    """Lock a file until it is closed. Return False if another one has it locked.

    Where there are no locks, as on some network drives, nobody can tell. The file then counts as locked by this call,
    or is refused if a lock is ``required``.

    Raises
    ------
    OSError
        If a lock is required, and there are none. The message names ``path``.
    """
    try:
        _lock_at_once(file)
    except (BlockingIOError, PermissionError):
        return False
    except (ImportError, OSError) as error:
        if not required:
            return True
        raise OSError(
            errno.ENOLCK,
            "the file system has no locks, which keep two calls from writing one file: choose a path on another one",
            str(path),
        ) from error
    return True


def _lock_at_once(file: int) -> None:
    """Lock a file until it is closed, or raise BlockingIOError or, on Windows, PermissionError if another one has."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_named(file: int, path: Path) -> bool:
    """Return True if an open file has this name."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _take_permissions(path: Path, file: int) -> None:
    """Give an open file the permissions of the one at ``path``, if there is one."""
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):
            os.fchmod(file, stat.S_IMODE(path.stat().st_mode))


def _give_up(file: BinaryIO, path: Path) -> None:
    """Delete a file, unless the name is that of another one by now."""
    ours = file.closed or _is_named(file.fileno(), path)
    if ours and os.name != "nt":
        path.unlink(missing_ok=True)  # while it is locked
    with contextlib.suppress(OSError):  # of bytes that still wait to be written
        file.close()
    if ours and os.name == "nt":
        path.unlink(missing_ok=True)
