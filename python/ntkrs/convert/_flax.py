"""Reading the parameters of Flax modules, without importing JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ntkrs.convert._activations import hidden
from ntkrs.convert._names import in_order
from ntkrs.convert._standard import Found, Standard, affine, assemble, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AMBIGUOUS = {
    "gelu": "JAX computes its tanh approximation unless told approximate=False. Pass GeluTanh(), or if it was, Gelu().",
}


def read_params(params: Any, activation: Any, layers: Sequence[str] | None) -> Standard:
    """Read nested mappings whose leaves are ``kernel`` (in, out) and ``bias`` (out,)."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params is a {type(params).__name__}, but a nested mapping of names to arrays is needed")
    root = "params"
    if "params" in params:
        others = ", ".join(repr(name) for name in params if name != "params")
        if others:
            raise ValueError(
                f"params has other collections than 'params': {others}. Layers that keep a state cannot be read"
            )
        root, params = "params['params']", params["params"]
    found = dict(_dense(params, "", layers))
    dense = []
    for name in in_order(found, layers):
        place = root + "".join(f"[{part!r}]" for part in name.split("/") if part)
        arrays = {kind: Found(f"{place}[{kind!r}]", values) for kind, values in found[name].items()}
        dense.append(affine(f"layer {name!r}", arrays["kernel"], arrays.get("bias")))
    return assemble(interleave(dense, hidden(activation, max(len(dense) - 1, 0), _AMBIGUOUS)))


def _dense(tree: Any, path: str, layers: Sequence[str] | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the arrays of every dense layer. If ``layers`` are given, all others are ignored."""
    if isinstance(tree, Mapping) and "kernel" not in tree:
        for name, branch in tree.items():
            yield from _dense(branch, f"{path}/{name}" if path else str(name), layers)
    elif isinstance(tree, Mapping) and set(tree) <= {"kernel", "bias"}:
        yield path, tree
    elif layers is None:
        raise ValueError(
            f"params holds {path!r}, but dense layers have a 'kernel' and a 'bias' alone; no other layer can be read. "
            "To read some layers only, name them: layers=[...]"
        )
