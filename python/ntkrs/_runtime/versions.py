"""What runs here."""

import sys

from ntkrs import _core
from ntkrs._runtime.threads import get_num_threads

#: Hard dependencies and the extras, in the order printed.
_PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib")


def show_versions() -> None:
    """Print the versions of ntkrs, Python and the packages it uses, the instruction set and the number of threads.

    Paste it into bug reports.
    """
    for name, value in versions().items():
        print(f"{name:>14}: {value}")  # noqa: T201 printing is what it is for


def versions() -> dict[str, str]:
    """Return what :func:`show_versions` prints."""
    # Imported here: they cost a third of ``import ntkrs``.
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
