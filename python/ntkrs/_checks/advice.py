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
_TEXT = ("text", "Pass {name}.astype(float) if the text spells numbers.")
_KINDS = {
    "c": ("complex numbers", "Pass {name}.real."),
    "U": _TEXT,
    "S": _TEXT,
    "M": ("dates", "Pass the time since one of them in a unit: ({name} - {name}.min()) / numpy.timedelta64(1, 'D')."),
    "m": ("durations", "Divide by a unit: {name} / numpy.timedelta64(1, 's')."),
    "V": ("named fields", "Pass numpy.lib.recfunctions.structured_to_unstructured({name})."),
}

#: Arguments that hold samples or targets, and what else to do with them, by the kind of the dtype.
_SAMPLES = ("X", "Z", "x_train", "x_test", "y", "y_train")
_OF_SAMPLES = {
    "c": " Or pass both parts as features: numpy.hstack([{name}.real, {name}.imag]).",
    **dict.fromkeys("US", " Encode categories, for example one-hot."),
    "O": " Encode categories, for example one-hot, and fill or drop missing values.",
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
        return f"{name} has dtype object, but real numbers are needed. {_first_object(array, name)}"
    what, instead = _KINDS.get(kind, ("", "Convert it first: numpy.asarray({name}, dtype=numpy.float64)."))
    has = f"{name} holds {what} (dtype {array.dtype})" if what else f"{name} has dtype {array.dtype}"
    needed = "real numbers" if kind in _KINDS else "real numbers of at most 64 bits"
    return f"{has}, but {needed} are needed. {instead.format(name=name)}{_of_samples(kind, name)}"


def _of_samples(kind: str, name: str) -> str:
    """Return what else to do with samples, targets or times of this kind of dtype, "" for other arguments."""
    if (kind, name) == ("O", "t"):
        return " The end of training is numpy.inf in an array."
    return _OF_SAMPLES.get(kind, "").format(name=name) if name in _SAMPLES else ""


def overflowed(name: str) -> str:
    """Return what to do about an infinity in an argument, "" for what is not a kernel."""
    if name == "K" or name.startswith("k_"):
        return " A kernel is infinite where inputs are too large for it: scale them or sigma_w down."
    return ""


def not_rows(shape: tuple[int, ...], name: str) -> str:
    """Return the message for an array of this shape where rows (N, n_0) are needed."""
    hint = ""
    if len(shape) == 1:
        hint = f" Use {name}.reshape(1, -1) for one sample, {name}.reshape(-1, 1) for one feature."
    elif len(shape) in (3, 4):
        hint = f" For images, use {name}.reshape(len({name}), -1), or a network that starts with Conv."
    return f"{name} has shape {shape}, but a two-dimensional (N, n_0) array is needed.{hint}"


def not_images(shape: tuple[int, ...], name: str) -> str:
    """Return the message for an array of this shape where images (N, H, W, C) are needed."""
    needed = "a network that starts with Conv takes images (N, H, W, C)"
    if len(shape) == 4:
        return f"{name} has shape {shape}, but {needed} with at least 1 row, 1 column and 1 channel."
    hint = f" Use {name}[None] for one image (H, W, C), {name}[..., None] for images (N, H, W) of one channel."
    if len(shape) == 2:
        hint = f" Use {name}.reshape({_image_shape(shape[1])})."
    return f"{name} has shape {shape}, but {needed}.{hint if len(shape) in (2, 3) else ''}"


def _image_shape(features: int) -> str:
    """Return the shape of square images with this number of entries and one or three channels, or letters for it."""
    for channels in (1, 3):
        side = round((features / channels) ** 0.5)
        if side > 1 and side * side * channels == features:
            return f"-1, {side}, {side}, {channels}"
    return "-1, H, W, C"


def channels_first(height: int, width: int, channels: int) -> str:
    """Return a hint for images of this shape if it looks like that of images whose first axis is the channels."""
    if height in (1, 3) and channels not in (1, 3) and width > 1:
        return f" If {height} is the number of channels, they must be the last axis: use X.transpose(0, 2, 3, 1)."
    return ""


def looks_channels_first(height: int, width: int, channels: int) -> bool:
    """Return True for (1, n, n) and (3, n, n) with n of 8 or more: hardly images of that height and n channels."""
    return width == channels >= 8 and bool(channels_first(height, width, channels))


def _instead_of_object(values: object, name: str) -> str:
    """Return what to pass instead of an object that is not an array."""
    if hasattr(values, "collect"):  # a lazy data frame
        return f"Pass {name}.collect()."
    if callable(values):
        return "Call it, and pass the array that it returns, such as kernel(X)."
    if isinstance(getattr(values, "array", None), np.ndarray):  # prepared inputs
        return f"Pass {name}.array."
    if isinstance(values, str | bytes) and "." in str(values):
        return f"Load the file first, such as {name} = numpy.load({values!r})."
    if isinstance(values, str | bytes):
        return "Options are passed by name, such as get='ntk'."
    return ""


def _first_object(array: NDArray[Any], name: str) -> str:
    """Return where the first entry stands that is not a number, and what to do about it."""
    for index in np.ndindex(array.shape):
        if not isinstance(array[index], int | float | np.integer | np.floating | np.bool_):
            return f"The first entry that is no number is {shown(array[index])} at {index}.{_of_samples('O', name)}"
    return "All entries are numbers: convert it with astype(float)."


def other_names(**names: str) -> Callable[[Called], Called]:
    """Return a decorator for functions and classes, whose argument ``names[name]`` other libraries call ``name``.

    A call with such a name raises TypeError, with the name that is used here.
    """
    return _named_otherwise(
        TypeError, {name: f"has no argument {name}. Here it is called {ours}." for name, ours in names.items()}
    )


def absent(**reasons: str) -> Callable[[Called], Called]:
    """Return a decorator for functions and classes that lack an argument ``name`` of other libraries.

    A call with such a name raises ValueError, with the reason ``reasons[name]``.
    """
    return _named_otherwise(ValueError, {name: f"has no {name}. {reason}" for name, reason in reasons.items()})


def _named_otherwise(error: type[Exception], messages: dict[str, str]) -> Callable[[Called], Called]:
    """Return a decorator that answers a call with an argument ``name`` by an error with ``messages[name]``."""

    def decorate(called: Called) -> Called:
        function: Any = called.__init__ if isinstance(called, type) else called  # type: ignore[misc]

        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for name, message in messages.items():
                if name in kwargs:
                    raise error(f"{called.__qualname__}() {message}")
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
