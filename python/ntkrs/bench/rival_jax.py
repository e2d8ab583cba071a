"""The rival: the same work in JAX, compiled for the shapes at hand.

The formulas of the infinite kernels are those of neural-tangents, and XLA fuses what stands between two products.
Compiling is no part of what is timed, and every call waits for its result.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

with suppress(ImportError):  # optional: without it this side is not run
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # without it float64 would be float32

if TYPE_CHECKING:
    from collections.abc import Callable

    from ntkrs.bench.measure import Prepared


def _prepared(
    work: Callable[..., Any], *arguments: Any, read: Callable[[Any], Any] = lambda result: result
) -> Prepared:
    """Compile ``work`` for these arguments, which lie where JAX wants them."""
    placed = jax.device_put(arguments)
    compiled = jax.jit(work).lower(*placed).compile()
    return lambda: jax.block_until_ready(compiled(*placed)), read


def linear(x: Any) -> Prepared:
    """The Gram matrix X Xᵀ."""
    return _prepared(lambda x: x @ x.T, x)


def infinite(x: Any, depth: int, sigma_w: float, sigma_b: float, activation: str) -> Prepared:
    """NNGP and NTK, (N, N) each."""
    duals = {"relu": _relu_duals, "erf": _erf_duals}[activation]
    return _prepared(partial(_infinite, depth=depth, variance=sigma_w**2, bias=sigma_b**2, duals=duals), x)


def _infinite(x: Any, depth: int, variance: float, bias: float, duals: Callable[..., Any]) -> Any:
    nngp = variance / x.shape[1] * (x @ x.T) + bias
    q = variance / x.shape[1] * jnp.sum(x * x, axis=1) + bias

    def layer(_: Any, state: Any) -> Any:
        nngp, ntk, q = state
        dual, dual_dot, dual_q = duals(nngp, q)
        nngp = variance * dual + bias
        return nngp, nngp + variance * dual_dot * ntk, variance * dual_q + bias

    # A loop, as XLA sees it: unrolled, 20 layers take twice the time and ten times the memory.
    return jax.lax.fori_loop(0, depth, layer, (nngp, nngp, q))[:2]


def _relu_duals(c: Any, q: Any) -> Any:
    root = jnp.sqrt(jnp.maximum(q[:, None] * q - c * c, 0))
    dual_dot = 0.5 - jnp.arctan2(root, c) / (2 * pi)
    return root / (2 * pi) + dual_dot * c, dual_dot, q / 2


def _erf_duals(c: Any, q: Any) -> Any:
    prod = (1 + 2 * q)[:, None] * (1 + 2 * q)
    dual = 2 / pi * jnp.arcsin(2 * c / jnp.sqrt(prod))
    return dual, 4 / pi / jnp.sqrt(prod - 4 * c * c), 2 / pi * jnp.arcsin(2 * q / (1 + 2 * q))


def empirical(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any, form: str) -> Prepared:
    """The empirical NTK of a ReLU network from two Gram matrices a layer, without a Jacobian."""
    return _prepared(partial(_empirical, sigma_w=sigma_w, sigma_b=sigma_b, form=form), weights, biases, x)


def _empirical(weights: Any, biases: Any, x: Any, sigma_w: float, sigma_b: float, form: str) -> Any:
    inputs, slopes = [x], []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        h = sigma_w / weight.shape[0] ** 0.5 * (inputs[-1] @ weight) + sigma_b * bias
        slopes.append(h > 0)
        inputs.append(jax.nn.relu(h))
    last, outputs = weights[-1], weights[-1].shape[1]
    deltas = [sigma_w / last.shape[0] ** 0.5 * last.T * slopes[-1][:, None]]
    for weight, slope in zip(weights[-2:0:-1], slopes[-2::-1], strict=True):
        deltas.insert(0, sigma_w / weight.shape[0] ** 0.5 * (deltas[0] @ weight.T) * slope[:, None])
    full = form == "full"
    products = [jnp.einsum("nai,mbi->nmab" if full else "nai,mai->nm", delta, delta) for delta in deltas]
    products.append(jnp.eye(outputs, dtype=x.dtype) if full else outputs)
    kernel = 0.0
    for values, weight, product in zip(inputs, weights, products, strict=True):
        gram = sigma_w**2 / weight.shape[0] * (values @ values.T) + sigma_b**2
        kernel = kernel + (gram[:, :, None, None] if full else gram) * product
    return kernel


def _network(theta: Any, x: Any, sigma_w: float, sigma_b: float) -> Any:
    """A ReLU network; ``theta`` are the pairs of weights and biases."""
    *hidden, last = theta
    for weight, bias in hidden:
        x = jax.nn.relu(sigma_w / weight.shape[0] ** 0.5 * (x @ weight) + sigma_b * bias)
    return sigma_w / last[0].shape[0] ** 0.5 * (x @ last[0]) + sigma_b * last[1]


def jacobian(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any) -> Prepared:
    """Per-sample Jacobians, an array (N, O, ...) for each weight and bias."""
    one = jax.jacrev(partial(_network, sigma_w=sigma_w, sigma_b=sigma_b))

    def joined(result: Any) -> Any:
        return np.concatenate([part.reshape(*part.shape[:2], -1) for pair in result for part in pair], axis=-1)

    return _prepared(jax.vmap(one, (None, 0)), list(zip(weights, biases, strict=True)), x, read=joined)


def train(
    weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any, y: Any, learning_rate: float, steps: int
) -> Prepared:
    """Full-batch gradient descent on 1/(2NO) Σ (f − y)²: the parameters after ``steps``."""
    network = partial(_network, sigma_w=sigma_w, sigma_b=sigma_b)

    def work(theta: Any, x: Any, y: Any) -> Any:
        slope = jax.grad(lambda theta: jnp.sum((network(theta, x) - y) ** 2) / (2 * y.size))

        def step(_: Any, theta: Any) -> Any:
            return jax.tree.map(lambda values, change: values - learning_rate * change, theta, slope(theta))

        return jax.lax.fori_loop(0, steps, step, theta)

    def joined(result: Any) -> Any:
        return np.concatenate([np.ravel(part) for pair in result for part in pair])

    return _prepared(work, list(zip(weights, biases, strict=True)), x, y, read=joined)
