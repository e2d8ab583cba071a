"""Neural tangent kernels on CPUs, from NumPy.

Describe a multilayer perceptron, then ask for its kernel at infinite width, or at finite width:

>>> import numpy as np, ntkrs
>>> arch = ntkrs.mlp(depth=2, width=512, outputs=1, activation="relu", sigma_w=2**0.5)
>>> X = np.eye(3)
>>> kernel = arch.kernel()
>>> bool(np.allclose(kernel.diag(X), 3 * 2 / 3))  # (L + 1) sigma_w² |x|²/n_0 for L hidden ReLU layers, if sigma_w² = 2
True
>>> net = arch.init(in_features=3, rng=0)
>>> net.ntk(X).shape
(3, 3, 1, 1)
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from ntkrs import _core, activations
from ntkrs._public import keep_pickles as _keep_pickles
from ntkrs._public import publish as _publish
from ntkrs._runtime import threadpoolctl as _threadpoolctl
from ntkrs._runtime.threads import get_num_threads, set_num_threads, threads
from ntkrs._runtime.versions import show_versions
from ntkrs.activations import *
from ntkrs.ensemble import ensemble_ntk, ensemble_outputs
from ntkrs.kernel import Kernel
from ntkrs.layers import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Sequential, mlp
from ntkrs.network import Network

if TYPE_CHECKING:
    from ntkrs import convert, diagnostics, features, predict, regression
    from ntkrs import dask as dask
    from ntkrs import sklearn as sklearn
    from ntkrs import torch as torch
    from ntkrs.empirical import empirical_ntk, jacobian_ntk
    from ntkrs.solvers.solve import solve
    from ntkrs.storage import gram, open_gram

__all__ = [  # and all activations, which are added below
    "AvgPool",
    "Conv",
    "Dense",
    "Flatten",
    "GlobalAvgPool",
    "Kernel",
    "Network",
    "Sequential",
    "__version__",
    "convert",
    "diagnostics",
    "empirical_ntk",
    "ensemble_ntk",
    "ensemble_outputs",
    "features",
    "get_num_threads",
    "gram",
    "jacobian_ntk",
    "mlp",
    "open_gram",
    "predict",
    "regression",
    "set_num_threads",
    "show_versions",
    "solve",
    "threads",
]
__all__ += activations.__all__

__version__ = _core.VERSION

#: Modules of this package that are imported on first access.
_LAZY = ("convert", "diagnostics", "empirical", "features", "predict", "regression")

#: Functions that are imported on first access, and their modules.
_LAZY_FUNCTIONS = {
    "empirical_ntk": "empirical",
    "gram": "storage",
    "jacobian_ntk": "empirical",
    "open_gram": "storage",
    "solve": "solvers.solve",
}

#: Modules that need an optional package. ``dir`` and ``*`` leave them out, so that these work without it.
_OPTIONAL = ("dask", "sklearn", "torch")


def __getattr__(name: str) -> Any:
    if name in _LAZY or name in _OPTIONAL:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LAZY_FUNCTIONS:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_FUNCTIONS})


_publish(globals())
_keep_pickles()
_threadpoolctl.register()

if _core.PROFILE != "release":
    warnings.warn(
        f"this ntkrs is a {_core.PROFILE} build, many times slower than a release build. "
        "Reinstall it with `pip install .`, or build it with `maturin develop --release`.",
        RuntimeWarning,
        stacklevel=2,
    )
