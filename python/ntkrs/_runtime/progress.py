"""What ``progress=`` means: a callable, a bar, or a bar where somebody would miss one."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from ntkrs._typing import Progress, Report

#: A call that takes longer than this shows a bar on a terminal.
PATIENCE_S = 2.0


def reporter(progress: Progress) -> Report | None:
    """What the core is to call with (done, total).

    Parameters
    ----------
    progress : callable, bool or None
        A callable is called. True shows a bar of tqdm, False nothing. None shows a bar where standard error is a
        terminal, tqdm is installed and the call will take more than 2 s.

    Raises
    ------
    TypeError
        If it is something else.
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
    module = _tqdm() if sys.stderr is not None and sys.stderr.isatty() else None
    return None if module is None else Bar(module, patience=PATIENCE_S)


class Bar:
    """A bar on standard error, once the call is expected to take longer than ``patience`` seconds."""

    def __init__(self, module: ModuleType, patience: float) -> None:
        self._module = module
        self._patience = patience
        self._start = monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; take the bar away at the end."""
        if self._bar is None and done < total and self._expected(done, total) > self._patience:
            self._bar = self._module.tqdm(total=total, unit="tile", leave=False)
        if self._bar is not None:
            self._bar.n = done
            self._bar.refresh()
            if done >= total:
                self._bar.close()

    def _expected(self, done: int, total: int) -> float:
        return (monotonic() - self._start) * total / max(done, 1)


def _tqdm() -> ModuleType | None:
    try:
        import tqdm
    except ImportError:
        return None
    module: ModuleType = tqdm
    return module
