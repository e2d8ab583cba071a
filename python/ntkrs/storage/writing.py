"""A kernel matrix in a file: a band of rows is computed while the one before it is written. A crash loses both at most.

The order of writes: rows to ``path.partial``, then to the disk; their lines to ``path.journal``, then to the disk. At
the end ``path.json`` is written, ``path.partial`` becomes ``path``, and the journal is deleted. So a line is never
ahead of its rows.
"""

from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import memory
from ntkrs._runtime.files import name_file, replaced
from ntkrs.storage import files
from ntkrs.storage.identity import differences, remedy
from ntkrs.storage.journal import Journal, Part
from ntkrs.storage.layout import layout_of, part_rows
from ntkrs.storage.matrix import beside, checksum, description, header, opened
from ntkrs.storage.rows import RowCounter

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from numpy.typing import NDArray

    from ntkrs._typing import Report
    from ntkrs.storage.identity import KernelMatrix
    from ntkrs.storage.matrix import Gram

#: Files that a call of this process left to its writing thread when an exception ended it.
_CLOSING: dict[Path, Future[None]] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CLOSING.clear)  # a child has no thread that would close them


def write(matrix: KernelMatrix, path: Path, how: tuple[bool, bool, int], report: Report | None) -> Gram:
    """Return the matrix in a finished file. ``how`` are packed, overwrite and band_bytes of :func:`ntkrs.gram`."""
    packed, overwrite, band_bytes = how
    identity = matrix.identity(packed=packed)
    path = path.parent.resolve() / path.name
    if path in _CLOSING:
        wait([_CLOSING[path]])
        _CLOSING.pop(path, None)
    found = None if overwrite else _finished(path, identity)
    if found is not None:
        _tidy(path, identity)
        return found
    partial = PartialFile(path, identity, overwrite=overwrite)
    try:
        found = None if overwrite else _finished(path, identity)  # by another process, before this one had the lock
        if found is not None:
            partial.discard()
            return found
        partial.prepare()
        _fill(matrix, partial, band_bytes, report)
        partial.finish()
    except BaseException as error:
        partial.abandon(error)
        raise
    return opened(path, identity)


def _tidy(path: Path, identity: dict[str, Any]) -> None:
    """Delete the journal of a finished file, which a crash may have left."""
    if beside(path, "journal").exists():
        with contextlib.suppress(OSError, ValueError):  # of another call, or where there are no locks any more
            PartialFile(path, identity, overwrite=False).discard()


def _finished(path: Path, identity: dict[str, Any]) -> Gram | None:
    """Return the matrix if the path holds it, None if it holds nothing.

    Raises
    ------
    ValueError
        If it holds anything else.
    """
    if not path.exists():
        return None
    try:
        found, _ = description(path)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"{path} exists, but ntkrs.gram did not write it: {error}. Choose another path, or pass overwrite=True to "
            "replace it."
        ) from error
    if different := differences(found, identity):
        raise ValueError(f"{path} holds another kernel matrix, which differs in {different}. {remedy(found, identity)}")
    return opened(path, identity)


