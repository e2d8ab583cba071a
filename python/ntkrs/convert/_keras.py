"""Reading the weights of Keras models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays
from ntkrs.convert._activations import hidden
from ntkrs.convert._standard import Affine, Found, Standard, affine, assemble, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AMBIGUOUS = {
    "leaky_relu": "Keras has slope 0.2 in the function of that name and 0.3 in the layer. Pass LeakyRelu(slope).",
}


def read_weights(weights: Any, activation: Any) -> Standard:
    """Read a list of (kernel, bias) pairs, or the flat list that ``get_weights`` returns."""
    if hasattr(weights, "get_weights"):
        raise TypeError(f"weights is a {type(weights).__name__}, but a list is needed. Pass its get_weights().")
    given = arrays.sequence(weights, "weights")
    pairs = [isinstance(entry, tuple | list) for entry in given]
    if any(pairs) and not all(pairs):
        raise TypeError("weights mixes (kernel, bias) pairs with arrays, but must be a list of one or the other")
    dense = list(_from_pairs(given) if any(pairs) else _from_flat(given))
    return assemble(interleave(dense, hidden(activation, max(len(dense) - 1, 0), _AMBIGUOUS)))


def _from_pairs(pairs: Sequence[Sequence[Any]]) -> Iterator[Affine]:
    """Yield the dense layers of a list of pairs (kernel, bias), (kernel, None) or (kernel,)."""
    for index, pair in enumerate(pairs):
        if len(pair) not in {1, 2}:
            raise ValueError(f"weights[{index}] has {len(pair)} entries, but (kernel, bias) or (kernel,) is needed")
        kernel, bias = _found(f"weights[{index}][0]", pair[0]), pair[1] if len(pair) == 2 else None
        yield affine(f"layer {index}", kernel, None if bias is None else _found(f"weights[{index}][1]", bias))


def _from_flat(arrays: Sequence[Any]) -> Iterator[Affine]:
    """Yield the dense layers of a flat list of arrays.

    A matrix starts a layer, and a vector directly after it is the bias. No other array belongs to a dense layer.
    """
    layers: list[list[Found]] = []
    for index, array in enumerate(arrays):
        dimensions, found = np.ndim(array), _found(f"weights[{index}]", array)
        if dimensions == 2:
            layers.append([found])
        elif dimensions == 1 and layers and len(layers[-1]) == 1:
            layers[-1].append(found)
        else:
            raise ValueError(
                f"weights[{index}] has shape {np.shape(array)}, but each dense layer has a kernel (inputs, outputs), "
                "and one bias (outputs,) after it or none; no other layer can be read"
            )
    for number, (kernel, *bias) in enumerate(layers):
        yield affine(f"layer {number}", kernel, bias[0] if bias else None)


def _found(name: str, values: Any) -> Found:
    """Return an array, or a Keras variable, which tells by ``trainable`` whether it is trained."""
    return Found(name, values, bool(getattr(values, "trainable", True)))
