"""Training dynamics on the square loss 1 / (2 Z) sum (f - y)^2, by matrix exponential, literal simulation or mpmath.

Kernels are (N, N) on the training inputs and (M, N) from test to training inputs, or full: (N, N, O, O) and
(M, N, O, O). y and f are (N,) or (N, O). `z` is the loss scale Z: 1 for the sum, N O for the mean. Nothing
here inverts or diagonalizes K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mpmath
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

if TYPE_CHECKING:
    from collections.abc import Callable

    from .activations import Array


def as_matrix(k: Array) -> Array:
    """(N, M, O, O) as (N O, M O), sample-major; (N, M) unchanged."""
    if k.ndim == 2:
        return k
    n, m, o, _ = k.shape
    return k.transpose(0, 2, 1, 3).reshape(n * o, m * o)


def _stacked(k_train_train: Array, k_test_train: Array, y_train: Array) -> tuple[Array, Array]:
    """[K; k] padded to a square with zeros, and y with one column per right-hand side."""
    k, k_test = as_matrix(k_train_train), as_matrix(k_test_train)
    n, m = k.shape[0], k_test.shape[0]
    square = np.zeros((n + m, n + m))
    square[:n, :n], square[n:, :n] = k, k_test
    return square, y_train.reshape(n, -1)


def _test_shape(k_test_train: Array, y_train: Array) -> tuple[int, ...]:
    return (k_test_train.shape[0], *y_train.shape[1:])


def gradient_flow(
    k_train_train: Array,
    k_test_train: Array,
    y_train: Array,
    fx_train_0: Array,
    fx_test_0: Array,
    learning_rate: float,
    t: float,
    z: float = 1.0,
) -> tuple[Array, Array]:
    """f_t on train and test: d/dt [f; g] = -eta / Z [K; k] (f - y), solved as one matrix exponential."""
    square, y = _stacked(k_train_train, k_test_train, y_train)
    n = len(y)
    start = np.concatenate([fx_train_0.reshape(y.shape) - y, fx_test_0.reshape(-1, y.shape[1])])
    end = expm(-learning_rate * t / z * square) @ start
    return (end[:n] + y).reshape(y_train.shape), end[n:].reshape(_test_shape(k_test_train, y_train))


def heavy_ball_flow(
    k_train_train: Array,
    k_test_train: Array,
    y_train: Array,
    fx_train_0: Array,
    fx_test_0: Array,
    learning_rate: float,
    t: float,
    z: float,
    momentum: float,
) -> tuple[Array, Array]:
    """f_t on train and test: mu h'' + (1 - mu) h' = -eta / Z [K; k] (f - y) from h' = 0, as one matrix exponential."""
    square, y = _stacked(k_train_train, k_test_train, y_train)
    n, size = len(y), len(square)
    start = np.concatenate([fx_train_0.reshape(y.shape) - y, fx_test_0.reshape(-1, y.shape[1])])
    one, zero = np.eye(size), np.zeros((size, size))
    companion = np.block([[zero, one], [-learning_rate / z / momentum * square, -(1 - momentum) / momentum * one]])
    end = (expm(t * companion) @ np.concatenate([start, np.zeros_like(start)]))[:size]
    return (end[:n] + y).reshape(y_train.shape), end[n:].reshape(_test_shape(k_test_train, y_train))


def gradient_descent(
    k_train_train: Array,
    k_test_train: Array,
    y_train: Array,
    fx_train_0: Array,
    fx_test_0: Array,
    learning_rate: float,
    steps: int,
    z: float = 1.0,
    momentum: float = 0.0,
) -> tuple[Array, Array]:
    """f on train and test, stepping v <- mu v - eta / Z [K; k] (f - y), [f; g] <- [f; g] + v from v = 0."""
    square, y = _stacked(k_train_train, k_test_train, y_train)
    n = len(y)
    f = np.concatenate([fx_train_0.reshape(y.shape), fx_test_0.reshape(-1, y.shape[1])])
    v = np.zeros_like(f)
    for _ in range(steps):
        v = momentum * v - learning_rate / z * (square[:, :n] @ (f[:n] - y))
        f = f + v
    return f[:n].reshape(y_train.shape), f[n:].reshape(_test_shape(k_test_train, y_train))


def flow_any_loss(
    k_train_train: Array,
    k_test_train: Array,
    loss_gradient: Callable[[Array], Array],
    fx_train_0: Array,
    fx_test_0: Array,
    learning_rate: float,
    t: float,
) -> tuple[Array, Array]:
    """d/dt [f; g] = -eta [K; k] grad L(f) by an ODE solver; `loss_gradient` maps f to the shape of f."""
    k, k_test = as_matrix(k_train_train), as_matrix(k_test_train)
    n = fx_train_0.size

    def rate(_: float, state: Array) -> Array:
        gradient = loss_gradient(state[:n].reshape(fx_train_0.shape)).reshape(k.shape[1], -1)
        return -learning_rate * np.concatenate([(k @ gradient).ravel(), (k_test @ gradient).ravel()])

    end = _integrate(rate, np.concatenate([fx_train_0.ravel(), fx_test_0.ravel()]), t)
    return end[:n].reshape(fx_train_0.shape), end[n:].reshape(fx_test_0.shape)


def heavy_ball_any_loss(
    k_train_train: Array,
    loss_gradient: Callable[[Array], Array],
    fx_train_0: Array,
    learning_rate: float,
    t: float,
    momentum: float,
) -> Array:
    """mu f'' + (1 - mu) f' = -eta K grad L(f) from f' = 0 by an ODE solver, for a kernel (N, N)."""

    def rate(_: float, state: Array) -> Array:
        f, velocity = state.reshape(2, *fx_train_0.shape)
        force = -learning_rate * (k_train_train @ loss_gradient(f))
        return np.concatenate([velocity.ravel(), ((force - (1 - momentum) * velocity) / momentum).ravel()])

    start = np.concatenate([fx_train_0.ravel(), np.zeros(fx_train_0.size)])
    return _integrate(rate, start, t)[: fx_train_0.size].reshape(fx_train_0.shape)


def flow_mode(x: float, momentum: float, t: float) -> mpmath.mpf:
    """d_t of a mode: 1 minus its residual over that at t = 0, with x = eta lambda / Z, to 50 digits."""
    with mpmath.workdps(1000):  # d_t may be as small as 1e-900
        x, mu, t = mpmath.mpf(x), mpmath.mpf(momentum), mpmath.mpf(t)
        if mu == 0:
            return -mpmath.expm1(-x * t)
        damping = (1 - mu) / (2 * mu)
        root = mpmath.sqrt(damping**2 - x / mu + mpmath.mpf(10) ** -1900)
        fast, slow = damping + root, damping - root
        left = (fast * mpmath.exp(-slow * t) - slow * mpmath.exp(-fast * t)) / (2 * root)
        return 1 - mpmath.re(left)


def flow_null_mode(momentum: float, t: float) -> mpmath.mpf:
    """The limit of d_t / x for x -> 0, to 50 digits."""
    with mpmath.workdps(1000):
        mu, t = mpmath.mpf(momentum), mpmath.mpf(t)
        if mu == 0:
            return t
        tau = mu / (1 - mu)
        return (t + tau * mpmath.expm1(-t / tau)) / (1 - mu)


def descent_mode(x: float, momentum: float, k: int) -> mpmath.mpf:
    """1 minus the residual of a mode after k steps over that at the start, from a matrix power, to 50 digits."""
    with mpmath.workdps(700):
        x, mu = mpmath.mpf(x), mpmath.mpf(momentum)
        power = mpmath.matrix([[1 + mu - x, -mu], [1, 0]]) ** k
        return 1 - power[1, 0] * (1 - x) - power[1, 1]


def descent_null_mode(momentum: float, k: int) -> mpmath.mpf:
    """The limit of the same over x for x -> 0, as k velocities 1 + mu + ... + mu^j, to 50 digits."""
    with mpmath.workdps(700):
        mu = mpmath.mpf(momentum)
        return (k - mu * (1 - mu**k) / (1 - mu)) / (1 - mu)


def _integrate(rate: Callable[[float, Array], Array], start: Array, t: float) -> Array:
    """DOP853 with a relative tolerance of 1e-12 per step."""
    if t == 0:
        return start
    solution = solve_ivp(rate, (0.0, t), start, method="DOP853", rtol=1e-12, atol=1e-13)
    if not solution.success:
        raise ArithmeticError(solution.message)
    return np.asarray(solution.y[:, -1])


def parameter_flow(
    j_train: Array, theta_0: Array, y_train: Array, learning_rate: float, t: float, z: float = 1.0
) -> Array:
    """theta_t of f = J theta: d theta / dt = -eta / Z J^T (J theta - y); J is (N, P) or (N, O, P)."""
    j, y = j_train.reshape(-1, theta_0.size), y_train.ravel()
    return _integrate(lambda _, theta: -learning_rate / z * (j.T @ (j @ theta - y)), theta_0, t)


def parameter_heavy_ball_flow(
    j_train: Array, theta_0: Array, y_train: Array, learning_rate: float, t: float, z: float, momentum: float
) -> Array:
    """theta_t of f = J theta: mu theta'' + (1 - mu) theta' = -eta / Z J^T (J theta - y), theta' = 0 at 0."""
    j, y, p = j_train.reshape(-1, theta_0.size), y_train.ravel(), theta_0.size

    def rate(_: float, state: Array) -> Array:
        theta, velocity = state[:p], state[p:]
        force = -learning_rate / z * (j.T @ (j @ theta - y))
        return np.concatenate([velocity, (force - (1 - momentum) * velocity) / momentum])

    return _integrate(rate, np.concatenate([theta_0, np.zeros(p)]), t)[:p]


def parameter_descent(
    j_train: Array,
    theta_0: Array,
    y_train: Array,
    learning_rate: float,
    steps: int,
    z: float = 1.0,
    momentum: float = 0.0,
) -> Array:
    """theta_k of f = J theta, k = `steps`: v <- mu v - eta J^T (f - y) / Z, theta <- theta + v, v_0 = 0."""
    j, y = j_train.reshape(-1, theta_0.size), y_train.ravel()
    theta, v = theta_0.copy(), np.zeros_like(theta_0)
    for _ in range(steps):
        v = momentum * v - learning_rate / z * (j.T @ (j @ theta - y))
        theta = theta + v
    return theta


def ensemble(
    k_train_train: Array,
    k_test_train: Array,
    nngp_train_train: Array,
    nngp_test_train: Array,
    nngp_test_test: Array,
    y_train: Array,
    learning_rate: float,
    t: float,
    z: float = 1.0,
) -> tuple[Array, Array]:
    """Mean (M, ...) and covariance (M, M) on test inputs of gradient flow from f_0 ~ GP(0, Sigma).

    [f_t; g_t] = E [f_0 - y; g_0] + [y; 0] with E the matrix exponential, so the covariance is
    E_low Sigma E_low^T with the lower rows of E and the joint prior Sigma. For the NNGP (only the read-out is
    trained) pass Sigma as the kernel.
    """
    square, y = _stacked(k_train_train, k_test_train, y_train)
    n = len(y)
    low = expm(-learning_rate * t / z * square)[n:]
    prior = np.block([[nngp_train_train, nngp_test_train.T], [nngp_test_train, nngp_test_test]])
    return (-low[:, :n] @ y).reshape(_test_shape(k_test_train, y_train)), low @ prior @ low.T