def _fill(matrix: KernelMatrix, partial: PartialFile, band_bytes: int, report: Report | None) -> None:
    """Compute all rows that the file lacks. While a band is written, the next one is computed."""
    layout = partial.layout
    (total, width), unit = layout.shape, part_rows(layout)
    # Half of the memory holds the band that is being written.
    rows = max(1, band_bytes // 2 // max(1, unit * width * matrix.dtype.itemsize)) * unit
    missing = max(0, total - partial.done)
    numbers = min(2 * rows, missing) * width + min(rows, missing) ** 2  # two bands, and a square of the packed format
    advice = f"Pass a smaller band_bytes than {band_bytes}."
    memory.require(numbers * matrix.dtype.itemsize, "computing two bands of the matrix", advice)

    def settled() -> bool:
        """Report a band that has been written. Return True unless one is being written."""
        if partial.is_written() and (done := partial.wait()):
            counter.finished(done, total)
        return partial.is_idle()

    counter = RowCounter(report, settled)
    for start in range(partial.done, total, rows):
        band = np.empty((min(total, start + rows) - start, width), matrix.dtype)
        layout.fill(band, start, counter.band(matrix.block, layout, start, start + len(band)))
        before = partial.wait()
        partial.submit(band, start, unit)
        if before:
            counter.finished(before, total)
    if done := partial.wait():
        counter.finished(done, total)


class PartialFile:
    """An unfinished file with its journal, locked until it is finished or abandoned.

    Attributes
    ----------
    layout : Layout
        The places of the matrix.
    done : int
        The number of rows that were found finished.

    Raises
    ------
    ValueError
        If the journal is that of another matrix.
    BlockingIOError
        If another call is writing it.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, overwrite: bool) -> None:
        self._path, self._identity = path, identity
        self._partial, journal = beside(path, "partial"), beside(path, "journal")
        self.layout = layout_of(identity["order"], packed=identity["packed"])
        self._dtype = np.dtype(identity["dtype"])
        self._header = header(self.layout.shape, self._dtype)
        self._file: FileIO | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[int] | None = None
        is_new = not journal.exists()
        self._journal = Journal(journal)
        try:
            self._admit(overwrite=overwrite)
        except BaseException:
            self._close(delete=[journal] if is_new else [])
            raise

    @property
    def done(self) -> int:
        """The number of rows that are on the disk."""
        return self._journal.parts[-1].stop if self._journal.parts else 0

    @property
    def _number(self) -> int:
        """The number of the open file."""
        return files.number(self._file)

    def is_idle(self) -> bool:
        """Return True if no band is being written, or waits for its report."""
        return self._writing is None

    def is_written(self) -> bool:
        """Return True if a band has been written, and waits for its report."""
        return self._writing is not None and self._writing.done()

    def wait(self) -> int:
        """Wait for the band that is being written. Return the number of rows on the disk after it, 0 without one."""
        if self._writing is None:
            return 0
        self._journal.require_open()
        done = self._writing.result()
        self._writing = None
        return done

    def submit(self, band: NDArray[Any], start: int, unit: int) -> None:
        """Begin to write a band."""
        self._journal.require_open()
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1)
        self._writing = self._writer.submit(self._write, band, start, unit)

    def finish(self) -> None:
        """Give the file its name, and delete the journal."""
        self.wait()
        self._journal.require_open()
        files.synchronize(self._number)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()  # an older matrix, which path.json would no longer describe
        parts = [list(part) for part in self._journal.parts]
        text = json.dumps({"identity": self._identity, "parts": parts})
        with replaced(beside(self._path, "json")) as file:
            file.write(f"{text}\n".encode())
        self._partial.replace(self._path)
        files.synchronize_names(self._path.parent)
        self._close(delete=[self._journal.path])

    def discard(self) -> None:
        """Delete the journal and the unfinished file: another call has finished the matrix in the meantime."""
        self._close(delete=[self._partial, self._journal.path])

    def abandon(self, error: BaseException) -> None:
        """Close the files after an error. Rows on the disk stay for the next call; without any, nothing is left.

        A band that is being written is finished in the background, so that Ctrl-C takes effect at once.
        """
        name_file(error, self._partial)
        failed = isinstance(error, OSError | ValueError | MemoryError) and self._journal.file >= 0

        def close() -> None:
            fresh = failed and not self._journal.parts
            self._close(delete=[self._partial, self._journal.path] if fresh else [])

        if self._journal.file < 0 or self._writer is None:
            close()  # a forked child has no thread that writes
            return
        closing = self._writer.submit(close)  # after a band that Ctrl-C may have kept out of self._writing
        if self._writing is None or self._writing.done():
            closing.result()
        else:
            _CLOSING[self._path] = closing

    def _admit(self, *, overwrite: bool) -> None:
        """Refuse the journal of another matrix, and a partial file without a journal."""
        found = self._journal.identity
        different = "" if found is None else differences(found, self._identity)
        if different and not overwrite:
            raise ValueError(
                f"{self._path} holds an unfinished kernel matrix, which differs in {different}. "
                f"{remedy(found or {}, self._identity)}"
            )
        if found is None and self._partial.exists() and not overwrite:
            raise ValueError(
                f"{self._partial} exists without its journal. Delete it, or pass overwrite=True to replace it."
            )
        if found is None or different:
            self._journal.begin(self._identity)

    def prepare(self) -> None:
        """Reserve room for the file, and find the rows that it holds.

        Raises
        ------
        OSError
            If the disk has no room for the file.
        """
        size = len(self._header) + self.layout.shape[0] * self.layout.shape[1] * self._dtype.itemsize
        self._file = files.held(self._partial, files.WRITE)
        if os.fstat(self._number).st_size != size:
            self._journal.keep(0)
            os.ftruncate(self._number, 0)
            files.reserve(self._number, size)
            files.write(self._number, np.frombuffer(self._header, np.uint8), 0)
            files.synchronize(self._number)
            files.synchronize_names(self._path.parent)
            return
        # Once more, because a crash may have come between the reservation and the header.
        files.write(self._number, np.frombuffer(self._header, np.uint8), 0)
        count = len(self._journal.parts)
        while count and not self._intact(self._journal.parts[count - 1]):
            count -= 1
        self._journal.keep(count)

    def _intact(self, part: Part) -> bool:
        """Return True if the rows of a part match their checksum."""
        if part.stop > self.layout.shape[0]:
            return False
        rows = np.empty((part.stop - part.start, self.layout.shape[1]), self._dtype)
        files.read(self._number, rows, self._place(part.start), self._partial)
        return checksum(rows) == part.checksum

    def _place(self, row: int) -> int:
        """Return the offset of a row in the file."""
        return len(self._header) + row * int(self.layout.shape[1] * self._dtype.itemsize)

    def _write(self, band: NDArray[Any], start: int, unit: int) -> int:
        """Write a band, then its lines. Return the number of rows that are on the disk."""
        files.write(self._number, band, self._place(start))
        files.synchronize(self._number, data_only=True)
        firsts = range(0, len(band), unit)
        rows = [band[first : first + unit] for first in firsts]
        ends = [(start + first, start + first + len(part)) for first, part in zip(firsts, rows, strict=True)]
        self._journal.add([Part(*end, checksum(part)) for end, part in zip(ends, rows, strict=True)])
        return start + len(band)

    def _close(self, delete: list[Path]) -> None:
        """Close the files, after deleting some of them: their names are free before the lock is."""
        if self._file is not None:
            self._file.close()
        for path in delete:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        self._journal.close()
        if self._writer is not None:
            self._writer.shutdown(wait=False)
