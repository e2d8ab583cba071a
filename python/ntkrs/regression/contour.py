"""A contour integral that turns kernel ridge regression into gradient flow.

Gradient flow for a time τ multiplies the modes of K by ``1 − e^{−τλ}``, the inverse Laplace transform of
``λ/(λ + z)/z``. So every quantity P that is linear in the trained model is, for training up to τ, an integral over
complex ridges z, here by the trapezoidal rule on a modified Talbot contour (Weideman 2006)::

    P(τ) = (1/2πi) ∫ e^{τz} z⁻¹ P[ridge z] dz ≈ Re Σ_k weights_k P[ridge NODES_k/τ]

The contour encloses the negative axis, on which all singularities of P lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs.regression.resolvents import LEAST, MOST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.regression.resolvents import Labels, Resolvents

    Vector = NDArray[np.float64]

#: The number of nodes n. Half of them are conjugates of the others. 24 reach 3e-14 of the labels, 16 only 8e-10.
_COUNT = 24

#: Numbers in a block of rows of (N, N), which stays in the caches, and times for which it is used at once.
_BLOCK, _TIMES = 1 << 16, 64

#: The number of e-folds of a mode that training can tell from infinity: e^-40 is below ε/10.
_LEARNED = 40.0

#: The parameters of the contour ``ζ(θ) = n (shift + a θ cot(b θ) + i c θ)`` that converge fastest: shift, a, b, c.
_SHIFT, _A, _B, _C = -0.6122, 0.5017, 0.6407, 0.2645


def _rule() -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Return the nodes ζ_k in the upper half plane, and the weights ``2 e^{ζ_k} ζ'_k/(i n ζ_k)`` of both halves.

    The real parts of the weights sum to 1 up to 3e-14. They are divided by their sum, so that constants are exact.
    """
    theta = np.pi * (2 * np.arange(_COUNT // 2) + 1) / _COUNT
    sine, cosine = np.sin(_B * theta), np.cos(_B * theta)
    nodes = _COUNT * (_SHIFT + _A * theta * cosine / sine + 1j * _C * theta)
    slopes = _COUNT * (_A * cosine / sine - _A * _B * theta / sine**2 + 1j * _C)
    weights = 2 * np.exp(nodes) * slopes / (1j * _COUNT * nodes)
    return nodes, weights / weights.real.sum()


#: The nodes ζ_k, and the weight of the quantity at the ridge ``ζ_k/τ``.
NODES, WEIGHTS = _rule()


def residuals(resolvents: Resolvents, labels: Labels, tau: Vector) -> Vector:
    """Return :meth:`Resolvents.residuals` after training for times τ, (N, O, T). Times are in units of the kernel."""
    result = np.empty((*labels.centred.shape, len(tau)))
    start, end = tau < LEAST, tau > MOST
    result[:, :, start] = (labels.centred - (0.0 if labels.means is None else labels.means))[:, :, None]
    if end.any():
        result[:, :, end] = resolvents.limit(labels)[:, :, None]
    among = np.flatnonzero(~(start | end))
    for first in range(0, len(among), _TIMES):
        part = among[first : first + _TIMES]
        result[:, :, part] = _among(resolvents, labels, tau[part])
    return result


def _among(resolvents: Resolvents, labels: Labels, tau: Vector) -> Vector:
    """Return residuals for times that are neither 0 nor infinite, (N, O, T).

    In the sum over nodes, ``√w_i Re Σ_k weights_k a_i/D_i``, only ``a_i = Σ_j U_ij h_j (Uᵀ S v)_j`` depends on labels.
    So the sum over k is taken first, by one real product for each time, and costs the same for many outputs as for one.
    """
    positive, null = resolvents.modes.positive, resolvents.modes.null
    ridges = (NODES / tau[:, None]).reshape(-1)
    parts = (ridges / (positive[:, None] + ridges)).view(np.float64)  # real and imaginary, side by side
    settled = np.repeat(tau * positive.min(initial=np.inf) >= _LEARNED, len(NODES))
    values = np.empty((len(tau), len(labels.centred), labels.components.shape[1]))
    rows = max(1, _BLOCK // len(labels.centred))
    block = np.empty((min(rows, len(labels.centred)), len(positive)))
    for first in range(0, len(labels.centred), rows):
        part = slice(first, first + rows)
        basis = np.ascontiguousarray(resolvents.positive_basis[part])
        leverages = (np.square(basis) @ parts).view(np.complex128)
        factors = resolvents.factors(leverages, settled, part) * np.tile(WEIGHTS, len(tau))
        conjugates = factors.conj().view(np.float64)  # Re(q h) = Re q̄ Re h + Im q̄ Im h
        for index in range(len(tau)):
            nodes = slice(2 * len(NODES) * index, 2 * len(NODES) * (index + 1))
            weights = np.matmul(conjugates[:, nodes], parts[:, nodes].T, out=block[: len(basis)])
            weights *= basis
            np.matmul(weights, labels.components[null:], out=values[index, part])
        if null:
            counts = factors.real * resolvents.in_null(settled, part)
            counts = counts.reshape(len(basis), len(tau), -1).sum(axis=2)
            values[:, part] += counts.T[:, :, None] * resolvents.null_part(labels)[part]
    return np.moveaxis(resolvents.outputs(values, labels), 0, 2)
