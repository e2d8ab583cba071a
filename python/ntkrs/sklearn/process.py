"""Parameters of the Gaussian process, its units, and its posterior within memory and beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from ntkrs._checks import numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.predict import Prediction
from ntkrs.regression import Dual
from ntkrs.sklearn import feature_scales as factors
from ntkrs.sklearn import iterated
from ntkrs.sklearn.evidence import Prior
from ntkrs.sklearn.kernel import NTKKernel, bounding_pairs
from ntkrs.sklearn.selection import depths

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, KernelName
    from ntkrs.kernel import Kernel, PreparedInputs
    from ntkrs.predict import GpInference
    from ntkrs.sklearn.architectures import Scales
    from ntkrs.solvers.solution import Solution

    Vector = NDArray[np.float64]


class NTKProcess(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """The start of learning, what it has learned, and the posterior."""

    #: Attributes of fitted estimators.
    depth_: int
    sigma_w_: Scales
    sigma_b_: Scales
    noise_: float
    theta_: Vector
    kernel_: Kernel
    feature_scales_: Vector
    X_train_: Vector
    y_train_: Vector
    n_features_in_: int
    solution_: Solution

    _inference: GpInference | None
    _fitted: PreparedInputs  # beyond memory
    _prior: Prior
    _unscaled: Vector
    _offset: Vector
    _unit: Vector

    def _starts(self) -> list[Prior]:
        """Return the priors from which learning starts, one for each depth, without factors of the features."""
        posterior = numbers.choice(self.posterior, "posterior", ("nngp", "ntk", "ntkgp"))
        get: KernelName = "nngp" if posterior == "nngp" else "ntk"
        noise = numbers.nonnegative(self.noise, "noise")
        bounds = bounding_pairs(self.noise_bounds, "noise_bounds")
        shared = self.activation, self.sigma_w, self.sigma_b, self.sigma_w_bounds, self.sigma_b_bounds, get
        kernels = [NTKKernel(depth, *shared) for depth in depths(self.depth)]
        nothing = np.empty(0)
        starts = [Prior(kernel, noise, bounds if noise else None, nothing, learns_factors=False) for kernel in kernels]
        for start in starts:
            _ = start.kernel.architecture, start.bounds  # refuse what is invalid before work
        return starts

    def _with_factors(self, starts: list[Prior], features: int) -> list[Prior]:
        """Return the priors with factors of the features."""
        fixed = factors.fixed(self.feature_scales, features, "learn")
        values = np.ones(features) if fixed is None else fixed
        return [start._replace(factors=values, learns_factors=fixed is None) for start in starts]

    def _keep(self, best: Prior) -> None:
        """Keep a prior as what was learned."""
        self._prior, self.theta_ = best, best.theta
        self.depth_, self.noise_ = best.kernel.depth, best.noise
        self.sigma_w_, self.sigma_b_ = best.kernel.sigma_w, best.kernel.sigma_b
        self.kernel_, self.feature_scales_ = best.kernel.architecture.kernel(), best.factors
        self.X_train_ = factors.applied(self._unscaled, best.factors)

    def _normalized(self, y: Vector) -> Vector:
        """Return the targets in the units that are learned, and remember these units."""
        shape = y.shape[1:]
        self._offset, self._unit = np.zeros(shape), np.ones(shape)
        if not numbers.boolean(self.normalize_y, "normalize_y"):
            return y
        exponents = np.frexp(np.abs(y).max(axis=0))[1]  # squares of targets neither overflow nor vanish
        scaled = ldexp(y, -exponents)
        offset, unit = scaled.mean(axis=0), scaled.std(axis=0)
        unit = np.where(unit > 0, unit, 1.0)
        self._offset, self._unit = ldexp(offset, exponents), ldexp(unit, exponents)
        return np.asarray((scaled - offset) / unit)

    def _inputs(self, X: ArrayLike) -> Vector:
        """Return new inputs times the factors of the features, after they are checked."""
        check_is_fitted(self)
        return factors.applied(validate_data(self, X, dtype=np.float64, reset=False), self.feature_scales_)

    def _posterior(self, x: Vector, compute_cov: bool | Literal["diag"]) -> Prediction:
        """Return the posterior in the units that are learned.

        Raises
        ------
        MemoryError
            If a model beyond memory is asked for more than the mean.
        """
        if self._inference is None:
            if compute_cov:
                raise MemoryError(
                    f"deviations, covariances and samples need a factor of the kernel of {len(self.X_train_)} samples, "
                    "which does not fit in memory: only means are known. Fit fewer samples."
                )
            dual = Dual(self.solution_.alpha, np.zeros(self.y_train_.shape[1:]))
            return Prediction(iterated.values(self.kernel_, x, self._fitted, self._prior.kernel.get, dual))
        return self._inference(x, get=self.posterior, compute_cov=compute_cov)
