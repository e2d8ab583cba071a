"""Second derivatives: of activations by mpmath, and of a network with one hidden layer by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath as mp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from .activations import Array


def _softplus(x: Any) -> Any:
    return mp.log(1 + mp.exp(x))


def _elu(x: Any, alpha: float) -> Any:
    return x if x > 0 else alpha * mp.expm1(x)


def _gelu_tanh(x: Any) -> Any:
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


def _hermite(x: Any, n: int) -> Any:
    """He_n(x) / √n!, by its recursion."""
    before, last = mp.mpf(0), mp.mpf(1)
    for k in range(int(n)):
        before, last = last, x * last - k * before
    return last / mp.sqrt(mp.factorial(n))


#: φ of x and the parameters, by snake-case name.
PHI: dict[str, Callable[..., Any]] = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0),
    "leaky_relu": lambda x, slope: max(x, 0) + slope * min(x, 0),
    "abs": abs,
    "sign": mp.sign,
    "erf": mp.erf,
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_tanh": _gelu_tanh,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "softplus": _softplus,
    "mish": lambda x: x * mp.tanh(_softplus(x)),
    "elu": _elu,
    "selu": lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772),
    "sin": lambda x, a, b, p: a * mp.sin(b * x + p),
    "cos": lambda x, a, b, p: a * mp.cos(b * x + p),
    "rbf": lambda x, gamma: mp.sqrt(2) * mp.sin(mp.sqrt(2 * mp.mpf(gamma)) * x + mp.pi / 4),
    "exp": lambda x, a, b: a * mp.exp(b * x),
    "gaussian": lambda x, b: mp.exp(-b * x**2),
    "polynomial": lambda x, *c: sum(coefficient * x**k for k, coefficient in enumerate(c)),
    "monomial": lambda x, n: x ** int(n),
    "hermite": _hermite,
    "rectified_power": lambda x, n: x ** int(n) if x > 0 else mp.mpf(0),
}


def derivative(name: str, parameters: tuple[float, ...], order: int, x: float) -> float:
    """The derivative of φ of that order, at a point where φ is smooth within 1e-12 on both sides."""
    with mp.workdps(60):
        at = mp.mpf(float(x))
        if order == 0:
            return float(PHI[name](at, *parameters))
        return float(mp.diff(lambda t: PHI[name](t, *parameters), at, order, h=mp.mpf("1e-15")))


def one_hidden_layer(x: Array, weights: Any, biases: Any, scales: Any, name: str, parameters: Any = ()) -> Array:
    """D²f of ``f = s2 φ(s1 x W + t1 b) V + t2 c``, (N, O, P, P), block by block; ``scales`` (s1, t1, s2, t2).

    With h_k and V_km of a hidden unit k and an output m, all else being 0::

        ∂²f_m/∂W_ik ∂W_jk = s2 V_km φ''(h_k) s1² x_i x_j      ∂²f_m/∂W_ik ∂b_k = s2 V_km φ''(h_k) s1 t1 x_i
        ∂²f_m/∂b_k² = s2 V_km φ''(h_k) t1²
        ∂²f_m/∂W_ik ∂V_km = s2 φ'(h_k) s1 x_i                 ∂²f_m/∂b_k ∂V_km = s2 φ'(h_k) t1
    """
    (w, v), (b, _) = weights, biases
    s1, t1, s2, _ = scales
    (inputs, hidden), outputs = w.shape, v.shape[1]
    first = np.arange(inputs * hidden).reshape(inputs, hidden)  # where W, b and V lie in θ
    shift = first.size + np.arange(hidden)
    second = first.size + hidden + np.arange(hidden * outputs).reshape(hidden, outputs)
    size = first.size + hidden + hidden * outputs + outputs
    result = np.zeros((len(x), outputs, size, size))
    for n, row in enumerate(x):
        h = s1 * row @ w + t1 * b
        for k in range(hidden):
            slope, bend = (derivative(name, parameters, order, h[k]) for order in (1, 2))
            places = np.append(first[:, k], shift[k])
            moves = np.append(s1 * row, t1)  # ∂h_k/∂(W_·k, b_k)
            for m in range(outputs):
                result[n, m][np.ix_(places, places)] = s2 * v[k, m] * bend * np.outer(moves, moves)
                result[n, m][places, second[k, m]] = s2 * slope * moves
                result[n, m][second[k, m], places] = s2 * slope * moves
    return result
