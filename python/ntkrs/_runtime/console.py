"""Programs of the command line: standard streams, refusals in one line, and exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, TextIO

from ntkrs import _core
from ntkrs._runtime.threads import get_num_threads

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

#: Exit statuses of shells for a program that Ctrl-C ended, and for one whose reader has gone.
INTERRUPTED, UNREAD = 130, 141


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed arguments of a program, by default those of the process.

    Raises
    ------
    SystemExit
        If they are wrong, or the program ends after a help text.
    """
    found: list[argparse.Namespace] = []
    status = run(lambda: found.append(parser.parse_args(arguments)), (OSError,))
    if status:
        raise SystemExit(status)
    return found[0]


def run(work: Callable[[], object], refusals: tuple[type[BaseException], ...], interrupted: str = "interrupted") -> int:
    """Return the exit status of a program: 0, or 1 after one of these errors, which is told in one line.

    Parameters
    ----------
    work : callable
        The program.
    refusals : tuple of exception types
        Errors that are not faults of the program.
    interrupted : str
        The line after Ctrl-C.
    """
    _open_streams()
    try:
        try:
            work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as in ``ntkrs versions | head -1``
        status = UNREAD
    except refusals as error:
        tell(str(error).replace("overwrite=True", "--overwrite"))
        status = 1
    except KeyboardInterrupt:
        tell(interrupted)
        status = INTERRUPTED
    else:
        return 0
    _drop_unwritten()
    return status


def check_environment() -> None:
    """Refuse environment variables with which no call works.

    Raises
    ------
    OSError
        If there are any. The message names the first.
    """
    try:
        _core.isa(), get_num_threads()
    except ValueError as error:
        raise OSError(str(error)) from error


def tell(line: str) -> None:
    """Print a line to the standard error, if somebody reads it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"ntkrs: {line}\n")
        sys.stderr.flush()


def _open_streams() -> None:
    """Open streams that the caller has closed, and let them print any name of a file.

    Without this, a file of results would get the number of a standard stream, and what is printed to that.
    """
    names = ("stdout", "stderr")
    if any(getattr(sys, name) is None for name in names):
        with contextlib.suppress(OSError):
            while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
                pass
            os.close(file)
    for name in names:
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 until the program ends
        elif getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_unwritten() -> None:
    """Drop what standard output could not write, because Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), sys.stdout.fileno())
