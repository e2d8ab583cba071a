"""Reading PyTorch modules and state dicts, without importing torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ntkrs.convert._activations import hidden, named
from ntkrs.convert._names import in_order
from ntkrs.convert._standard import Affine, Found, Pointwise, Standard, Step, affine, assemble, interleave
from ntkrs.convert._torch_advice import instead_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Activations without parameters.
_PLAIN = ("ReLU", "Tanh", "Sigmoid", "SiLU", "SELU", "Softsign", "Mish")

#: Modules that do not change (N, n_0) rows in evaluation mode.
_NEUTRAL = ("Identity", "Dropout", "AlphaDropout", "Flatten")

_READABLE = ("Sequential", "Linear", *_NEUTRAL, *_PLAIN, "LeakyReLU", "ELU", "CELU", "Softplus", "GELU")


def read_module(module: Any) -> Standard:
    """Read a Linear, or a Sequential of Linears, activations and Sequentials."""
    return assemble(_steps(module, "module", {}))


def read_state(state: Any, activation: Any, layers: Sequence[str] | None) -> Standard:
    """Read a mapping with ``name.weight`` (out, in) and ``name.bias`` (out,)."""
    if not isinstance(state, Mapping):
        hint = " Pass module.state_dict(), or the module to from_torch." if hasattr(state, "state_dict") else ""
        raise TypeError(f"state is a {type(state).__name__}, but a mapping of names to arrays is needed.{hint}")
    grouped = _by_layer(state, layers)
    dense = []
    for name in in_order(grouped, layers):
        where = f"layer {name!r}"
        if "weight" not in grouped[name]:
            raise ValueError(f"{where} has a bias, but no weight")
        dense.append(affine(where, grouped[name]["weight"], grouped[name].get("bias"), outputs_first=True))
    return assemble(interleave(dense, hidden(activation, max(len(dense) - 1, 0), {})))


def _by_layer(state: Mapping[Any, Any], layers: Sequence[str] | None) -> dict[str, dict[str, Found]]:
    """Group the arrays by layer and kind. If ``layers`` are given, all others are ignored."""
    result: dict[str, dict[str, Found]] = {}
    for key, value in state.items():
        name, _, kind = str(key).rpartition(".")
        if layers is not None and name not in layers:
            continue
        if isinstance(value, Mapping):
            raise TypeError(f"state holds {key!r}, which is a mapping itself. Pass it alone: state[{key!r}]")
        if kind not in {"weight", "bias"}:
            raise ValueError(
                f"state holds {key!r}, but dense layers have names that end in 'weight' or 'bias'; no other layer can "
                "be read. To read some layers only, name them: layers=[...]"
            )
        result.setdefault(name, {})[kind] = _found(f"state[{key!r}]", value)
    return result


def _steps(module: Any, where: str, seen: dict[int, str]) -> Iterator[Step]:
    """Yield the dense layers and activations of a module, in order; ``seen`` names the parameters met so far by id."""
    kind = _kind(module, where)
    if getattr(module, "_forward_hooks", None) or getattr(module, "_forward_pre_hooks", None):
        raise ValueError(
            f"{where} ({kind}) has forward hooks, which may change what it computes. Remove them first; "
            "torch.nn.utils has functions for those of weight_norm, spectral_norm and pruning."
        )
    if kind == "Sequential":
        for index, child in enumerate(module):
            yield from _steps(child, f"{where}[{index}]", seen)
    elif kind == "Linear":
        yield _linear(module, where, seen)
    elif kind not in _NEUTRAL:
        yield Pointwise(f"{where} ({kind})", _activation(module, kind, f"{where} ({kind})"))
    elif kind == "Flatten" and (module.start_dim, module.end_dim) != (1, -1):
        raise ValueError(
            f"{where} (Flatten) has start_dim={module.start_dim}, end_dim={module.end_dim}, but only 1 and -1 make "
            "(N, n_0) rows"
        )


def _kind(module: Any, where: str) -> str:
    """Return the name of the module's class, or raise TypeError if the class cannot be read.

    If torch is loaded, the class must be torch's own: another class of the same name may compute anything.
    """
    kind = type(module).__name__
    own = getattr(sys.modules.get("torch"), "nn", None)
    if kind in _READABLE and (own is None or type(module) is getattr(own, kind, None)):
        return kind
    found = f"{type(module).__module__}.{type(module).__qualname__}"
    hint = instead_of(module, where)
    raise TypeError(f"{where} is a {found}, which cannot be read. These of torch.nn can: {', '.join(_READABLE)}.{hint}")


def _linear(module: Any, where: str, seen: dict[int, str]) -> Affine:
    """Read a Linear. Its parameters must not belong to another layer as well."""
    named_parameters = {f"{where}.weight": module.weight, f"{where}.bias": module.bias}
    for name, parameter in named_parameters.items():
        if parameter is not None and seen.setdefault(id(parameter), name) != name:
            raise ValueError(
                f"{name} is also {seen[id(parameter)]}, but the parameters of a Network are independent: "
                "its NTK would be another"
            )
    weight, bias = (None if value is None else _parameter(name, value) for name, value in named_parameters.items())
    return affine(f"{where} (Linear)", cast("Found", weight), bias, outputs_first=True)


def _activation(module: Any, kind: str, where: str) -> Any:
    """Return the activation that computes the same function as a torch module of this class."""
    if kind in _PLAIN:
        return named(kind, where)
    if kind == "LeakyReLU":
        return named(kind, where, slope=(module.negative_slope, 0.01))
    if kind == "ELU":
        return named(kind, where, alpha=(module.alpha, 1.0))
    if kind == "CELU":
        if module.alpha != 1:
            raise ValueError(f"{where} has alpha={module.alpha}. Only alpha=1, which is an ELU, can be read")
        return named("elu", where, alpha=(1.0, 1.0))
    if kind == "GELU":
        return named("gelutanh" if module.approximate == "tanh" else kind, where)
    if module.threshold < 20:
        raise ValueError(
            f"{where} has threshold={module.threshold}, and is x itself beyond it; only from 20 on does that differ "
            "from softplus by less than 1e-10 of it"
        )
    return named(kind, where, beta=(module.beta, 1.0))


def _parameter(name: str, parameter: Any) -> Found:
    """Return the values of a parameter of a module; ``requires_grad`` tells whether it is trained."""
    return _found(name, parameter)._replace(trainable=bool(getattr(parameter, "requires_grad", True)))


def _found(name: str, tensor: Any) -> Found:
    """Return the values of a tensor as a NumPy array. bfloat16 is converted to float32, which NumPy can hold."""
    if not hasattr(tensor, "detach"):
        return Found(name, tensor)
    try:
        values = tensor.detach().cpu()
        return Found(name, (values.float() if "bfloat16" in str(values.dtype) else values).numpy())
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"{name} cannot be read as a NumPy array: {error}") from error
