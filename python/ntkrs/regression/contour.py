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

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The number of nodes n. Half of them are conjugates of the others. 24 reach 3e-14 of the labels, 16 only 8e-10.
_COUNT = 24

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
