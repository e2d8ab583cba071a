"""Long calls of compiled code that Ctrl-C does not have to wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

#: The seconds after which the waiting thread looks for signals. Locks of some systems cannot be interrupted.
_INTERVAL = 0.05


def interruptible(call: Callable[[], Result]) -> Result:
    """Return ``call()``, for a call that releases the GIL. Ctrl-C ends the wait for it.

    The call itself runs in a thread of its own and cannot be stopped: after Ctrl-C it works on to its end, and what it
    returns or raises is dropped. It must not write to arrays that anyone else knows.

    Examples
    --------
    >>> from ntkrs._runtime.interrupts import interruptible
    >>> interruptible(lambda: 6 * 7)
    42
    """
    if threading.current_thread() is not threading.main_thread():
        return call()  # only the main thread hears of signals
    results, errors = list[Result](), list[BaseException]()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001  raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="ntkrs-lapack")
    thread.start()
    while thread.is_alive():
        thread.join(_INTERVAL)
    if errors:
        raise errors[0]
    return results[0]
