"""The number of threads."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ntkrs import _core
from ntkrs._checks import numbers

#: A limit that is none.
_UNLIMITED = sys.maxsize

if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads, so the core must not use its pools.
    os.register_at_fork(after_in_child=_core.after_fork)


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
    _core.set_num_threads(count)


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
    with _limit(_UNLIMITED):
        before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


@contextmanager
def limited(n: int) -> Iterator[None]:
    """Use at most ``n`` threads for calls of this Python thread within a ``with`` block.

    For schedulers, where a task has one processor. Unlike :func:`threads`, it does not change what other Python threads
    use, and a lower limit around it stays.

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
    with _limit(n) as before, _limit(min(n, before)):
        yield


@contextmanager
def _limit(n: int) -> Iterator[int]:
    """Set the limit of this Python thread within a ``with`` block, and give the one before."""
    before = _core.limit_threads(n)
    try:
        yield before
    finally:
        _core.limit_threads(before)
