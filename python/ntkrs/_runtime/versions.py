"""Versions and build information."""

import sys

from ntkrs import _core
from ntkrs._runtime.threads import get_num_threads

#: Required and optional packages, in the order in which they are printed.
_PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib")


def show_versions() -> None:
    """Print the versions of ntkrs, Python and the packages it uses, the instruction set and the number of threads.

    Paste the output into bug reports.

    Examples
    --------
    >>> import ntkrs
    >>> ntkrs.show_versions()  # doctest: +ELLIPSIS
             ntkrs: ...
      instructions: ...
           threads: ...
    """
    for name, value in versions().items():
        print(f"{name:>14}: {value}")  # noqa: T201 printing is its purpose


def versions() -> dict[str, str]:
    """Return the values that :func:`show_versions` prints, by name."""
    # These imports would take a third of the time of ``import ntkrs``.
    import platform
    from importlib import metadata

    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    return {
        "ntkrs": f"{_core.VERSION} ({_core.PROFILE} build)",
        "instructions": _core.isa(),
        "threads": str(get_num_threads()),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    } | {name: version(name) for name in _PACKAGES}
