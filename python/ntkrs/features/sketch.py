"""TensorSketch: short vectors whose inner products are those of tensor products, in the mean over draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TensorSketch:
    """A random linear map of tensor products: ``E ⟨S(a ⊗ b), S(c ⊗ d)⟩ = ⟨a, c⟩⟨b, d⟩``.

    A CountSketch adds each entry of a vector, times a random sign, to one random entry of a shorter vector. The
    CountSketch of ``a ⊗ b`` with the sum of two hashes is the circular convolution of those of a and b, so the tensor
    product itself is never formed.

    Attributes
    ----------
    size : int
        The length m of the sketches.
    left, right : sparse (m, d) arrays
        The CountSketches of the two factors.

    References
    ----------
    Pham & Pagh (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.features.sketch import TensorSketch
    >>> rng = np.random.default_rng(0)
    >>> a, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0, 0.0]])
    >>> squares = [float((TensorSketch.draw(2, 3, 8, rng)(a, b) ** 2).sum()) for _ in range(2000)]
    >>> bool(abs(np.mean(squares) - 5 * 25) < 8)  # |a|² |b|²
    True
    """

    size: int
    left: Any
    right: Any

    @classmethod
    def draw(cls, left: int, right: int, size: int, rng: np.random.Generator) -> TensorSketch:
        """Draw the map for factors of these lengths."""
        return cls(size, _count_sketch(left, size, rng), _count_sketch(right, size, rng))

    def __call__(self, a: Rows, b: Rows) -> Rows:
        """Return the sketches (N, m) of ``a_i ⊗ b_i`` for all rows of a (N, d) and b (N, d')."""
        spectrum = np.fft.rfft(self.left @ a.T, axis=0)
        spectrum *= np.fft.rfft(self.right @ b.T, axis=0)
        return np.fft.irfft(spectrum, self.size, axis=0).T


def _count_sketch(length: int, size: int, rng: np.random.Generator) -> Any:
    """Return a random sparse matrix (size, length) with one entry of 1 or −1 in each column."""
    from scipy.sparse import csr_array

    buckets, signs = rng.integers(size, size=length), rng.choice([-1.0, 1.0], size=length)
    return csr_array((signs, (buckets, np.arange(length))), shape=(size, length))
