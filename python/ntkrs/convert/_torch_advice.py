"""Ways out for PyTorch modules that cannot be read, without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Modules that hold another one as ``module``.
_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "AveragedModel")

#: The way out that is open to every module.
_ANY_NETWORK = "For networks of any layers, ntkrs.convert.record and ntkrs.empirical_ntk give the NTK."


def instead_of(module: Any, where: str) -> str:
    """Return what to pass instead of a module that cannot be read, to be appended to a message."""
    return next((f" {hint}" for applies, hint in _cases(module, where) if applies), "")


def _cases(module: Any, where: str) -> Iterator[tuple[bool, str]]:
    """Yield pairs: True if a hint applies to the module, and the hint. The first that applies counts."""
    kind = type(module)
    names = [cls.__name__ for cls in kind.__mro__]
    yield isinstance(module, Mapping), "A state dict is read by from_state_dict."
    yield hasattr(module, "_orig_mod"), f"It is compiled. Pass the module within: {where}._orig_mod."
    yield names[0] in _WRAPPERS, f"It wraps another module. Pass that: {where}.module."
    yield (
        hasattr(module, "parametrizations"),
        "Its weight is computed from others. First call torch.nn.utils.parametrize.remove_parametrizations.",
    )
    yield "LazyModuleMixin" in names, "Its weight has no shape yet. Call the module once first."
    yield (
        next((cls.__name__ for cls in kind.__mro__ if "forward" in vars(cls)), "") == "Sequential",
        f"A subclass that computes the same is read as torch.nn.Sequential(*{where}).",
    )
    is_module = hasattr(module, "state_dict")
    of_torch = kind.__module__.partition(".")[0] == "torch" and "ScriptModule" not in names
    state = f"pass from_state_dict({where}.state_dict(), activation=...)"
    yield is_module and not of_torch, f"If it applies its dense layers one after another, {state}. {_ANY_NETWORK}"
    yield is_module, _ANY_NETWORK
