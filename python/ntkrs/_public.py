"""Public names: classes, functions and methods show the module that users import them from."""

import importlib
import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

#: Modules of earlier versions that occur in pickles of named tuples, and the modules that hold these classes now.
_MOVED = {
    "ntkrs._get": "ntkrs.kernel",
    "ntkrs._gradient": "ntkrs.kernel",
    "ntkrs._training": "ntkrs.network",
}


def publish(namespace: dict[str, Any]) -> None:
    """Set ``__module__`` of everything in ``__all__`` that a public module imports from a place not meant for users.

    Such places are private modules, and all files inside a package such as ``ntkrs.predict``. For ``ntkrs`` itself they
    are private modules only, so that a class keeps the public module that published it first.

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
            for owner in _with_bases(namespace[name], (own or home, home)):
                private = owner.__module__
                for part in _parts(owner):
                    if getattr(part, "__module__", None) == private:
                        part.__module__ = module


def keep_pickles() -> None:
    """Make classes that have moved available at their old places, for pickles of earlier versions."""
    for old, new in _MOVED.items():
        sys.modules[old] = ModuleType(old)
        sys.modules[old].__dict__["__getattr__"] = partial(_moved, new)


def _moved(module: str, name: str) -> Any:
    """Return a name of the module that holds it now, which is imported only then."""
    if name.startswith("__"):  # tools ask all modules for these
        raise AttributeError(name)
    return getattr(importlib.import_module(module), name)


def _with_bases(found: Any, places: tuple[str, str]) -> list[Any]:
    """Return a function, or a class and those of its bases that lie in its folder or file: parts of it."""
    bases = found.__mro__[1:] if isinstance(found, type) else ()
    return [found, *(base for base in bases if base.__module__.startswith(places))]


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
            elif callable(member):  # a default value, such as a named tuple, keeps its own module
                yield member
