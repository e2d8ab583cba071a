"""Registration with threadpoolctl, so that joblib and scikit-learn can set the number of threads."""

from __future__ import annotations

from ntkrs import _core
from ntkrs._runtime.threads import get_num_threads, set_num_threads


def register() -> None:
    """Register this library with threadpoolctl, if that is installed."""
    try:
        import threadpoolctl
    except ImportError:
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]  # it ships no types
        """The interface that threadpoolctl calls."""

        user_api = "ntkrs"
        internal_api = "ntkrs"
        filename_prefixes = ("_core.abi3", "_core.pyd")
        check_symbols = ("ntkrs_num_threads",)

        def get_num_threads(self) -> int:
            """Return the current number of threads."""
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            """Set the number of threads of later calls. A limit for all libraries may exceed that of this one."""
            set_num_threads(min(num_threads, _core.max_num_threads()))

        def get_version(self) -> str:
            """Return the version of this library."""
            return _core.VERSION

    threadpoolctl.register(Controller)
