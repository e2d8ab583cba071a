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

from ntkrs.regression.resolvents import LEAST, MOST, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.regression.resolvents import Labels, Resolvents

    Vector = NDArray[np.float64]

#: The number of nodes n. Half of them are conjugates of the others. 24 reach 3e-14 of the targets, 16 only 8e-10.
_COUNT = 24

#: Times that are taken at once, and numbers in a block of rows of an array for all of them, which stays in the caches.
_TIMES, _BLOCK = 64, 1 << 19

#: The first guess of the rank of shrinkages up to round-off: for one time, and more for each factor of 10 in ridges.
_RANK, _RANK_PER_DECADE = 16, 18

#: Vectors closer than this to the span of others, relative to the longest, are round-off: some ε of their products.
_FLOOR = 16 * float(np.finfo(np.float64).eps)

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
    among = among[tau[among].argsort(kind="stable")]  # near times have more in common
    for first in range(0, len(among), _TIMES):
        part = among[first : first + _TIMES]
        result[:, :, part] = _among(resolvents, labels, tau[part])
    return result


def _among(resolvents: Resolvents, labels: Labels, tau: Vector) -> Vector:
    """Return residuals for times that are neither 0 nor infinite, (N, O, T).

    In the sum of ``√w_i a_i/(w_i − u_i + u_i g_i)`` over nodes, only ``a = U diag(h) Uᵀ S v`` depends on targets.
    All shrinkages h lie in the span of few vectors, so the products with (N, N) matrices are taken for these alone.
    """
    basis, null = resolvents.positive_basis, resolvents.modes.null
    settled = np.repeat(tau * resolvents.modes.positive.min(initial=np.inf) >= _LEARNED, len(NODES))
    span, parts = _shrinkages(resolvents.modes.positive, (NODES / tau[:, None]).reshape(-1))
    leverages = ((np.square(basis) @ span) @ parts).view(np.complex128)
    factors = resolvents.factors(leverages, settled) * np.tile(WEIGHTS, len(tau))
    dynamics = product(basis, labels.components[null:], span) / resolvents.roots[:, None, None]
    values = _sums(dynamics, factors, parts)
    if null:
        counts = (factors.real * resolvents.in_null(settled)).reshape(len(basis), len(tau), -1).sum(axis=2)
        values += (resolvents.null_part(labels) / resolvents.roots[:, None])[:, :, None] * counts[:, None]
    return np.moveaxis(resolvents.outputs(np.moveaxis(values, 2, 0), labels), 0, 2)


def _shrinkages(positive: Vector, ridges: NDArray[np.complex128]) -> tuple[Vector, Vector]:
    """Return ``r/(λ_j + r)``, (m, R), as the product of orthonormal columns, (m, p), and real and imaginary parts.

    The parts, (p, 2R), are side by side. p is the rank up to round-off: some 20 for each factor of 10 in time.
    """
    columns = (1 / (positive[:, None] + ridges)).view(np.float64)
    # With columns of one size, errors are relative to the largest 1/(λ_j + r), as those of the modes themselves.
    scale = np.abs(columns).max(axis=0, initial=LEAST).reshape(-1, 2).max(axis=1)
    columns /= np.repeat(scale, 2)
    rank = _RANK + int(_RANK_PER_DECADE * np.ptp(np.log10(np.abs(ridges))))
    while True:
        if rank >= min(columns.shape):
            span = np.linalg.qr(columns)[0]
            break
        sketch = columns @ np.random.default_rng(0).standard_normal((columns.shape[1], rank))
        span, triangle = np.linalg.qr(sketch)
        lengths = np.abs(triangle.diagonal())  # the distance of each random vector from the span of those before it
        if lengths[-8:].max() <= _FLOOR * lengths[0]:
            break
        rank += rank // 2
    parts = span.T @ columns
    parts.view(np.complex128)[:] *= ridges * scale
    return span, parts


def _sums(values: Vector, factors: NDArray[np.complex128], parts: Vector) -> Vector:
    """Return ``Re Σ_k factors_ik Σ_p values_icp parts_pk`` over the nodes k of each time, (N, C, T)."""
    count = factors.shape[1] // len(NODES)
    conjugates = factors.conj().view(np.float64)  # Re(q h) = Re q̄ Re h + Im q̄ Im h
    result = np.empty((*values.shape[:2], count))
    rows = max(1, _BLOCK // max(1, count * len(parts)))
    for first in range(0, len(values), rows):
        part = slice(first, first + rows)
        weights = np.empty((count, len(values[part]), len(parts)))
        for index in range(count):
            nodes = slice(2 * len(NODES) * index, 2 * len(NODES) * (index + 1))
            np.matmul(conjugates[part, nodes], parts[:, nodes].T, out=weights[index])
        np.matmul(values[part], weights.transpose(1, 2, 0), out=result[part])
    return result
