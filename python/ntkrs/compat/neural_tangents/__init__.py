"""The fully connected part of neural-tangents, with its names, orders of arguments and defaults.

Change the imports of a script, and random keys to seeds: ``from ntkrs.compat.neural_tangents import stax, predict``. A
name that is not here raises an AttributeError that says what to use. :mod:`ntkrs` itself has more, such as gradients.

Examples
--------
>>> import numpy as np
>>> from ntkrs.compat import neural_tangents as nt
>>> from ntkrs.compat.neural_tangents import stax
>>> init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(512, 1.5, 0.05), stax.Erf(), stax.Dense(1, 1.5, 0.05))
>>> x_train, y_train, x_test = np.eye(3), np.array([[1.0], [0.0], [-1.0]]), np.ones((2, 3))
>>> predict_fn = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x_train, y_train)
>>> mean, covariance = predict_fn(x_test=x_test, get="ntk", compute_cov=True)
>>> mean.shape, covariance.shape
((2, 1), (2, 2))
"""

import warnings
from collections.abc import Callable
from typing import Any

from ntkrs.compat.neural_tangents import predict, stax
from ntkrs.errors import NoEffectWarning

__all__ = ["batch", "empirical_ntk_fn", "linearize", "predict", "stax"]

#: Names of neural-tangents, and what takes their place.
_ELSEWHERE = {
    "monte_carlo_kernel_fn": "use ntkrs.ensemble_ntk, which also gives the variance",
    "empirical_nngp_fn": "use net(X) @ net(Z).T / O, with net = arch.init(...)",
    "empirical_kernel_fn": "use empirical_ntk_fn for the NTK, and net(X) @ net(Z).T / O for the NNGP",
    "taylor_expand": "use ntkrs.Network.linearize, whose order is 1 or 2",
}


def batch(kernel_fn: Callable[..., Any], *_args: object, **_options: object) -> Callable[..., Any]:
    """Return ``kernel_fn`` itself, and warn: kernels of ntkrs are computed tile by tile, and need no batches.

    Examples
    --------
    >>> import warnings
    >>> from ntkrs.compat.neural_tangents import batch
    >>> with warnings.catch_warnings(action="ignore"):
    ...     batch(print, batch_size=10) is print
    True
    """
    message = "batch does nothing: ntkrs computes kernels tile by tile, on all processors, without temporary arrays"
    warnings.warn(message, NoEffectWarning, stacklevel=2)
    return kernel_fn


def empirical_ntk_fn(f: Any, trace_axes: int | tuple[int, ...] = (-1,), *_args: object, **_options: object) -> Any:
    """Return the function ``(x1, x2, params)`` that gives the NTK of a finite network.

    With ``trace_axes=(-1,)`` it is the mean over the outputs, (N, M), and with ``()`` the full kernel, (N, M, O, O).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.compat.neural_tangents import empirical_ntk_fn, stax
    >>> init_fn, apply_fn, _ = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(2))
    >>> _, params = init_fn(0, (-1, 3))
    >>> empirical_ntk_fn(apply_fn)(np.eye(3), None, params).shape
    (3, 3)
    """
    stax.check_ours(f)
    if trace_axes not in (-1, (-1,), ()):
        raise ValueError(f"trace_axes is {trace_axes!r}, but must be (-1,) or (): outputs have a single axis")
    outputs: Any = "full" if trace_axes == () else "mean"
    return lambda x1, x2, params: params.ntk(x1, x2, outputs=outputs)


def linearize(f: Any, params: Any) -> Callable[[Any, Any], Any]:
    """Return ``f_lin(params, x)``, the first-order Taylor expansion of a network in its parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.compat.neural_tangents import linearize, stax
    >>> init_fn, apply_fn, _ = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(2))
    >>> _, params = init_fn(0, (-1, 3))
    >>> bool(np.allclose(linearize(apply_fn, params)(params, np.eye(3)), apply_fn(params, np.eye(3))))
    True
    """
    stax.check_ours(f)
    expansion = params.linearize()
    return lambda moved, x: expansion(x, moved.parameters)


def __getattr__(name: str) -> Any:
    way = _ELSEWHERE.get(name, "see 'Coming from another library' in the documentation")
    raise AttributeError(f"ntkrs.compat.neural_tangents has no {name}: {way}", name=name)
