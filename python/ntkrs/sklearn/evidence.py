"""Learning the scales, the noise and the factors of the features of a Gaussian process by its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ntkrs import regression
from ntkrs.sklearn.feature_scales import applied
from ntkrs.sklearn.kernel import weighted_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.kernel import Kernel, PreparedInputs
    from ntkrs.sklearn.kernel import NTKKernel

    Vector = NDArray[np.float64]


#: Matrices of the order of the kernel that the evidence with its gradient needs at once.
MATRICES = 3

#: The least and the largest factor of a feature that is learned.
_FACTORS = (1e-4, 1e4)


class Prior(NamedTuple):
    """A kernel with scales, the variance of the noise, and the factors of the features.

    Attributes
    ----------
    kernel : NTKKernel
        The kernel.
    noise : float
        The variance of the noise.
    noise_bounds : (1, 2) ndarray or None
        Its bounds; None if it is not learned.
    factors : (n_0,) ndarray
        The factors of the features.
    learns_factors : bool
        True if the factors are learned: all are positive then.
    """

    kernel: NTKKernel
    noise: float
    noise_bounds: Vector | None
    factors: Vector
    learns_factors: bool

    @property
    def theta(self) -> Vector:
        """The logarithms of everything that is learned: the scales, the noise, and the factors of the features."""
        parts = [self.kernel.theta, [] if self.noise_bounds is None else [np.log(self.noise)]]
        return np.concatenate([*parts, np.log(self.factors) if self.learns_factors else []])

    @property
    def bounds(self) -> Vector:
        """The logarithms of the bounds, (n, 2)."""
        parts = [self.kernel.bounds.reshape(-1, 2)]
        parts += [] if self.noise_bounds is None else [np.log(self.noise_bounds)]
        parts += [np.tile(np.log(_FACTORS), (len(self.factors), 1))] if self.learns_factors else []
        return np.concatenate(parts)

    def moved(self, theta: Vector) -> Prior:
        """Return the prior with other values of what is learned."""
        count = self.kernel.n_dims
        noise = self.noise if self.noise_bounds is None else float(np.exp(theta[count]))
        factors = np.exp(theta[len(theta) - len(self.factors) :]) if self.learns_factors else self.factors
        return self._replace(kernel=self.kernel.clone_with_theta(theta[:count]), noise=noise, factors=factors)

    def log_density(self, theta: Vector) -> tuple[float, Vector]:
        """Return the logarithm of the prior density of theta, up to a constant, and its gradient.

        Logarithms of learned factors are normal with mean 0 and deviation 1. All else is uniform.
        """
        gradient = np.zeros_like(theta)
        if not self.learns_factors:
            return 0.0, gradient
        logs = theta[len(theta) - len(self.factors) :]
        gradient[len(theta) - len(logs) :] = -logs
        return -0.5 * float(logs @ logs), gradient

    def evidence(self, x: Vector, y: Vector) -> tuple[float, Vector]:
        """Return the log marginal likelihood and its gradient with respect to ``theta``.

        Raises
        ------
        ntkrs.SingularKernelError
            If the kernel plus the noise is not positive definite beyond round-off.
        """
        kernel = self.kernel.architecture.kernel()
        inputs = kernel.prepare(applied(x, self.factors), progress=False)
        entries = kernel(inputs, get=self.kernel.get, progress=False)
        found = regression.log_marginal_likelihood(entries, y, self.noise, eval_gradient=True)
        parts = [weighted_gradient(self.kernel, kernel, inputs, found.kernel)]
        parts += [] if self.noise_bounds is None else [np.array([self.noise * found.noise])]
        parts += [self._by_factors(kernel, inputs, found.kernel)] if self.learns_factors else []
        return found.value, np.concatenate(parts)

    def _by_factors(self, kernel: Kernel, inputs: PreparedInputs, weights: Vector) -> Vector:
        """Return ``Σ_ij A_ij ∂K_ij/∂log s`` for the factors s of the inputs and symmetric weights A, (n_0,)."""
        gradient = kernel.input_gradient(inputs, get=self.kernel.get, weights=weights, progress=False)
        return np.asarray(2 * (inputs.array * gradient).sum(axis=0))


def learned(start: Prior, x: Vector, y: Vector) -> tuple[Prior, float, float]:
    """Return the prior of the highest evidence times its density that L-BFGS-B finds from ``start``.

    With it come its evidence, and the logarithm of that product. Both are −∞ if the evidence cannot be computed at the
    start.
    """
    from scipy.optimize import minimize

    theta, bounds = start.theta, start.bounds
    theta = np.clip(theta, bounds[:, 0], bounds[:, 1])
    best, evidence, highest, lowest = start, -np.inf, -np.inf, np.inf

    def loss(theta: Vector) -> tuple[float, Vector]:
        """Return the negative objective and its gradient; a bit above the largest so far where it is infinite."""
        nonlocal best, evidence, highest, lowest
        prior = start.moved(theta)
        try:
            found, gradient = prior.evidence(x, y)
        except np.linalg.LinAlgError:
            # A line search cannot interpolate to infinity, and takes tiny steps back from a huge number.
            return len(x) - lowest, np.zeros_like(theta)
        density, slope = prior.log_density(theta)
        value = found + density
        if value > highest:
            best, evidence, highest = prior, found, value
        lowest = min(lowest, value)
        return -value, -(gradient + slope)

    first = loss(theta)[0]
    if theta.size and np.isfinite(first):
        minimize(loss, theta, jac=True, method="L-BFGS-B", bounds=bounds)
    return best, evidence, highest
