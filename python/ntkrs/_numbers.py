"""The only place where users' numbers are taken or refused."""

import math
import operator
import sys

import numpy as np


def integer(value: object, name: str) -> int:
    """``value`` as an int.

    Raises
    ------
    TypeError
        If it is no integer, or a bool.
    ValueError
        If it is beyond what counts anything in memory.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, but an integer is needed")
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # anything else raises
    except TypeError:
        raise TypeError(f"{name} is {value!r}, but an integer is needed") from None
    if abs(number) > sys.maxsize:
        raise ValueError(f"{name} is beyond {sys.maxsize}, but must be an integer of the machine")
    return number


def count(value: object, name: str) -> int:
    """``value`` as an int of at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is less, or as :func:`integer`.
    """
    number = integer(value, name)
    if number < 1:
        raise ValueError(f"{name} is {number}, but at least 1 is needed")
    return number


def real(value: object, name: str) -> float:
    """``value`` as a finite float.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is NaN or an infinity, or beyond float64.
    """
    if isinstance(value, str | bytes):
        raise TypeError(f"{name} is {value!r}, but a number is needed")
    try:
        number = float(value)  # type: ignore[arg-type]  # anything else raises
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}, but a number is needed") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}, but must be finite")
    return number


def positive(value: object, name: str) -> float:
    """``value`` as a finite positive float.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not positive, or as :func:`real`.
    """
    number = real(value, name)
    if number <= 0:
        raise ValueError(f"{name} is {number}, but must be positive")
    return number


def boolean(value: object, name: str) -> bool:
    """``value`` as a bool: True or False, and nothing that is only true or false in spirit.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}, but True or False is needed")
    return bool(value)
