"""Checks of PyTorch tensors. Nothing here imports torch: whoever has a tensor has imported it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ntkrs._checks.advice import shown

if TYPE_CHECKING:
    from ntkrs._typing import Array


def on_cpu(tensor: Any, name: str) -> Any:
    """Return ``tensor`` if NumPy can read its memory: a dense tensor of float32 or float64 on the CPU.

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If it is on another device. The message names it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is {shown(tensor)}, but a torch.Tensor is needed. Pass torch.as_tensor({name}).")
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} is on {tensor.device}, but kernels are computed on the CPU. Pass {name}.cpu().")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} has layout {tensor.layout}, but must be dense. Pass {name}.to_dense().")
    if tensor.dtype not in {torch.float32, torch.float64}:
        raise TypeError(f"{name} has dtype {tensor.dtype}, but float32 or float64 is needed. Pass {name}.double().")
    return tensor


def rows(tensor: Any, name: str) -> Any:
    """Return ``tensor`` if it is a batch of inputs (N, n_0), or several batches (..., N, n_0).

    Raises
    ------
    TypeError, ValueError
        If it has fewer than two axes, or no batch, or as for :func:`on_cpu`.
    """
    if on_cpu(tensor, name).ndim < 2:
        shape = tuple(tensor.shape)
        raise ValueError(
            f"{name} has shape {shape}, but (N, n_0), or (..., N, n_0) for several batches, is needed. "
            f"Use {name}.reshape(1, -1) for one sample, {name}.reshape(-1, 1) for one feature."
        )
    if 0 in tensor.shape[:-2]:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but at least 1 batch is needed")
    return tensor


def pair(x: Any, z: Any) -> tuple[Any, Any]:
    """Return two batches of inputs, X and Z or None, of one dtype and with the same number of features.

    Raises
    ------
    TypeError, ValueError
        If they differ in them, or in the leading axes of several batches, or as for :func:`rows`.
    """
    rows(x, "X")
    if z is None:
        return x, None
    if rows(z, "Z").dtype != x.dtype:
        raise TypeError(f"Z has dtype {z.dtype}, but X has {x.dtype}: both must be the same. Pass Z.to(X.dtype).")
    shapes = tuple(x.shape), tuple(z.shape)
    if shapes[0][-1] != shapes[1][-1]:
        raise ValueError(f"Z has {shapes[1][-1]} features, but X has {shapes[0][-1]} (both must be n_0)")
    for ours, theirs in zip(shapes[0][-3::-1], shapes[1][-3::-1], strict=False):
        if ours != theirs and 1 not in {ours, theirs}:
            raise ValueError(f"Z has shape {shapes[1]}, but X has {shapes[0]}: their batches do not fit each other")
    return x, z


def array(tensor: Any) -> Array:
    """Return a tensor's values as an array that shares its memory, where it can."""
    values: Array = tensor.detach().resolve_neg().numpy()
    return values


def scales(tensor: Any, name: str, layers: int) -> list[float]:
    """Return the absolute values of a parameter (L,) that holds the scales of all dense layers.

    Raises
    ------
    ValueError
        If its shape is another one, or a scale is not finite. The message names the layer.
    TypeError
        As for :func:`on_cpu`.
    """
    if tuple(on_cpu(tensor, name).shape) != (layers,):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but {(layers,)} is needed: one for each dense layer")
    found = tensor.detach().abs().tolist()
    for index, value in enumerate(found):
        if not value < float("inf"):
            raise ValueError(
                f"{name} holds {value} at dense layer {index}, but must be finite. Did training diverge? Use a smaller "
                "learning rate."
            )
    return [float(value) for value in found]
