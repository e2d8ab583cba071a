"""Model selection for kernel ridge regression and Gaussian processes, without refits.

- :class:`KernelRegression`: leave-one-out predictions for all ridges, weights and training times, and the influence of
  every training row, from one eigendecomposition.
- :func:`loo`: leave-one-out predictions in one call.
- :func:`agop`: the average gradient outer product of a model, and so the relevance of features.
- :func:`log_marginal_likelihood`: the evidence of a kernel, with its gradient as weights for ``kernel.gradient``.

Examples
--------
>>> import numpy as np, ntkrs
>>> X = np.random.default_rng(0).standard_normal((30, 4))
>>> y = np.sin(X[:, 0])
>>> ridges = np.logspace(-8, 2, 21)
>>> errors = []
>>> for depth in (1, 2, 3):
...     K = ntkrs.mlp(depth=depth, width=1, outputs=1, activation="relu", sigma_b=0.5).kernel()(X)
...     errors.append(((ntkrs.regression.loo(K, y, ridges) - y) ** 2).mean(axis=1))
>>> depth, ridge = np.unravel_index(np.argmin(errors), (3, 21))  # the best of 63 models, each fitted 30 times
>>> bool(np.min(errors) < y.var())
True
"""

from ntkrs._public import publish
from ntkrs.regression.agop import agop
from ntkrs.regression.dual import Dual
from ntkrs.regression.evidence import Evidence, log_marginal_likelihood
from ntkrs.regression.loo import loo
from ntkrs.regression.model import KernelRegression

__all__ = [
    "Dual",
    "Evidence",
    "KernelRegression",
    "agop",
    "log_marginal_likelihood",
    "loo",
]

publish(globals())
