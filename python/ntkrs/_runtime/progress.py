"""The argument ``progress``: a callable, a progress bar, or a progress bar in terminals and notebooks."""

from __future__ import annotations

import importlib
import sys
import warnings
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from ntkrs._typing import Progress, Report

#: Calls that are expected to take longer than this many seconds show a bar in a terminal or notebook.
PATIENCE_S = 2.0


#: The format of a bar: the share that is done, the bar, the counts, the time so far, and the time to go.
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"


def reporter(progress: Progress) -> Report | None:
    """Return the function that the core calls with (done, total), or None for no calls.

    Parameters
    ----------
    progress : callable, bool or None
        A callable is called. True shows a tqdm bar, and False shows nothing. None shows a bar in a terminal or a
        notebook, if tqdm is installed, and the call is expected to take more than 2 s.

    Raises
    ------
    TypeError
        If it is anything else.
    ImportError
        If it is True and tqdm is not installed.
    """
    if callable(progress):
        return progress
    if progress is False:
        return None
    if progress is True:
        module = _tqdm()
        if module is None:
            raise ImportError("progress=True needs tqdm: pip install 'ntkrs[progress]'")
        return Bar(module, patience=0.0)
    if progress is not None:
        raise TypeError(f"progress is {progress!r}, but a callable (done, total), True, False or None is needed")
    terminal = sys.stderr is not None and sys.stderr.isatty()
    module = _tqdm() if terminal or _in_notebook() else None
    return None if module is None else Bar(module, patience=PATIENCE_S)


@contextmanager
def removed(report: Report | None) -> Iterator[None]:
    """Remove the bar at the end of a ``with`` block, for work whose total is only the most that it may take."""
    try:
        yield
    finally:
        if isinstance(report, Bar):
            report.close()


class Bar:
    """A progress bar, shown if the call is expected to take longer than ``patience`` seconds."""

    def __init__(self, module: ModuleType, patience: float) -> None:
        self._module = module
        self._patience = patience
        self._start = monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done, and remove the bar at the end."""
        if self._bar is None and done < total and self._expected(done, total) > self._patience:
            self._bar = self._module.tqdm(total=total, bar_format=_FORMAT, leave=False)
        if self._bar is not None:
            self._bar.n = done
            self._bar.refresh()
            if done >= total:
                self._bar.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _expected(self, done: int, total: int) -> float:
        """Return the expected duration of the whole call, in seconds."""
        elapsed = monotonic() - self._start
        return elapsed * total / done if done else elapsed


def _in_notebook() -> bool:
    """Return True if the code of this process comes from a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return bool(shell is not None and "IPKernelApp" in shell.config)


def _tqdm() -> ModuleType | None:
    """Return the module whose ``tqdm`` is a bar for this place, or None if tqdm is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a notebook without ipywidgets: the bar is then one of text
            return importlib.import_module("tqdm.auto" if _in_notebook() else "tqdm")
    except ImportError:
        return None
