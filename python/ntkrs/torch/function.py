"""Kernels as functions that PyTorch differentiates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import torch

from ntkrs._checks import arrays, tensors

if TYPE_CHECKING:
    from ntkrs._typing import Array
    from ntkrs.torch.evaluation import Evaluation


class Plan(NamedTuple):
    """The part of a call that has no gradient."""

    #: The kernel, and the choice of what is returned.
    evaluation: Evaluation
    #: True if Z has the values of X: half of the kernel is computed then.
    same: bool

    def arrays(self, x: Any, z: Any) -> tuple[Array, Array | None]:
        """Return the inputs of the kernel; None for a second one with the values of the first."""
        return tensors.array(x), None if z is None or self.same else tensors.array(z)


class KernelValues(torch.autograd.Function):  # type: ignore[misc]  # torch is read as Any
    """K(X, Z), (N, M), or its entries K(x_i, z_i), as a function of X, Z or None, σ_w and σ_b."""

    @staticmethod
    def forward(x: Any, z: Any, sigma_w: Any, sigma_b: Any, plan: Plan) -> Any:  # noqa: ARG004  the plan has the scales
        """Return the kernel."""
        return torch.from_numpy(plan.evaluation.values(*plan.arrays(x, z)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        """Keep the inputs for the backward pass."""
        *tensors_of_call, ctx.plan = inputs
        ctx.save_for_backward(*tensors_of_call)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
        """Return the gradients of a loss, given that with respect to the kernel."""
        return (*KernelGradients.apply(gradient, *ctx.saved_tensors, ctx.plan, ctx.needs_input_grad[:4]), None)


class KernelGradients(torch.autograd.Function):  # type: ignore[misc]  # torch is read as Any
    """The backward pass of :class:`KernelValues`, by ``kernel.input_gradient`` and ``kernel.gradient``.

    It is a function of its own so that a second backward pass is an error. Without it, torch would take these gradients
    for constants.
    """

    @staticmethod
    def forward(
        gradient: Any, x: Any, z: Any, sigma_w: Any, sigma_b: Any, plan: Plan, needed: tuple[bool, ...]
    ) -> tuple[Any, ...]:
        """Return the gradients with respect to X, Z, σ_w and σ_b; None for those that are not needed."""
        weights = arrays.finite(tensors.array(gradient), "the gradient of the loss with respect to the kernel")
        found: list[Any] = [None] * 4
        if needed[0] or needed[1]:
            found[:2] = _input_gradients(plan, (x, z), weights, needed)
        if needed[2] or needed[3]:
            both = plan.evaluation.scale_gradients(*plan.arrays(x, z), weights)
            for index, values, scales in zip((2, 3), both, (sigma_w, sigma_b), strict=True):
                # The kernel is even in each scale: its derivative at −σ is minus that at σ.
                found[index] = torch.from_numpy(values).to(scales.dtype) * scales.sign()
        return tuple(found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep nothing: there is no backward pass."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> NoReturn:
        """Raise an error: second derivatives are not computed.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            "ntkrs.torch.Kernel has no second derivatives, but a gradient of one of its gradients is needed. Use "
            "gradient.detach() where it may count as a constant, or optimizers of first order."
        )


def _input_gradients(plan: Plan, inputs: tuple[Any, Any], weights: Array, needed: tuple[bool, ...]) -> list[Any]:
    """Return the gradients with respect to X and Z. Without Z, each row of X is a first and a second input."""
    x, z = inputs
    turned, one = weights if weights.ndim == 1 else weights.T, plan.evaluation.input_gradient
    rows = tensors.array(x)
    if z is None:
        return [torch.from_numpy(one(rows, None, np.add(weights, turned, dtype=np.float64))), None]
    found = [
        one(*plan.arrays(x, z), weights) if needed[0] else None,
        one(tensors.array(z), None if plan.same else rows, turned) if needed[1] else None,
    ]
    return [None if values is None else torch.from_numpy(values) for values in found]
