"""Activation functions, as descriptions: φ, and where the kernels that it leads to come from.

They are values: frozen, hashable, compared by what they hold, picklable. They compute nothing: a class here stands for
the entry of the core's catalogue with the same name.
"""

from __future__ import annotations

from dataclasses import MISSING, astuple, dataclass, fields
from typing import Any, ClassVar, Self

from ntkrs import _numbers


@dataclass(frozen=True)
class Elementwise:
    """An activation function, applied to each unit. Use one of its subclasses."""

    #: The name that :func:`mlp` and the core know it by.
    name: ClassVar[str]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Refuse to make an activation that is none in particular."""
        if cls is Elementwise:
            raise TypeError("Elementwise is no activation itself. Use one of its subclasses, such as Relu().")
        return super().__new__(cls)

    def spec(self) -> tuple[str, tuple[float, ...]]:
        """Return the name and the parameters."""
        return self.name, astuple(self)


@dataclass(frozen=True)
class Identity(Elementwise):
    """``φ(x) = x``: a linear network."""

    name = "identity"


@dataclass(frozen=True)
class Relu(Elementwise):
    """``φ(x) = max(x, 0)``, with ``φ'(0) = 0``. Its kernels: Cho & Saul (2009)."""

    name = "relu"


@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """``φ(x) = max(x, 0) + slope · min(x, 0)``, with ``φ'(0) = slope``."""

    name = "leaky_relu"

    slope: float = 0.01

    def __post_init__(self) -> None:
        """Check the slope."""
        object.__setattr__(self, "slope", _numbers.real(self.slope, "slope"))


@dataclass(frozen=True)
class Abs(Elementwise):
    """``φ(x) = |x|``, with ``φ'(0) = 0``."""

    name = "abs"


@dataclass(frozen=True)
class Erf(Elementwise):
    """``φ(x) = erf(x)``. Its kernels: Williams (1997)."""

    name = "erf"


@dataclass(frozen=True)
class Tanh(Elementwise):
    """``φ(x) = tanh(x)``. For finite networks: its infinite-width kernel has no closed form."""

    name = "tanh"


def by_name(name: str) -> Elementwise:
    """Return the activation of that name, with its default parameters.

    Raises
    ------
    ValueError
        If there is none, or it has a parameter without a default.
    """
    known = {cls.name: cls for cls in Elementwise.__subclasses__()}
    if name not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"activation is {name!r}, but must be one of {names}, or an activation object")
    cls = known[name]
    required = [field.name for field in fields(cls) if field.default is MISSING]
    if required:
        raise ValueError(
            f"activation is {name!r}, but {cls.__name__} has no default {required[0]}: "
            f"pass an object, {cls.__name__}(...)"
        )
    return cls()
