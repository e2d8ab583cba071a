"""Learning the scales and the noise of a Gaussian process by its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ntkrs import regression
from ntkrs.sklearn.kernel import weighted_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.sklearn.kernel import NTKKernel

    Vector = NDArray[np.float64]


class Prior(NamedTuple):
    """A kernel with scales, and the variance of the noise.

    Attributes
    ----------
    kernel : NTKKernel
        The kernel.
    noise : float
        The variance of the noise.
    noise_bounds : (1, 2) ndarray or None
        Its bounds; None if it is not learned.
    """

    kernel: NTKKernel
    noise: float
    noise_bounds: Vector | None

    @property
    def theta(self) -> Vector:
        """The logarithms of everything that is learned: the scales, then the noise."""
        last = [] if self.noise_bounds is None else [np.log(self.noise)]
        return np.append(self.kernel.theta, last)

    @property
    def bounds(self) -> Vector:
        """The logarithms of the bounds, (n, 2)."""
        parts = [self.kernel.bounds.reshape(-1, 2)]
        parts += [] if self.noise_bounds is None else [np.log(self.noise_bounds)]
        return np.concatenate(parts)

    def moved(self, theta: Vector) -> Prior:
        """Return the prior with other values of what is learned."""
        count = self.kernel.n_dims
        noise = self.noise if self.noise_bounds is None else float(np.exp(theta[count]))
        return self._replace(kernel=self.kernel.clone_with_theta(theta[:count]), noise=noise)

    def evidence(self, x: Vector, y: Vector) -> tuple[float, Vector]:
        """Return the log marginal likelihood and its gradient with respect to ``theta``.

        Raises
        ------
        ntkrs.SingularKernelError
            If the kernel plus the noise is not positive definite beyond round-off.
        """
        found = regression.log_marginal_likelihood(self.kernel(x), y, self.noise, eval_gradient=True)
        last = [] if self.noise_bounds is None else [self.noise * found.noise]
        return found.value, np.append(weighted_gradient(self.kernel, x, found.kernel), last)


def learned(start: Prior, x: Vector, y: Vector) -> tuple[Prior, float]:
    """Return the prior of the highest evidence that L-BFGS-B finds from ``start``, and its evidence.

    The evidence is −∞ if it cannot be computed at the start.
    """
    from scipy.optimize import minimize

    theta, bounds = start.theta, start.bounds
    theta = np.clip(theta, bounds[:, 0], bounds[:, 1])
    best, highest, lowest = start, -np.inf, np.inf

    def loss(theta: Vector) -> tuple[float, Vector]:
        """Return the negative evidence and its gradient; a bit above the largest so far where it is infinite."""
        nonlocal best, highest, lowest
        prior = start.moved(theta)
        try:
            value, gradient = prior.evidence(x, y)
        except np.linalg.LinAlgError:
            # A line search cannot interpolate to infinity, and takes tiny steps back from a huge number.
            return len(x) - lowest, np.zeros_like(theta)
        if value > highest:
            best, highest = prior, value
        lowest = min(lowest, value)
        return -value, -gradient

    first = loss(theta)[0]
    if theta.size and np.isfinite(first):
        minimize(loss, theta, jac=True, method="L-BFGS-B", bounds=bounds)
    return best, highest
