"""Calls of torch modules: the values that meet their parameters, and the gradients that leave them, as NumPy arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Call(NamedTuple):
    """One call of a module in a forward pass."""

    #: The module's name.
    name: str
    module: Any
    #: "linear", "lookup", "scale", or "grouped" for a convolution of several groups.
    kind: str
    #: The values that meet the weights, (N, T, n); (N, T) indices; (N, T, groups, n).
    entering: Any
    #: The tensor that the module returned.
    output: Any
    #: True if the second axis of the output is that of channels, False if its last one is.
    channels: bool

    def leaving(self, gradient: Any) -> Any:
        """Return the gradient with respect to the output as (N, T, m)."""
        if gradient is None:
            gradient = self.output.new_zeros(self.output.shape)
        if self.channels:
            return gradient.reshape(*gradient.shape[:2], -1).transpose(1, 2)
        width = math.prod(self.module.normalized_shape) if self.kind == "scale" else gradient.shape[-1]
        return gradient.reshape(len(gradient), -1, width)

    def trained(self, parameter: str) -> Any:
        """Return the module's ``weight`` or ``bias`` if it is trained, else None."""
        found = getattr(self.module, parameter, None)
        return found if found is not None and found.requires_grad else None

    def arrays(self, leaving: Any) -> dict[str, NDArray[Any]]:
        """Return the arrays of this call for one output, given its gradient (N, T, m).

        For a linear map or a lookup it is ``leaving``, otherwise per-sample gradients: ``weight`` and ``bias``.
        """
        if self.kind in {"linear", "lookup"}:
            return {"leaving": array(leaving)}
        found = {}
        if self.trained("weight") is not None:
            if self.kind == "scale":
                found["weight"] = array((self.entering * leaving).sum(1))
            else:
                groups = self.entering.shape[2]
                by_group = leaving.reshape(*leaving.shape[:2], groups, -1).permute(0, 2, 3, 1)
                found["weight"] = array((by_group @ self.entering.transpose(1, 2)).flatten(1))
        if self.trained("bias") is not None:
            found["bias"] = array(leaving.sum(1))
        return found


def array(tensor: Any) -> NDArray[Any]:
    """Return a tensor as a NumPy array, which shares its memory if it can. Types that NumPy lacks become float32."""
    values = tensor.detach().cpu()
    if values.is_floating_point() and values.dtype.itemsize < 4:
        values = values.float()
    found: NDArray[Any] = values.numpy()
    return found


def reader(torch: Any, module: Any) -> Callable[[str, Any, Any, Any], Call] | None:
    """Return the function that reads calls of modules of this class, or None if there is none.

    Subclasses are not read: they may compute anything.
    """
    nn = torch.nn
    readers: dict[Any, Callable[[Any, Any, Any], tuple[str, Any, bool]]] = {
        nn.Linear: _linear,
        nn.Embedding: _embedding,
        nn.Conv1d: _convolution,
        nn.Conv2d: _convolution,
        nn.Conv3d: _convolution,
        nn.LayerNorm: _layer_norm,
        nn.GroupNorm: _group_norm,
        nn.BatchNorm1d: _batch_norm,
        nn.BatchNorm2d: _batch_norm,
        nn.BatchNorm3d: _batch_norm,
        getattr(nn, "RMSNorm", None): _rms_norm,
    }
    read = readers.get(type(module))
    if read is None:
        return None

    def call(name: str, module: Any, entered: Any, output: Any) -> Call:
        if module.__class__ is nn.Embedding:
            _check_embedding(name, module)
        kind, entering, channels = read(nn.functional, module, entered.detach())
        return Call(name, module, kind, entering, output, channels)

    return call


def _linear(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    del functional, module
    return "linear", x.reshape(len(x), -1, x.shape[-1]), False


def _embedding(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    del functional, module
    return "lookup", x.reshape(len(x), -1), False


def _check_embedding(name: str, module: Any) -> None:
    """Check that the gradient of an embedding is the sum over its lookups.

    Raises
    ------
    ValueError
        If it is scaled, or the table is changed as it is read.
    """
    for option, plain in (("max_norm", None), ("scale_grad_by_freq", False)):
        if getattr(module, option) != plain:
            raise ValueError(
                f"{name} (Embedding) has {option}={getattr(module, option)}, which changes its table or its gradients. "
                f"Only {option}={plain} can be read."
            )


def _convolution(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    """Return the patches of the inputs of a convolution, (N, T, n) or (N, T, groups, n)."""
    groups, channels = module.groups, x.shape[1]
    if any(padding := _padding(module)):
        x = functional.pad(x, padding, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)
    sizes = zip(module.kernel_size, module.stride, module.dilation, strict=True)
    for axis, (size, stride, dilation) in enumerate(sizes):
        # Axis 2 + 2·axis becomes the places of the output along it, and the places within the kernel.
        at = 2 + 2 * axis
        starts = x.new_tensor(range(0, x.shape[at] - dilation * (size - 1), stride)).long()
        within = dilation * x.new_tensor(range(size)).long()
        index = (starts[:, None] + within).flatten()
        x = x.index_select(at, index).unflatten(at, (len(starts), size))
    dimensions = len(module.kernel_size)
    places = [2 + 2 * axis for axis in range(dimensions)]
    kernel = [3 + 2 * axis for axis in range(dimensions)]
    patches = x.permute(0, *places, 1, *kernel)
    count = math.prod(patches.shape[1 : 1 + dimensions])
    inputs = channels // groups * math.prod(module.kernel_size)
    if groups == 1:
        return "linear", patches.reshape(len(x), count, inputs), True
    return "grouped", patches.reshape(len(x), count, groups, inputs), True


def _padding(module: Any) -> list[int]:
    """Return the padding of a convolution, before and after each axis, the last axis first."""
    if module.padding == "valid":
        return []
    if module.padding == "same":
        sizes = zip(module.kernel_size, module.dilation, strict=True)
        totals = [dilation * (size - 1) for size, dilation in sizes]
        return [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
    return [side for padding in reversed(module.padding) for side in (padding, padding)]


def _layer_norm(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    normed = functional.layer_norm(x, module.normalized_shape, None, None, module.eps)
    return "scale", normed.reshape(len(x), -1, math.prod(module.normalized_shape)), False


def _rms_norm(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    normed = functional.rms_norm(x, module.normalized_shape, None, module.eps)
    return "scale", normed.reshape(len(x), -1, math.prod(module.normalized_shape)), False


def _group_norm(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    normed = functional.group_norm(x, module.num_groups, None, None, module.eps)
    return "scale", normed.reshape(*x.shape[:2], -1).transpose(1, 2), True


def _batch_norm(functional: Any, module: Any, x: Any) -> tuple[str, Any, bool]:
    statistics = (module.running_mean, module.running_var)
    normed = functional.batch_norm(x, *statistics, None, None, False, 0.0, module.eps)
    return "scale", normed.reshape(*x.shape[:2], -1).transpose(1, 2), True
