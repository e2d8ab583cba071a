"""Predictions with the arguments and defaults of neural-tangents.

Functions with ``*ridge`` in their signature also take ``diag_reg=0.0``, ``diag_reg_absolute_scale=False`` and
``trace_axes`` there, by position in this order or by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ntkrs import predict
from ntkrs.compat.neural_tangents.stax import KernelFn

__all__ = [
    "gp_inference",
    "gradient_descent",
    "gradient_descent_mse",
    "gradient_descent_mse_ensemble",
    "max_learning_rate",
]

gradient_descent = predict.gradient_descent


class Gaussian(NamedTuple):
    """A mean and a covariance."""

    mean: Any
    covariance: Any


def _gaussian(found: Any, *, covariance: bool) -> Any:
    """Return one prediction, or the named tuple of several, as neural-tangents does."""
    if isinstance(found, tuple):
        return type(found)(*(_gaussian(one, covariance=covariance) for one in found))
    return Gaussian(found.mean, found.covariance) if covariance else found.mean


def _both(k: Any) -> Any:
    """Return kernels by name. A single array stands for both, as in neural-tangents."""
    return k if k is None or isinstance(k, tuple | Mapping) else {"nngp": k, "ntk": k}


def _ridge(diag_reg: float = 0.0, diag_reg_absolute_scale: bool = False, trace_axes: object = None) -> Any:  # noqa: ARG001
    """Return the last arguments of all predictions by name. What ``trace_axes`` says, the shapes of kernels say too."""
    return {"diag_reg": diag_reg, "diag_reg_absolute_scale": diag_reg_absolute_scale}


def gradient_descent_mse(
    k_train_train: Any, y_train: Any, learning_rate: float = 1.0, *ridge: Any, **options: Any
) -> Any:
    """Return ``predict_fn(t, fx_train_0, fx_test_0, k_test_train)``.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.compat.neural_tangents.predict import gradient_descent_mse
    >>> gradient_descent_mse(np.eye(2), np.ones((2, 1)))(t=None).ravel()
    array([1., 1.])
    """
    dynamics = predict.gradient_descent_mse(k_train_train, y_train, learning_rate, **_ridge(*ridge, **options))

    def predict_fn(t: Any = None, fx_train_0: Any = 0.0, fx_test_0: Any = None, k_test_train: Any = None) -> Any:
        """Return the outputs at time t: on the training and the test inputs, unless their start is None."""
        start = 0.0 if fx_train_0 is None else fx_train_0
        found = dynamics(t, start, fx_test_0, None if fx_test_0 is None else k_test_train)
        return found[1] if fx_train_0 is None else found

    return predict_fn


def gradient_descent_mse_ensemble(
    kernel_fn: Any, x_train: Any, y_train: Any, learning_rate: float = 1.0, *ridge: Any, **options: Any
) -> Any:
    """Return ``predict_fn(t, x_test, get, compute_cov)``, by default the means of both kernels.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.compat.neural_tangents import predict, stax
    >>> kernel_fn = stax.serial(stax.Dense(1)).kernel_fn
    >>> predict.gradient_descent_mse_ensemble(kernel_fn, np.eye(2), np.ones((2, 1)))(t=0.0, get="ntk").ravel()
    array([0., 0.])
    """
    kernel: Any = kernel_fn.kernel if isinstance(kernel_fn, KernelFn) else kernel_fn
    named = _ridge(*ridge, **options)
    ensemble: Any = predict.gradient_descent_mse_ensemble(kernel, x_train, y_train, learning_rate, **named)

    def predict_fn(t: Any = None, x_test: Any = None, get: Any = None, compute_cov: bool = False) -> Any:
        """Return means, or pairs of mean and covariance."""
        return _gaussian(ensemble(t, x_test, get or ("nngp", "ntk"), compute_cov), covariance=compute_cov)

    return predict_fn


def gp_inference(k_train_train: Any, y_train: Any, *ridge: Any, **options: Any) -> Any:
    """Return ``predict_fn(get, k_test_train, k_test_test)``: means, with covariances if ``k_test_test`` is given.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.compat.neural_tangents.predict import gp_inference
    >>> gp_inference({"nngp": np.eye(2)}, np.ones(2))("nngp", {"nngp": np.ones((1, 2))})
    array([2.])
    """
    bare = not isinstance(k_train_train, tuple | Mapping)
    inference: Any = predict.gp_inference(_both(k_train_train), y_train, **_ridge(*ridge, **options))

    def predict_fn(get: Any = None, k_test_train: Any = None, k_test_test: Any = None) -> Any:
        """Return means, or pairs of mean and covariance."""
        get, known = get or ("nngp", "ntk"), k_test_test is not None
        if bare and known and "ntk" in (get if isinstance(get, tuple) else (get,)):
            raise ValueError("get contains 'ntk', whose covariance needs both kernels, but k_train_train is one array")
        kernels = {"k_test_train": _both(k_test_train), "k_test_test": _both(k_test_test)}
        return _gaussian(inference(get=get, compute_cov=known, **kernels), covariance=known)

    return predict_fn


def max_learning_rate(ntk_train_train: Any, y_train_size: int | None = None, momentum: float = 0.0) -> float:
    """Return the largest stable learning rate. ``y_train_size`` is by default the number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.compat.neural_tangents.predict import max_learning_rate
    >>> round(max_learning_rate(np.eye(2)), 12)
    4.0
    """
    return predict.max_learning_rate(ntk_train_train, y_train_size or len(ntk_train_train), momentum)
