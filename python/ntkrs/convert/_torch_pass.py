"""Forward and backward passes of a torch module, with hooks on its layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import numbers
from ntkrs._checks.advice import shown
from ntkrs.convert._torch_calls import Call, array, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: The arrays of one call in a batch, by their names; all have the same first axis.
Arrays = dict[str, "NDArray[Any]"]


class Tape:
    """The layers of a module that are recorded, and the passes that record them.

    Parameters
    ----------
    torch : module
        The library that the module is of.
    parameters : dict
        The parameters to record, by name.
    outputs : str, int or callable
        The outputs to differentiate.
    """

    def __init__(self, torch: Any, module: Any, parameters: dict[str, Any], outputs: Any) -> None:
        self._torch, self._module, self._outputs = torch, module, outputs
        self.parameters = parameters
        wanted = {id(parameter) for parameter in parameters.values()}
        self._layers = [
            (name or "module", layer)
            for name, layer in module.named_modules()
            if any(id(parameter) in wanted for parameter in layer.parameters(recurse=False))
        ]
        #: False if the outputs have no axis of their own.
        self.several = True

    def owner(self, name: str) -> Any:
        """Return the module that a parameter of this name belongs to."""
        return self._module.get_submodule(name.rpartition(".")[0])

    def run(self, inputs: tuple[Any, ...]) -> tuple[list[Call], list[Arrays]]:
        """Return the calls of the recorded layers for a batch, and their arrays."""
        calls: list[Call] = []
        values = self._forward(inputs, calls)
        count = values.shape[1]
        collected: list[Arrays] = [{} for _ in calls]
        for call, arrays in zip(calls, collected, strict=True):
            if call.kind in {"linear", "lookup"}:
                arrays["entering"] = array(call.entering)
        for output in range(count if calls else 0):
            gradients = self._gradients(values[:, output], [call.output for call in calls], last=output == count - 1)
            for call, gradient, arrays in zip(calls, gradients, collected, strict=True):
                leaving = call.leaving(gradient)
                if call.kind == "lookup" and call.module.padding_idx is not None:
                    leaving = leaving * (call.entering != call.module.padding_idx)[..., None]
                self._store(call.arrays(leaving), arrays, output, count)
        return calls, collected

    def _store(self, found: Arrays, arrays: Arrays, output: int, count: int) -> None:
        """Store the arrays of one output, along a last axis if there are several."""
        for name, values in found.items():
            if not self.several:
                arrays[name] = values
                continue
            if output == 0:
                arrays[name] = np.empty((*values.shape, count), values.dtype)
            arrays[name][..., output] = values

    def parameter_gradients(self, inputs: tuple[Any, ...], wanted: list[Any]) -> Iterator[list[Any]]:
        """Yield the gradients of each output with respect to parameters, for a batch of one sample; None if unused."""
        values = self._forward(inputs, None)
        count = values.shape[1]
        for output in range(count):
            yield self._gradients(values[:, output], wanted, last=output == count - 1)

    def _gradients(self, values: Any, tensors: list[Any], *, last: bool) -> list[Any]:
        """Return the gradients of a sum of outputs with respect to tensors; None for a tensor that has no effect."""
        if not tensors:
            return []
        if not values.requires_grad:
            return [None] * len(tensors)
        total = values.sum()
        return list(self._torch.autograd.grad(total, tensors, retain_graph=not last, allow_unused=True))

    def _forward(self, inputs: tuple[Any, ...], calls: list[Call] | None) -> Any:
        """Return the outputs (N, O) of a batch. If ``calls`` is a list, add the calls of all recorded layers to it."""
        handles = []
        try:
            for name, layer in self._layers if calls is not None else ():
                read = reader(self._torch, layer)
                if read is not None:
                    hook = _hook(name, read, calls, len(inputs[0]))
                    handles.append(layer.register_forward_hook(hook, with_kwargs=True))
            with self._torch.enable_grad():
                return self._selected(self._module(*inputs), len(inputs[0]))
        finally:
            for handle in handles:
                handle.remove()

    def _selected(self, result: Any, samples: int) -> Any:
        """Return the outputs to differentiate, (N, O), given the values of the module."""
        if callable(self._outputs):
            result = self._outputs(result)
        is_tensor = isinstance(result, self._torch.Tensor)
        if not is_tensor or result.ndim not in {1, 2} or len(result) != samples:
            what = "outputs" if callable(self._outputs) else "the module"
            raise ValueError(
                f"{what} returned {shown(result) if is_tensor else f'a {type(result).__name__}'}, but a tensor (N,) "
                f"or (N, O) of N = {samples} samples is needed. Pass a function that makes one, such as "
                "outputs=lambda y: y[:, -1]."
            )
        if result.ndim == 1:
            result = result[:, None]
            self.several = False
        count = result.shape[1]
        selection = "full" if callable(self._outputs) else numbers.selection(self._outputs, count)
        if isinstance(selection, int):
            self.several = False
            return result[:, selection : selection + 1]
        if selection == "sum":
            self.several = False
            return result.sum(1, keepdim=True) / math.sqrt(count)
        return result


def _hook(
    name: str, read: Callable[[str, Any, Any, Any], Call], calls: list[Call] | None, samples: int
) -> Callable[..., Any]:
    """Return a forward hook that adds the call of a layer to ``calls``."""

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        entered = args[0] if args else next(iter(kwargs.values()))
        where = f"{name} ({type(module).__name__})"
        if not output.requires_grad:
            raise ValueError(
                f"{where} is trained, but ran without gradients. Remove torch.no_grad or detach from the module."
            )
        if entered.ndim < 1 or len(entered) != samples:
            raise ValueError(
                f"{where} was called with {shown(entered)}, but its first axis must be that of the {samples} samples"
            )
        if calls is not None:
            calls.append(read(name, module, entered, output))
        # A copy: the module may change the values in place, and the gradients are those before.
        return output.clone()

    return hook


def batches(inputs: tuple[Any, ...], size: int) -> Iterator[tuple[slice, tuple[Any, ...]]]:
    """Yield the rows of each batch, and its inputs."""
    for start in range(0, len(inputs[0]), size):
        rows = slice(start, min(start + size, len(inputs[0])))
        yield rows, tuple(tensor[rows] for tensor in inputs)
