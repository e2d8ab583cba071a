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

from ntkrs import _core
from ntkrs._public import keep_pickles as _keep_pickles
from ntkrs._public import publish as _publish
from ntkrs._runtime import threadpoolctl as _threadpoolctl
from ntkrs._runtime.threads import get_num_threads, set_num_threads, threads

if TYPE_CHECKING:
    from ntkrs import activations as activations
    from ntkrs import convert, diagnostics, features, predict, regression
    from ntkrs import dask as dask
    from ntkrs import kernel as kernel
    from ntkrs import layers as layers
    from ntkrs import network as network
    from ntkrs import sklearn as sklearn
    from ntkrs import torch as torch
    from ntkrs._runtime.versions import show_versions
    from ntkrs.activations import (
        Abs,
        Activation,
        Cos,
        Elu,
        Erf,
        Exp,
        Gaussian,
        Gelu,
        GeluTanh,
        Hermite,
        Identity,
        LeakyRelu,
        Mish,
        Monomial,
        Polynomial,
        Rbf,
        RectifiedPower,
        Relu,
        Selu,
        Sigmoid,
        Sign,
        Silu,
        Sin,
        Softplus,
        Softsign,
        Tanh,
    )
    from ntkrs.empirical import empirical_ntk, jacobian_ntk
    from ntkrs.ensemble import ensemble_ntk, ensemble_outputs
    from ntkrs.errors import (
        ChannelOrderWarning,
        ConvergenceError,
        ConvergenceWarning,
        DamagedFileError,
        DivergenceError,
        IndefiniteKernelError,
        NoEffectWarning,
        PerformanceWarning,
        SingularKernelError,
        StalledTrainingWarning,
        TruncationWarning,
        UnknownScalesError,
    )
    from ntkrs.kernel import Kernel
    from ntkrs.layers import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Sequential, mlp
    from ntkrs.network import Network
    from ntkrs.solvers.solve import solve
    from ntkrs.storage import gram, open_gram

__all__ = [
    "Abs",
    "Activation",
    "AvgPool",
    "ChannelOrderWarning",
    "Conv",
    "ConvergenceError",
    "ConvergenceWarning",
    "Cos",
    "DamagedFileError",
    "Dense",
    "DivergenceError",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Gaussian",
    "Gelu",
    "GeluTanh",
    "GlobalAvgPool",
    "Hermite",
    "Identity",
    "IndefiniteKernelError",
    "Kernel",
    "LeakyRelu",
    "Mish",
    "Monomial",
    "Network",
    "NoEffectWarning",
    "PerformanceWarning",
    "Polynomial",
    "Rbf",
    "RectifiedPower",
    "Relu",
    "Selu",
    "Sequential",
    "Sigmoid",
    "Sign",
    "Silu",
    "Sin",
    "SingularKernelError",
    "Softplus",
    "Softsign",
    "StalledTrainingWarning",
    "Tanh",
    "TruncationWarning",
    "UnknownScalesError",
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

__version__ = _core.VERSION

#: Modules of this package that are imported on first access.
_MODULES = (
    "activations",
    "convert",
    "diagnostics",
    "empirical",
    "ensemble",
    "errors",
    "features",
    "kernel",
    "layers",
    "network",
    "predict",
    "regression",
)

#: Modules that need an optional package. ``dir`` and ``*`` leave them out, so that these work without it.
_OPTIONAL = ("dask", "sklearn", "torch")

#: The modules of names that are imported on first access. The others are errors, warnings and activations.
_HOMES = {
    **dict.fromkeys(("AvgPool", "Conv", "Dense", "Flatten", "GlobalAvgPool", "Sequential", "mlp"), "layers"),
    **dict.fromkeys(("empirical_ntk", "jacobian_ntk"), "empirical"),
    **dict.fromkeys(("ensemble_ntk", "ensemble_outputs"), "ensemble"),
    **dict.fromkeys(("gram", "open_gram"), "storage"),
    "Kernel": "kernel",
    "Network": "network",
    "show_versions": "_runtime.versions",
    "solve": "solvers.solve",
}

if not TYPE_CHECKING:  # for type checkers it would be a promise of every name

    def __getattr__(name: str) -> Any:
        if name in _MODULES or name in _OPTIONAL:
            return importlib.import_module(f"{__name__}.{name}")
        if name not in __all__:
            from ntkrs._checks.elsewhere import of_package

            hint = of_package(name, [*__all__, *_MODULES, *_OPTIONAL])
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name)
        others = "errors" if name.endswith(("Error", "Warning")) else "activations"
        module = importlib.import_module(f"{__name__}.{_HOMES.get(name, others)}")
        globals()[name] = getattr(module, name)
        _publish(globals())
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


_publish(globals())
_keep_pickles()
_threadpoolctl.register()

if _core.PROFILE != "release":
    from ntkrs.errors import PerformanceWarning

    warnings.warn(
        f"this ntkrs is a {_core.PROFILE} build, many times slower than a release build. "
        "Reinstall it with `pip install .`, or build it with `maturin develop --release`.",
        PerformanceWarning,
        stacklevel=2,
    )
