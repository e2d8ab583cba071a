"""The number of threads."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ntkrs import _core
from ntkrs._checks import numbers


class _Limits:
    """The limits of all open blocks of :func:`limited`, and the number of threads that holds without them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[int] = []
        self._chosen = 0

    def choose(self, count: int) -> None:
        """Set the number of threads, which counts as soon as no limit is lower."""
        with self._lock:
            self._chosen = count
            self._apply()

    def add(self, count: int) -> None:
        """Open a block with this limit."""
        with self._lock:
            if not self._open:
                self._chosen = _core.get_num_threads()
            self._open.append(count)
            self._apply()

    def remove(self, count: int) -> None:
        """Close a block with this limit. A child that was forked since may not know it."""
        with self._lock:
            if count in self._open:
                self._open.remove(count)
                self._apply()

    def after_fork(self) -> None:
        """Forget the blocks of other threads, which the child does not have, and a lock that one of them held."""
        limited, self._lock, self._open = bool(self._open), threading.Lock(), []
        if limited:
            _core.set_num_threads(self._chosen)

    def _apply(self) -> None:
        """Tell the core."""
        _core.set_num_threads(min([self._chosen, *self._open]))


_LIMITS = _Limits()

if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads, so the core must not use its pools.
    os.register_at_fork(after_in_child=_core.after_fork)
    os.register_at_fork(after_in_child=_LIMITS.after_fork)


def set_num_threads(n: int) -> None:
    """Set the number of threads that later calls in this process use.

    Results do not depend on it, not even in the last bit. :func:`threads` sets the number for a ``with`` block only.

    Parameters
    ----------
    n : int
        The number of threads: at least 1, and at most 64 or four for each processor of this process, whichever is more.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer, or is out of its range. More threads than processors make nothing faster.

    Examples
    --------
    >>> import ntkrs
    >>> before = ntkrs.get_num_threads()
    >>> ntkrs.set_num_threads(2)
    >>> ntkrs.get_num_threads()
    2
    >>> ntkrs.set_num_threads(before)
    """
    count = numbers.integer(n, "n")
    if count < 1:
        raise ValueError(f"n is {count}, but at least 1 thread is needed")
    most = _core.max_num_threads()
    if count > most:
        raise ValueError(
            f"n is {count}, but at most {most} threads can be set here: four for each processor of this process, or "
            "64. More threads than processors make nothing faster."
        )
    _LIMITS.choose(count)


def get_num_threads() -> int:
    """Return the number of threads that a call made now would use.

    If it was not set, it is the value of the environment variable ``NTKRS_NUM_THREADS``, or else of
    ``RAYON_NUM_THREADS``, or else the number of processors that the affinity and the control group of the process
    allow.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If the environment variable that applies is not a number, or exceeds the limit of :func:`set_num_threads`.

    Examples
    --------
    >>> import ntkrs
    >>> with ntkrs.threads(2):
    ...     ntkrs.get_num_threads()
    2
    """
    return _core.get_num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use ``n`` threads within a ``with`` block, and restore the previous number after it.

    The number belongs to the process, so other Python threads see it too.

    Parameters
    ----------
    n : int
        The number of threads: at least 1, and at most 64 or four for each processor of this process, whichever is more.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer, or is out of its range. More threads than processors make nothing faster.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> kernel = ntkrs.mlp(depth=2, width=1, outputs=1).kernel()
    >>> X = np.eye(3)
    >>> with ntkrs.threads(1):
    ...     K = kernel(X)
    >>> np.array_equal(K, kernel(X))  # results do not depend on the number of threads
    True
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


@contextmanager
def limited(n: int) -> Iterator[None]:
    """Use at most ``n`` threads within a ``with`` block, of which many may be open in many Python threads.

    For schedulers, where a task has one processor. Unlike :func:`threads`, blocks that overlap in time leave the number
    of threads as it was before the first of them. The core has one number of threads for the whole process, so calls of
    other Python threads are limited too while a block is open: a limit can only be too low for them.

    Parameters
    ----------
    n : int
        The limit, at least 1.

    Examples
    --------
    >>> import ntkrs
    >>> from ntkrs._runtime.threads import limited
    >>> with ntkrs.threads(3), limited(1):
    ...     ntkrs.get_num_threads()
    1
    """
    _LIMITS.add(n)
    try:
        yield
    finally:
        _LIMITS.remove(n)
