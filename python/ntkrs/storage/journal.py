"""The journal of an unfinished kernel matrix: its identity, and the checksum of every part that is on the disk."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs._runtime.files import lock
from ntkrs.storage import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import FileIO
    from pathlib import Path


class Part(NamedTuple):
    """Some rows of the array, with the CRC-32 of their bytes."""

    start: int
    stop: int
    checksum: int

    @property
    def line(self) -> str:
        """The line of the journal."""
        return f"{self.start} {self.stop} {self.checksum}\n"


class Journal:
    """The journal of one matrix, locked while it is open.

    Attributes
    ----------
    identity : dict or None
        The identity of the matrix; None if the journal is new.
    parts : list of Part
        The finished parts, in ascending order without gaps.

    Raises
    ------
    BlockingIOError
        If another call holds the journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _locked(path)
        self.identity, self.parts = _parsed(self._text())
        self._size = 0 if self.identity is None else len(_head(self.identity)) + _length(self.parts)

    @property
    def file(self) -> int:
        """The number of the open file; -1 once it is closed, and in a forked child."""
        return files.number(self._file)

    def require_open(self) -> None:
        """Refuse to go on in a child of the process that opened the journal.

        Raises
        ------
        RuntimeError
            If this process is a child.
        """
        if self.file < 0:
            raise RuntimeError(
                f"this process was forked while its parent was writing {self.path}, and cannot go on with it. End the "
                "child inside the progress callback, by os._exit."
            )

    def _text(self) -> str:
        """Return the whole text."""
        data = np.empty(os.fstat(self.file).st_size, np.uint8)
        files.read(self.file, data, 0, self.path)
        return data.tobytes().decode("utf-8", errors="replace")

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Start with an empty journal."""
        self.identity, self.parts, self._size = dict(identity), [], 0
        os.ftruncate(self.file, 0)
        self._append(_head(identity))

    def keep(self, count: int) -> None:
        """Forget all but the first parts, and anything after them."""
        self.parts = self.parts[:count]
        self._size = len(_head(self.identity or {})) + _length(self.parts)
        os.ftruncate(self.file, self._size)
        files.synchronize(self.file)

    def add(self, parts: list[Part]) -> None:
        """Add parts, whose rows are on the disk. Return once their lines are."""
        self._append("".join(part.line for part in parts).encode())
        self.parts += parts

    def close(self) -> None:
        """Unlock the journal."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        files.write(self.file, np.frombuffer(data, np.uint8), self._size)
        files.synchronize(self.file)
        self._size += len(data)


def _locked(path: Path) -> FileIO:
    """Return the open and locked journal. Another call may have finished, and deleted it, in the meantime.

    Raises
    ------
    BlockingIOError
        If another process, or another call, holds it.
    OSError
        If the file system has no locks.
    """
    while True:
        file, is_new = files.held(path, files.WRITE), False
        try:
            is_new = os.fstat(file.fileno()).st_size == 0
            _lock(file.fileno(), path)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException as error:
            file.close()
            if is_new and isinstance(error, OSError) and error.errno == errno.ENOLCK:
                path.unlink(missing_ok=True)  # an empty file is of nobody, because all calls are refused
            raise
        file.close()


def _lock(file: int, path: Path) -> None:
    """Lock a journal until it is closed.

    Raises
    ------
    BlockingIOError, OSError
        As :func:`_locked`.
    """
    if not lock(file, path, required=True):
        message = "another call is writing this kernel matrix: wait for it to end"
        raise BlockingIOError(errno.EWOULDBLOCK, message, str(path))


def _parsed(text: str) -> tuple[dict[str, Any] | None, list[Part]]:
    """Return the identity and the parts of a journal. A torn line, and all that follows, does not count."""
    first, *lines = text.split("\n")
    if not lines:
        return None, []
    try:
        identity = json.loads(first)
    except (ValueError, RecursionError):
        return None, []
    parts: list[Part] = []
    for line in lines[:-1]:  # the last one has no end: it is empty, or torn
        words = line.split(" ")
        if len(words) != 3 or not all(map(_is_number, words)):
            break
        part = Part(*map(int, words))
        if part.start != (parts[-1].stop if parts else 0) or part.stop <= part.start:
            break
        parts.append(part)
    return (identity, parts) if isinstance(identity, dict) else (None, [])


def _is_number(word: str) -> bool:
    """Return True for the digits of a number that a line may have."""
    return word.isascii() and word.isdigit() and len(word) < 20


def _head(identity: Mapping[str, Any]) -> bytes:
    """Return the first line."""
    return f"{json.dumps(identity)}\n".encode()


def _length(parts: list[Part]) -> int:
    """Return the number of bytes of the lines of parts."""
    return sum(len(part.line) for part in parts)
