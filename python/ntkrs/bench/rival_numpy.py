"""The rival: the same work by hand in NumPy, as good as it gets there."""

from __future__ import annotations

from typing import Any

import numpy as np


def infinite_relu(x: Any, depth: int, sigma_w: float, sigma_b: float, z: Any = None) -> tuple[Any, Any]:
    """NNGP and NTK of a ReLU network, (N, N) or (N, M) each: the arc-cosine recursion, in place where it can be."""
    z = x if z is None else z
    variance, bias = x.dtype.type(sigma_w**2), x.dtype.type(sigma_b**2)
    nngp = x @ z.T
    nngp *= variance / x.shape[1]
    nngp += bias
    ntk = nngp.copy()
    diagonals = [variance * np.einsum("nd,nd->n", rows, rows) / x.shape[1] + bias for rows in (x, z)]
    for _ in range(depth):
        scale = np.outer(*(np.sqrt(diagonal) for diagonal in diagonals))
        diagonals = [variance * diagonal / 2 + bias for diagonal in diagonals]
        rho = nngp / scale
        np.clip(rho, -1, 1, out=rho)
        theta = np.arccos(rho)
        np.subtract(x.dtype.type(np.pi), theta, out=theta)
        sine = np.sqrt(1 - rho * rho)
        np.multiply(theta, rho, out=nngp)
        nngp += sine
        nngp *= scale
        nngp *= variance / x.dtype.type(2 * np.pi)
        nngp += bias
        theta *= variance / x.dtype.type(2 * np.pi)
        ntk *= theta
        ntk += nngp
    return nngp, ntk


def infinite_erf(x: Any, depth: int, sigma_w: float, sigma_b: float) -> tuple[Any, Any]:
    """NNGP and NTK of an erf network, (N, N) each: Williams' recursion, in place where it can be."""
    kind = x.dtype.type
    variance, bias = kind(sigma_w**2), kind(sigma_b**2)
    nngp = x @ x.T
    nngp *= variance / x.shape[1]
    nngp += bias
    ntk = nngp.copy()
    for _ in range(depth):
        roots = np.sqrt(1 + 2 * np.diagonal(nngp))
        scale = np.outer(roots, roots)
        nngp *= 2
        nngp /= scale
        cosine = nngp * nngp
        np.subtract(1, cosine, out=cosine)
        scale *= np.sqrt(cosine, out=cosine)
        ntk /= scale
        ntk *= variance * kind(4 / np.pi)
        np.arcsin(nngp, out=nngp)
        nngp *= variance * kind(2 / np.pi)
        nngp += bias
        ntk += nngp
    return nngp, ntk


def infinite_gelu(x: Any, depth: int, sigma_w: float, sigma_b: float) -> tuple[Any, Any]:
    """NNGP and NTK of a GELU network, (N, N) each (Tsuchida et al. 2021)."""
    kind = x.dtype.type
    variance, bias, turn = kind(sigma_w**2), kind(sigma_b**2), kind(0.5 / np.pi)
    nngp = x @ x.T
    nngp *= variance / x.shape[1]
    nngp += bias
    ntk = nngp.copy()
    for _ in range(depth):
        q = np.diagonal(nngp).copy()
        inverse = 1 / np.outer(1 + q, 1 + q)
        square = nngp * nngp
        apart = 1 / inverse
        apart -= square
        root = np.sqrt(apart)
        angle = np.arcsin(nngp * np.sqrt(inverse))
        slope = 1 / apart
        slope += inverse * (2 + q + q[:, None])
        slope *= nngp
        slope /= root
        slope += angle
        slope *= turn
        slope += kind(0.25)
        apart *= np.outer(q, q)
        apart += square
        apart *= inverse
        apart /= root
        angle *= nngp
        apart += angle
        apart *= turn
        nngp *= kind(0.25)
        nngp += apart
        nngp *= variance
        nngp += bias
        slope *= variance
        ntk *= slope
        ntk += nngp
    return nngp, ntk


def _passes(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any) -> tuple[list[Any], list[Any]]:
    """Inputs of every layer, (N, n_l), and deltas of every layer but the last, (N, O, n_l)."""
    kind = x.dtype.type
    inputs, slopes = [x], []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        h = inputs[-1] @ weight
        h *= kind(sigma_w / weight.shape[0] ** 0.5)
        h += kind(sigma_b) * bias
        slopes.append(h > 0)
        inputs.append(np.maximum(h, 0, out=h))
    scale = kind(sigma_w / weights[-1].shape[0] ** 0.5)
    deltas = [scale * weights[-1].T[None] * slopes[-1][:, None]]
    for weight, slope in zip(weights[-2:0:-1], slopes[-2::-1], strict=True):
        n, o, width = deltas[0].shape
        delta = (deltas[0].reshape(n * o, width) @ weight.T).reshape(n, o, -1)
        delta *= kind(sigma_w / weight.shape[0] ** 0.5)
        delta *= slope[:, None]
        deltas.insert(0, delta)
    return inputs, deltas


