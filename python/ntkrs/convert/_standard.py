"""The last step of every reader: dense layers and activations, in order, become an architecture and its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ntkrs._checks import arrays
from ntkrs.activations import Identity
from ntkrs.layers import Dense, Sequential

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ntkrs._architecture import Layer
    from ntkrs._typing import Array, ArrayLike
    from ntkrs.activations import Elementwise


class Standard(NamedTuple):
    """A network in the standard parameterization, ``h^{l+1} = x^l V^l + c^l``.

    Attributes
    ----------
    arch : Sequential
        The architecture. The scales of all layers are None, unknown, but ``sigma_b`` is 0 for layers without biases.
    weights : list of (n_l, n_{l+1}) ndarray
        The weights V^l.
    biases : list of (n_{l+1},) ndarray or None
        The biases c^l; None for layers without biases.
    """

    arch: Sequential
    weights: list[Array]
    biases: list[Array | None]


class Found(NamedTuple):
    """An array, the user's expression for it, for messages, and True if the model trains it."""

    name: str
    values: ArrayLike
    trainable: bool = True


@dataclass(frozen=True)
class Affine:
    """A dense layer ``x · weight + bias``, the place where it was found, for messages, and True if it is trained."""

    where: str
    weight: Array
    bias: Array | None
    trainable: bool


@dataclass(frozen=True)
class Pointwise:
    """An activation, and the place where it was found, for messages."""

    where: str
    activation: Elementwise


#: One item of the sequence that a reader yields, in order of application.
Step: TypeAlias = Affine | Pointwise


def affine(where: str, weight: Found, bias: Found | None, *, outputs_first: bool = False) -> Affine:
    """Check the arrays of one dense layer, and return it.

    With ``outputs_first`` the weight is (n_{l+1}, n_l), as in torch, otherwise (n_l, n_{l+1}).

    Raises
    ------
    TypeError, ValueError
        If an array does not consist of finite real numbers, or has the wrong shape, or if one of the two is frozen and
        the other is not.
    """
    values = arrays.floating(weight.values, weight.name)
    layout = "(outputs, inputs)" if outputs_first else "(inputs, outputs)"
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{weight.name} has shape {values.shape}, but a dense layer has {layout}; no other layer can be read"
        )
    values = arrays.finite(values, weight.name)
    values = values.T if outputs_first else values
    if bias is None:
        return Affine(where, values, None, weight.trainable)
    shifts = arrays.floating(bias.values, bias.name)
    if shifts.shape != values.shape[1:]:
        raise ValueError(f"{bias.name} has shape {shifts.shape}, but {weight.name} has {values.shape[1]} outputs")
    if weight.trainable != bias.trainable:
        frozen, other = (bias, weight) if weight.trainable else (weight, bias)
        raise ValueError(
            f"{frozen.name} is frozen, but {other.name} is not: a layer is trained as a whole, or not at all. "
            "Freeze both, or neither."
        )
    return Affine(where, values, arrays.finite(shifts, bias.name), weight.trainable)


def interleave(dense: Sequence[Affine], activations: Sequence[Elementwise]) -> Iterator[Step]:
    """Yield the dense layers, with one activation between consecutive ones."""
    for index, layer in enumerate(dense):
        if index:
            yield Pointwise(f"activation {index - 1}", activations[index - 1])
        yield layer


def assemble(steps: Iterable[Step]) -> Standard:
    """Assemble one network from dense layers and activations.

    There may be one activation between two dense layers; identities are ignored. Where two dense layers follow each
    other directly, the architecture has an Identity.

    Raises
    ------
    ValueError
        If there is no dense layer, widths do not fit, or an activation is not between two dense layers.
    """
    dense: list[Affine] = []
    layers: list[Layer] = []
    pending: Pointwise | None = None
    for step in steps:
        if isinstance(step, Pointwise):
            pending = _joined(dense, pending, step)
            continue
        if dense:
            _check_widths(dense[-1], step)
            layers.append(Identity() if pending is None else pending.activation)
        layers.append(Dense(step.weight.shape[1], None, 0.0 if step.bias is None else None, step.trainable))
        dense.append(step)
        pending = None
    if not dense:
        raise ValueError("there is no dense layer, but a network needs at least one")
    if pending is not None:
        raise ValueError(
            f"{pending.where} comes after the last dense layer, whose values are what a network returns. "
            "Leave it out, and apply it to these."
        )
    return Standard(Sequential(*layers), [layer.weight for layer in dense], [layer.bias for layer in dense])


def _joined(dense: Sequence[Affine], pending: Pointwise | None, step: Pointwise) -> Pointwise | None:
    """Return the activation after the last dense layer once ``step`` is applied, ``pending`` for an identity."""
    if isinstance(step.activation, Identity):
        return pending
    if not dense:
        raise ValueError(
            f"{step.where} comes before the first dense layer, with which a network begins. "
            "Leave it out, and apply it to the inputs."
        )
    if pending is not None:
        raise ValueError(f"{step.where} follows {pending.where}, but between two dense layers there is one activation")
    return step


def _check_widths(before: Affine, after: Affine) -> None:
    """Check that a dense layer has as many inputs as the layer before it has outputs."""
    outputs, inputs = before.weight.shape[1], after.weight.shape[0]
    if inputs != outputs:
        raise ValueError(f"{after.where} has {inputs} inputs, but {before.where} before it has {outputs} outputs")
