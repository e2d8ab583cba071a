"""A finite-width MLP in NTK parameterization: forward pass, Jacobian and empirical NTK, by plain loops.

    h^{l+1} = sigma_w / sqrt(n_l) x^l W^l + sigma_b b^l,    x^{l+1} = phi(h^{l+1}),    f = h^L

Shapes: x (N, n_0); weights[l] (n_l, n_{l+1}); biases[l] (n_{l+1},) or None; sigma_w, sigma_b a number or one
per dense layer; the activation is one for all hidden layers or a list with one per hidden layer. A layer has
bias parameters if its bias is not None and its sigma_b is not 0. theta is W^0 row-major, b^0, W^1, b^1, ...

Standard parameterization (x V + c) is the same code with ``sigma_w = [sqrt(n_l), ...]`` and ``sigma_b = 1``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import phi, phi_dot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .activations import Activation, Array

    Weights = Sequence[Array]
    Biases = Sequence[Array | None]
    Scale = float | Sequence[float]


def scales(sigma: Scale, layers: int) -> list[float]:
    """sigma_w or sigma_b of each dense layer."""
    return [float(s) for s in np.broadcast_to(np.asarray(sigma, dtype=float), (layers,))]


def hidden_activations(activation: Any, layers: int) -> list[Activation]:
    """The activation of each hidden layer: a list unchanged, a single one (a name or a tuple) repeated."""
    activations = list(activation) if isinstance(activation, list) else [activation] * (layers - 1)
    if len(activations) != layers - 1:
        raise ValueError(f"{len(activations)} activations for {layers - 1} hidden layers")
    return activations


def init(
    widths: Sequence[int], rng: np.random.Generator, bias: bool | Sequence[bool] = True
) -> tuple[list[Array], list[Array | None]]:
    """Weights and biases of N(0, 1) entries for widths (n_0, ..., n_L), drawn as W^0, b^0, W^1, ..."""
    layers = len(widths) - 1
    drawn = [bias] * layers if isinstance(bias, bool) else list(bias)
    weights: list[Array] = []
    biases: list[Array | None] = []
    for n, m, b in zip(widths[:-1], widths[1:], drawn, strict=True):
        weights.append(rng.standard_normal((n, m)))
        biases.append(rng.standard_normal(m) if b else None)
    return weights, biases


def has_bias(biases: Biases, sigma_b: Scale) -> list[bool]:
    """True for each layer that has bias parameters."""
    return [b is not None and s != 0 for b, s in zip(biases, scales(sigma_b, len(biases)), strict=True)]


def flatten(weights: Weights, biases: Biases, sigma_b: Scale) -> Array:
    """theta (P,): W^0 row-major, b^0, W^1, b^1, ..."""
    blocks: list[Array] = []
    for w, b, trained in zip(weights, biases, has_bias(biases, sigma_b), strict=True):
        blocks.append(w.ravel())
        if trained and b is not None:
            blocks.append(b)
    return np.concatenate(blocks)


def unflatten(theta: Array, weights: Weights, biases: Biases, sigma_b: Scale) -> tuple[list[Array], list[Array | None]]:
    """Weights and biases of theta (P,), shaped like the given ones; None for a bias without parameters."""
    new_weights: list[Array] = []
    new_biases: list[Array | None] = []
    start = 0
    for w, trained in zip(weights, has_bias(biases, sigma_b), strict=True):
        n, m = w.shape
        new_weights.append(theta[start : start + n * m].reshape(n, m))
        start += n * m
        new_biases.append(theta[start : start + m] if trained else None)
        start += m * trained
    if start != theta.size:
        raise ValueError(f"theta has {theta.size} entries, the network {start}")
    return new_weights, new_biases


def layer_slices(weights: Weights, biases: Biases, sigma_b: Scale) -> list[slice]:
    """The part of theta that belongs to each dense layer."""
    sizes = [w.size + w.shape[1] * b for w, b in zip(weights, has_bias(biases, sigma_b), strict=True)]
    ends = np.cumsum(sizes)
    return [slice(int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)]


def layers_forward(
    x: Array, weights: Weights, biases: Biases, sigma_w: Scale, sigma_b: Scale, activation: Any
) -> tuple[list[Array], list[Array]]:
    """Inputs x^0 ... x^{L-1} and pre-activations h^1 ... h^L of the dense layers, (N, n_l) each."""
    layers = len(weights)
    sw, sb = scales(sigma_w, layers), scales(sigma_b, layers)
    activations = hidden_activations(activation, layers)
    xs, hs = [np.asarray(x, dtype=float)], []
    for layer in range(layers):
        h = sw[layer] / np.sqrt(weights[layer].shape[0]) * (xs[layer] @ weights[layer])
        b = biases[layer]
        hs.append(h if b is None else h + sb[layer] * b)
        if layer < layers - 1:
            xs.append(phi(activations[layer])(hs[layer]))
    return xs, hs


def forward(x: Array, weights: Weights, biases: Biases, sigma_w: Scale, sigma_b: Scale, activation: Any) -> Array:
    """f(x; theta) = h^L, (N, O)."""
    return layers_forward(x, weights, biases, sigma_w, sigma_b, activation)[1][-1]


def deltas(hs: Sequence[Array], weights: Weights, sigma_w: Scale, activation: Any) -> list[Array]:
    """delta^l = df_m / dh^l for l = 1 ... L, (N, O, n_l) each, sample by sample and output by output.

    delta^L_m = e_m,    delta^l_m = phi'(h^l) * (sigma_w / sqrt(n_l) W^l delta^{l+1}_m)
    """
    layers = len(weights)
    sw = scales(sigma_w, layers)
    activations = hidden_activations(activation, layers)
    samples, outputs = hs[-1].shape
    result = [np.empty((samples, outputs, h.shape[1])) for h in hs]
    for i in range(samples):
        for m in range(outputs):
            delta = np.eye(outputs)[m]
            result[-1][i, m] = delta
            for layer in range(layers - 1, 0, -1):
                back = sw[layer] / np.sqrt(weights[layer].shape[0]) * (weights[layer] @ delta)
                delta = phi_dot(activations[layer - 1])(hs[layer - 1][i]) * back
                result[layer - 1][i, m] = delta
    return result


def jacobian(x: Array, weights: Weights, biases: Biases, sigma_w: Scale, sigma_b: Scale, activation: Any) -> Array:
    """Per-sample Jacobian df_m(x_i) / dtheta, (N, O, P).

    df_m / dW^l_ij = sigma_w / sqrt(n_l) x^l_i delta^{l+1}_{m,j},    df_m / db^l_j = sigma_b delta^{l+1}_{m,j}
    """
    layers = len(weights)
    sw, sb = scales(sigma_w, layers), scales(sigma_b, layers)
    xs, hs = layers_forward(x, weights, biases, sigma_w, sigma_b, activation)
    delta = deltas(hs, weights, sigma_w, activation)
    trained = has_bias(biases, sigma_b)
    samples, outputs = hs[-1].shape
    rows = []
    for i in range(samples):
        for m in range(outputs):
            blocks = []
            for layer in range(layers):
                scale = sw[layer] / np.sqrt(weights[layer].shape[0])
                blocks.append((scale * np.outer(xs[layer][i], delta[layer][i, m])).ravel())
                if trained[layer]:
                    blocks.append(sb[layer] * delta[layer][i, m])
            rows.append(np.concatenate(blocks))
    parameters = flatten(weights, biases, sigma_b).size
    return np.array(rows, dtype=float).reshape(samples, outputs, parameters)


def ntk(j1: Array, j2: Array) -> Array:
    """Theta_mn(x, x') = sum_p J_mp(x) J_np(x'), (N, M, O, O), from Jacobians (N, O, P) and (M, O, P)."""
    return np.asarray(np.einsum("imp,jnp->ijmn", j1, j2, optimize=True))


def ntk_per_layer(j1: Array, j2: Array, slices: Sequence[slice]) -> Array:
    """The part of the NTK due to each dense layer, (L, N, M, O, O); `slices` from `layer_slices`."""
    return np.array([ntk(j1[:, :, s], j2[:, :, s]) for s in slices])


def ntk_equation_1(
    x: Array, z: Array, weights: Weights, biases: Biases, sigma_w: Scale, sigma_b: Scale, activation: Any
) -> Array:
    """The empirical NTK without a Jacobian, (N, M, O, O).

    Theta_mn = sum_l (sigma_w^2 / n_l <x^l, x'^l> + sigma_b^2) <delta^{l+1}_m, delta'^{l+1}_n>
    """
    layers = len(weights)
    sw, sb = scales(sigma_w, layers), scales(sigma_b, layers)
    xs, hx = layers_forward(x, weights, biases, sigma_w, sigma_b, activation)
    zs, hz = layers_forward(z, weights, biases, sigma_w, sigma_b, activation)
    dx, dz = deltas(hx, weights, sigma_w, activation), deltas(hz, weights, sigma_w, activation)
    theta = np.zeros((len(x), len(z), hx[-1].shape[1], hx[-1].shape[1]))
    for layer, trained in enumerate(has_bias(biases, sigma_b)):
        gram = sw[layer] ** 2 / weights[layer].shape[0] * (xs[layer] @ zs[layer].T) + sb[layer] ** 2 * trained
        theta += gram[:, :, None, None] * np.einsum("imk,jnk->ijmn", dx[layer], dz[layer])
    return theta


def loss_and_slope(f: Array, y: Array, loss: str) -> tuple[float, Array]:
    """The loss of outputs f for targets y, both (N, O), and its derivative with respect to f."""
    if loss == "mse":
        return float(np.mean((f - y) ** 2)) / 2, (f - y) / f.size
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    return float(-(y * np.log(p)).sum() / len(f)), (p - y) / len(f)


def train(
    theta: Array,
    model: Callable[[Array], tuple[Array, Array]],
    y: Array,
    learning_rate: float,
    steps: int,
    momentum: float = 0.0,
    loss: str = "mse",
) -> tuple[list[Array], list[float]]:
    """All theta and losses of v <- momentum v - learning_rate g, theta <- theta + v; model: theta -> (f, Jacobian)."""
    thetas, losses, velocity = [theta], [], np.zeros_like(theta)
    for step in range(steps + 1):
        f, jacobian_ = model(thetas[-1])
        value, slope = loss_and_slope(f, y, loss)
        losses.append(value)
        if step < steps:
            velocity = momentum * velocity - learning_rate * np.einsum("imp,im->p", jacobian_, slope)
            thetas.append(thetas[-1] + velocity)
    return thetas, losses


def central_differences(f: Callable[[Array], Array], theta: Array, h: float = 6e-6) -> Array:
    """df / dtheta by (f(theta + h e_p) - f(theta - h e_p)) / 2h, shape f.shape + (P,).

    The error is h^2 |f_ppp| / 6 + eps |f| / h; the default h, near eps^(1/3), balances the two at order 1.
    """
    columns = []
    for p in range(theta.size):
        up, down = theta.copy(), theta.copy()
        up[p] += h
        down[p] -= h
        columns.append((f(up) - f(down)) / (up[p] - down[p]))
    return np.stack(columns, axis=-1)