def empirical_relu(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any, form: str) -> Any:
    """The empirical NTK, ``"full"`` (N, N, O, O) or ``"trace"`` (N, N): two Gram matrices a layer, no Jacobian."""
    inputs, deltas = _passes(weights, biases, sigma_w, sigma_b, x)
    kind, outputs = x.dtype.type, weights[-1].shape[1]
    kernel = None
    for values, weight, delta in zip(inputs, weights, [*deltas, None], strict=True):
        gram = values @ values.T
        gram *= kind(sigma_w**2 / weight.shape[0])
        gram += kind(sigma_b**2)
        if form == "trace":
            if delta is None:
                gram *= kind(outputs)
            else:
                flat = delta.reshape(len(x), -1)
                gram *= flat @ flat.T
            kernel = gram if kernel is None else np.add(kernel, gram, out=kernel)
            continue
        if delta is None:
            term = gram[:, :, None, None] * np.eye(outputs, dtype=kind)
        else:
            flat = delta.reshape(len(x) * outputs, -1)
            blocks = (flat @ flat.T).reshape(len(x), outputs, len(x), outputs)
            blocks *= gram[:, None, :, None]
            term = blocks.transpose(0, 2, 1, 3)
        kernel = np.ascontiguousarray(term) if kernel is None else np.add(kernel, term, out=kernel)
    return kernel


def jacobian_relu(weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any) -> Any:
    """Per-sample Jacobians, (N, O, P): outer products written in place."""
    inputs, deltas = _passes(weights, biases, sigma_w, sigma_b, x)
    kind, outputs = x.dtype.type, weights[-1].shape[1]
    last = np.broadcast_to(np.eye(outputs, dtype=kind), (len(x), outputs, outputs))
    size = sum(weight.size + (0 if bias is None else bias.size) for weight, bias in zip(weights, biases, strict=True))
    jacobian = np.empty((len(x), outputs, size), kind)
    start = 0
    for values, weight, bias, delta in zip(inputs, weights, biases, [*deltas, last], strict=True):
        block = jacobian[:, :, start : start + weight.size].reshape(len(x), outputs, *weight.shape)
        scaled = values * kind(sigma_w / weight.shape[0] ** 0.5)
        np.multiply(scaled[:, None, :, None], delta[:, :, None, :], out=block)
        start += weight.size
        if bias is not None:
            np.multiply(delta, kind(sigma_b), out=jacobian[:, :, start : start + bias.size])
            start += bias.size
    return jacobian


def train_relu(
    weights: Any, biases: Any, sigma_w: float, sigma_b: float, x: Any, y: Any, learning_rate: float, steps: int
) -> Any:
    """Full-batch gradient descent on 1/(2NO) Σ (f − y)²: θ after ``steps``, (P,).

    In V = sigma_w/√n W and c = sigma_b b, each with a learning rate of its own: that saves the scaling of activations.
    """
    kind = x.dtype.type
    scales = [kind(sigma_w / weight.shape[0] ** 0.5) for weight in weights]
    kernels = [scale * weight for scale, weight in zip(scales, weights, strict=True)]
    shifts = [kind(sigma_b) * bias for bias in biases]
    changes = [np.empty_like(kernel) for kernel in kernels]
    rate, last = kind(learning_rate / y.size), len(kernels) - 1
    for _ in range(steps):
        values = [x]
        for layer, (kernel, shift) in enumerate(zip(kernels, shifts, strict=True)):
            h = values[-1] @ kernel
            h += shift
            values.append(h if layer == last else np.maximum(h, 0, out=h))
        delta = values[-1]
        delta -= y
        delta *= rate
        for layer in range(last, -1, -1):
            np.matmul(values[layer].T, scales[layer] ** 2 * delta, out=changes[layer])
            shifts[layer] -= kind(sigma_b**2) * delta.sum(axis=0)
            if layer:
                delta = delta @ kernels[layer].T
                delta *= values[layer] > 0
            kernels[layer] -= changes[layer]
    theta = zip(kernels, scales, shifts, strict=True)
    return np.concatenate([part for v, scale, c in theta for part in ((v / scale).ravel(), c / kind(sigma_b))])
