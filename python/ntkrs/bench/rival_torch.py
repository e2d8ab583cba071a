"""The rival: the same work in PyTorch, derivatives by ``torch.func``.

The empirical NTK contracts Jacobians, as torch's own tutorial has it, which is what most of its users do.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import memory
from ntkrs._runtime.threads import get_num_threads

with suppress(ImportError):  # optional: without it this side is not run
    import torch

    torch.set_num_threads(get_num_threads())

if TYPE_CHECKING:
    from collections.abc import Callable

    from ntkrs.bench.measure import Prepared


def _tensor(array: Any) -> Any:
    return torch.from_numpy(np.array(array))


def _numpy(result: Any) -> Any:
    return tuple(map(_numpy, result)) if isinstance(result, tuple) else result.detach().numpy()


def linear(x: Any) -> Prepared:
    """The Gram matrix X Xᵀ."""
    x = _tensor(x)
    return lambda: x @ x.T, _numpy


def infinite(x: Any, depth: int, sigma_w: float, sigma_b: float, activation: str) -> Prepared:
    """NNGP and NTK, (N, N) each: the recursion, in place where it can be."""
    x = _tensor(x)
    duals = {"relu": _relu_duals_, "erf": _erf_duals_}[activation]

    def work() -> Any:
        nngp = (x @ x.T).mul_(sigma_w**2 / x.shape[1]).add_(sigma_b**2)
        ntk = nngp.clone()
        for _ in range(depth):
            dual_dot = duals(nngp)
            nngp.mul_(sigma_w**2).add_(sigma_b**2)
            ntk.mul_(dual_dot.mul_(sigma_w**2)).add_(nngp)
        return nngp, ntk

    return work, _numpy


def _relu_duals_(c: Any) -> Any:
    """Turn ``c`` into its dual, and return the dual of the derivative."""
    roots = c.diagonal().sqrt()
    scale = torch.outer(roots, roots)
    rho = c.div_(scale).clamp_(-1, 1)
    dual_dot = rho.acos().neg_().add_(pi).mul_(1 / (2 * pi))
    sine = torch.addcmul(torch.ones((), dtype=c.dtype), rho, rho, value=-1).sqrt_()
    c.mul_(dual_dot).add_(sine, alpha=1 / (2 * pi)).mul_(scale)
    return dual_dot


def _erf_duals_(c: Any) -> Any:
    """Turn ``c`` into its dual, and return the dual of the derivative."""
    roots = (1 + 2 * c.diagonal()).sqrt()
    scale = torch.outer(roots, roots)
    ratio = c.mul_(2).div_(scale)
    cosine = torch.addcmul(torch.ones((), dtype=c.dtype), ratio, ratio, value=-1).sqrt_()
    c.asin_().mul_(2 / pi)
    return scale.mul_(cosine).reciprocal_().mul_(4 / pi)


def _network(theta: Any, x: Any, sigma_w: float, sigma_b: float) -> Any:
    """A ReLU network; ``theta`` are the weights and biases in turn."""
    last = len(theta) // 2 - 1
    for layer, (weight, bias) in enumerate(zip(theta[::2], theta[1::2], strict=True)):
        x = sigma_w / weight.shape[0] ** 0.5 * (x @ weight) + sigma_b * bias
        x = torch.relu(x) if layer < last else x
    return x


def _theta(weights: Any, biases: Any) -> Any:
    return [_tensor(array) for pair in zip(weights, biases, strict=True) for array in pair]


def _jacobians(theta: Any, x: Any, sigma_w: float, sigma_b: float) -> Callable[[], Any]:
    """What returns an array (N, O, ...) for each weight and bias."""
    items = len(x) * theta[-1].numel() * sum(part.numel() for part in theta)
    # A quarter more than the Jacobians themselves: with one output they take 1.02 times their size.
    memory.require(items * x.element_size() * 5 // 4, "the Jacobian", "It is what torch.func contracts.")
    one = torch.func.jacrev(partial(_network, sigma_w=sigma_w, sigma_b=sigma_b))
    all_rows = torch.func.vmap(one, (None, 0))
    all_rows(theta, x[:1])  # torch imports its parts when they are used first: no memory of the work
    return partial(all_rows, theta, x)


def empirical(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any, form: str) -> Prepared:
    """The empirical NTK of a ReLU network: Jacobians by all parameters, contracted."""
    jacobians = _jacobians(_theta(weights, biases), _tensor(x), sigma_w, sigma_b)
    contraction = "nap,mbp->nmab" if form == "full" else "nap,map->nm"

    def work() -> Any:
        kernel: Any = 0.0
        for part in jacobians():
            flat = part.flatten(2)
            kernel = torch.einsum(contraction, flat, flat) + kernel
        return kernel

    return work, _numpy


def jacobian(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any) -> Prepared:
    """Per-sample Jacobians, an array (N, O, ...) for each weight and bias."""
    jacobians = _jacobians(_theta(weights, biases), _tensor(x), sigma_w, sigma_b)
    return jacobians, lambda result: np.concatenate([part.flatten(2).numpy() for part in result], axis=-1)


def train(
    weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any, y: Any, learning_rate: float, steps: int
) -> Prepared:
    """Full-batch gradient descent on 1/(2NO) Σ (f − y)²: the parameters after ``steps``."""
    theta, (x, y) = _theta(weights, biases), (_tensor(x), _tensor(y))

    def work(count: int) -> Any:
        trained = [part.clone().requires_grad_() for part in theta]
        optimizer = torch.optim.SGD(trained, learning_rate)
        for _ in range(count):
            optimizer.zero_grad()
            (_network(trained, x, sigma_w, sigma_b).sub(y).square().sum() / (2 * y.numel())).backward()
            optimizer.step()
        return trained

    work(1)  # torch imports its parts when they are used first: no memory of the work
    return partial(work, steps), lambda result: np.concatenate([part.detach().numpy().ravel() for part in result])
