"""The number of threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ntkrs import _core
from ntkrs._checks import numbers

if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads: the core must not look for them.
    os.register_at_fork(after_in_child=_core.after_fork)


def set_num_threads(n: int) -> None:
    """Set the number of threads that later calls use, in this process.

    Results do not depend on it, to the last bit.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is no integer, or less than 1.
    """
    count = numbers.integer(n, "n")
    if count < 1:
        raise ValueError(f"n is {count}, but at least 1 thread is needed")
    _core.set_num_threads(count)


def get_num_threads() -> int:
    """Return the number of threads that a call made now would use.

    Unless set, it is ``NTKRS_NUM_THREADS``, else ``RAYON_NUM_THREADS``, else as many as the process' affinity and
    control group allow.

    Raises
    ------
    ValueError
        If the environment variable that counts is no number.
    """
    return _core.get_num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use ``n`` threads within a ``with`` block, and the number from before after it.

    The number is one per process: other Python threads see it too.

    >>> with threads(1):
    ...     get_num_threads()
    1
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
