"""Lets threadpoolctl, and with it joblib and scikit-learn, set the number of threads."""

from __future__ import annotations

from ntkrs import _core
from ntkrs._runtime.threads import get_num_threads, set_num_threads


def register() -> None:
    """Make this library known to threadpoolctl, if that is installed."""
    try:
        import threadpoolctl
    except ImportError:
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]  # it ships no types
        """What threadpoolctl calls."""

        user_api = "ntkrs"
        internal_api = "ntkrs"
        filename_prefixes = ("_core.abi3", "_core.pyd")
        check_symbols = ("ntkrs_num_threads",)

        def get_num_threads(self) -> int:
            """Return the present number."""
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            """Set it for later calls."""
            set_num_threads(num_threads)

        def get_version(self) -> str:
            """Return the version of this library."""
            return _core.VERSION

    threadpoolctl.register(Controller)
