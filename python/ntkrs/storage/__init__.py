"""Kernel matrices in half of the memory, or in files that survive a crash.

- :func:`gram`: compute the kernel matrix of X, in memory or in a file. An unfinished file is continued.
- :func:`open_gram`: open a finished file.
- :class:`Gram`: the matrix: products with vectors, rows, columns, the diagonal.

Examples
--------
>>> import numpy as np
>>> from ntkrs import gram, mlp
>>> kernel, X = mlp(depth=2, width=1, outputs=1).kernel(), np.eye(6)
>>> G = gram(kernel, X)
>>> G.nbytes, kernel(X).nbytes
(168, 288)
>>> np.allclose(G @ np.ones(6), kernel(X) @ np.ones(6))
True
"""

from ntkrs._public import publish
from ntkrs.storage.creation import gram
from ntkrs.storage.matrix import Gram, open_gram

__all__ = ["Gram", "gram", "open_gram"]

publish(globals())
