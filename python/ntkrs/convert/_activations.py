"""Activations by their names in other libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from ntkrs import activations
from ntkrs.activations import Elementwise

#: Names in other libraries, in lower case without underscores, and the class of :mod:`ntkrs` for the same function.
_CLASSES = {
    "identity": "Identity",
    "linear": "Identity",
    "relu": "Relu",
    "leakyrelu": "LeakyRelu",
    "abs": "Abs",
    "erf": "Erf",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "logistic": "Sigmoid",
    "silu": "Silu",
    "swish": "Silu",
    "gelu": "Gelu",
    "gelutanh": "GeluTanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "elu": "Elu",
    "selu": "Selu",
    "mish": "Mish",
    "sin": "Sin",
    "cos": "Cos",
}


def known() -> str:
    """Return the names of the activations that can be read, for messages."""
    classes = dict.fromkeys(getattr(activations, cls) for cls in _CLASSES.values() if hasattr(activations, cls))
    return ", ".join(cls.name for cls in classes)


def named(name: str, where: str, **parameters: tuple[float, float]) -> Elementwise:
    """Return the activation with this name and these parameters.

    Each of ``parameters`` is a pair: its value and its default value in the other library. A class here that lacks a
    parameter stands for the default value alone.

    Raises
    ------
    ValueError
        If no activation of :mod:`ntkrs` computes this function.
    """
    wanted = _CLASSES.get(name.lower().replace("_", ""))
    if wanted is None:
        raise ValueError(f"{where} is {name!r}, which is not an activation that can be read. These can: {known()}")
    cls: type[Elementwise] | None = getattr(activations, wanted, None)
    if cls is None:
        raise ValueError(f"{where} is {name!r}, but this version of ntkrs has no {wanted}. It reads: {known()}")
    taken = {field.name for field in fields(cls)}
    for parameter, (value, usual) in parameters.items():
        if parameter not in taken and value != usual:
            raise ValueError(f"{where} has {parameter}={value}, but {cls.__name__} is that of {parameter}={usual} only")
    return cls(**{parameter: value for parameter, (value, _) in parameters.items() if parameter in taken})


def hidden(activation: Any, count: int, ambiguous: Mapping[str, str]) -> list[Elementwise]:
    """Return a list with the activation of each hidden layer, given one for all of them or one for each.

    ``ambiguous`` holds the names that a library uses for several functions, each with a hint at what to pass instead.

    Raises
    ------
    TypeError, ValueError
        If an activation is unknown or ambiguous, or their number is not ``count``.
    """
    if isinstance(activation, str | Elementwise):
        return [_given(activation, "activation", ambiguous)] * count
    if not isinstance(activation, Iterable):
        hint = " Did you forget the parentheses?" if isinstance(activation, type) else ""
        raise TypeError(f"activation is {activation!r}, but a name, an activation, or a sequence is needed.{hint}")
    result = [_given(one, f"activation[{index}]", ambiguous) for index, one in enumerate(activation)]
    if len(result) != count:
        raise ValueError(f"{len(result)} activations were given, but the network has {count} hidden layers")
    return result


def _given(activation: object, where: str, ambiguous: Mapping[str, str]) -> Elementwise:
    """Return the activation that the user passed as an object or a name."""
    if isinstance(activation, Elementwise):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"{where} is {activation!r}, but a name or an activation such as Relu() is needed")
    if activation in ambiguous:
        raise ValueError(f"{where} is {activation!r}, but {ambiguous[activation]}")
    return named(activation, where)
