"""Public names: classes, functions and methods that show the module from which users import them."""

import sys
from collections.abc import Iterator
from typing import Any

#: Modules of earlier versions that pickles of named tuples name, and the modules that hold these classes now.
_MOVED = {
    "ntkrs._get": "ntkrs.kernel",
    "ntkrs._gradient": "ntkrs.kernel",
    "ntkrs._training": "ntkrs.network",
}


def publish(namespace: dict[str, Any]) -> None:
    """Set the ``__module__`` of what a public module lists in ``__all__`` but imports from where users do not.

    These are private modules, and for a package such as ``ntkrs.predict`` all files in it. ``ntkrs`` itself leaves a
    class to the module that has published it before.

    Parameters
    ----------
    namespace : dict
        ``globals()`` of the public module.
    """
    module = namespace["__name__"]
    own = f"{module}." if "." in module else None
    for name in namespace["__all__"]:
        home = getattr(namespace.get(name), "__module__", None)
        if home is not None and ("._" in home or (own and home.startswith(own))):
            for part in _parts(namespace[name]):
                if getattr(part, "__module__", None) == home:
                    part.__module__ = module


def keep_pickles() -> None:
    """Let pickles of earlier versions find classes that have moved since."""
    sys.modules.update((old, sys.modules[new]) for old, new in _MOVED.items())


def _parts(found: Any) -> Iterator[Any]:
    """Yield a function, or a class and the functions of its methods and properties."""
    yield found
    if isinstance(found, type):
        for member in vars(found).values():
            if isinstance(member, classmethod | staticmethod):
                yield member
                yield member.__func__
            elif isinstance(member, property):
                yield member.fget
            else:
                yield member
