"""The parts of error messages that depend on what came: how it is shown, and what to pass instead."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: A function, or a class.
Called = TypeVar("Called", bound="Callable[..., Any]")

#: The contents of arrays by the kind of their dtype, and what to pass instead of them.
_TEXT = ("text", "Pass {name}.astype(float) if the text spells numbers. Encode categories, for example one-hot.")
_KINDS = {
    "c": (
        "complex numbers",
        "Pass {name}.real, or both parts as features: numpy.hstack([{name}.real, {name}.imag]).",
    ),
    "U": _TEXT,
    "S": _TEXT,
    "M": ("dates", "Pass the time since one of them in a unit: ({name} - {name}.min()) / numpy.timedelta64(1, 'D')."),
    "m": ("durations", "Divide by a unit: {name} / numpy.timedelta64(1, 's')."),
    "V": ("named fields", "Pass numpy.lib.recfunctions.structured_to_unstructured({name})."),
}

#: A longer repr is cut in messages.
_LONGEST = 80


def shown(value: object) -> str:
    """Return a value as a message shows it: one line of at most some 80 characters."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape:
        kind = "an array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        return f"{kind} of shape {shape}" + (f" and dtype {dtype}" if dtype is not None else "")
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def not_an_array(values: object, array: NDArray[Any], name: str) -> str:
    """Return the message for ``values`` that NumPy reads as an array of anything but real numbers of 64 bits."""
    kind = array.dtype.kind
    if array.ndim == 0 and kind in "OUS":
        return f"{name} is {shown(values)}, but an array is needed. {_instead_of_object(values, name)}".rstrip()
    if kind == "O":
        return f"{name} has dtype object, but real numbers are needed. {_first_object(array)}"
    what, instead = _KINDS.get(kind, ("", "Convert it first: numpy.asarray({name}, dtype=numpy.float64)."))
    has = f"{name} holds {what} (dtype {array.dtype})" if what else f"{name} has dtype {array.dtype}"
    needed = "real numbers" if kind in _KINDS else "real numbers of at most 64 bits"
    return f"{has}, but {needed} are needed. {instead.format(name=name)}"


def _instead_of_object(values: object, name: str) -> str:
    """Return what to pass instead of an object that is no array."""
    if hasattr(values, "collect"):  # a lazy data frame
        return f"Pass {name}.collect()."
    if callable(values):
        return "Call it, and pass the array that it returns, such as kernel(X)."
    if isinstance(values, str | bytes):
        return "Options are passed by name, such as get='ntk'."
    return ""


def _first_object(array: NDArray[Any]) -> str:
    """Return where the first entry stands that is no number, and what to do about it."""
    for index in np.ndindex(array.shape):
        if not isinstance(array[index], int | float | np.integer | np.floating | np.bool_):
            return (
                f"The first entry that is no number is {shown(array[index])} at {index}. Encode categories, for "
                "example one-hot, and fill or drop missing values."
            )
    return "All entries are numbers: convert it with astype(float)."


def other_names(**names: str) -> Callable[[Called], Called]:
    """Return a decorator for functions and classes, whose argument ``names[name]`` other libraries call ``name``.

    A call with such a name raises TypeError, with the name that is used here.
    """

    def decorate(called: Called) -> Called:
        function: Any = called.__init__ if isinstance(called, type) else called  # type: ignore[misc]

        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for name, ours in names.items():
                if name in kwargs:
                    raise TypeError(f"{called.__name__}() has no argument {name}. Here it is called {ours}.")
            return function(*args, **kwargs)

        if isinstance(called, type):
            called.__init__ = checked  # type: ignore[misc]
            return called
        return cast("Called", checked)

    return decorate


def options_by_name(function: Called) -> Called:
    """Decorate a method whose options are keyword-only, so that one passed by position is answered with its name."""
    code = function.__code__
    positional, option = code.co_argcount, code.co_varnames[code.co_argcount]

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if len(args) > positional:
            raise TypeError(
                f"{function.__qualname__} takes at most {positional - 1} arguments by position, but got "
                f"{len(args) - 1}. Pass options by name: {option}={shown(args[positional])}."
            )
        return function(*args, **kwargs)

    return cast("Called", checked)
