"""Kernels on many machines, as graphs for Dask, which the extra ``ntkrs[dask]`` installs.

- :func:`gram`: the kernel as a dask array of blocks.
- :func:`product`: its products with vectors, without the kernel.
- :func:`solve`: linear systems with either, by :func:`ntkrs.solve`.
- :func:`predict`: predictions of kernel regression.

Nothing here starts a scheduler or asks for a client. Results are dask arrays, which ``compute()``, ``persist()`` and
clients of ``distributed`` take. Their bits depend on the chunks alone.

Examples
--------
>>> import dask.array as da, numpy as np, ntkrs, ntkrs.dask
>>> kernel = ntkrs.mlp(depth=2, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
>>> X = da.from_array(np.random.default_rng(0).standard_normal((500, 8)), chunks=(100, -1))
>>> K = ntkrs.dask.gram(kernel, X)
>>> float(K.trace().compute()) > 0
True
"""

from ntkrs._public import publish
from ntkrs._runtime.optional import require

require("dask.array", "dask[array]", "dask")

from ntkrs.dask.graphs import gram, predict, product  # noqa: E402  only now is dask known to be there
from ntkrs.dask.solving import solve  # noqa: E402

__all__ = ["gram", "predict", "product", "solve"]

publish(globals())
