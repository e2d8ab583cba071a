"""Feature maps: rows of numbers whose inner products are a kernel, approximately, and regression on them.

- :func:`nystrom`: features from a few training inputs, whose error on the training inputs is known.
- :func:`random`: random features of the kernel of any dense network, drawn without looking at data.
- :func:`ridge`: ridge regression on features, in one pass over the rows.

Examples
--------
>>> import numpy as np, ntkrs
>>> X = np.random.default_rng(0).standard_normal((200, 3))
>>> y = np.sin(X[:, 0])
>>> kernel = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu", sigma_w=2**0.5, sigma_b=0.5).kernel()
>>> F = ntkrs.features.nystrom(kernel, X, rank=100)
>>> w = ntkrs.features.ridge(F, X, y, diag_reg=1e-3)
>>> Z = np.random.default_rng(1).standard_normal((50, 3))
>>> bool(np.mean((F.transform(Z) @ w - np.sin(Z[:, 0])) ** 2) < 0.05)
True
"""

from ntkrs._public import publish
from ntkrs.features.nystrom import NystromFeatures, nystrom
from ntkrs.features.random import RandomFeatures, random
from ntkrs.features.ridge import ridge

__all__ = [
    "NystromFeatures",
    "RandomFeatures",
    "nystrom",
    "random",
    "ridge",
]

publish(globals())
