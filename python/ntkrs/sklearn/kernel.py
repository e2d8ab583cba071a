"""The kernels of infinitely wide networks as kernels of scikit-learn's Gaussian processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter
from sklearn.gaussian_process.kernels import Kernel as SklearnKernel

from ntkrs._checks import arrays, numbers
from ntkrs._checks.advice import shown
from ntkrs.sklearn.architectures import architecture, described, is_list, per_layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, Self

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, KernelName
    from ntkrs.kernel import Kernel, PreparedInputs
    from ntkrs.layers import Sequential
    from ntkrs.sklearn.architectures import Activations, Scales

    Vector = NDArray[np.float64]
    #: The least and the largest value of a scale, one such pair for each dense layer, or "fixed".
    Bounds = tuple[float, float] | ArrayLike | Literal["fixed"]


class NTKKernel(SklearnKernel):  # type: ignore[misc]  # scikit-learn ships no types
    """The NTK or NNGP of an infinitely wide network, for every estimator of scikit-learn that takes a kernel.

    Its hyperparameters are the scales of the weights and biases. Estimators that learn hyperparameters get the exact
    gradient of the kernel with respect to their logarithms.

    Parameters
    ----------
    depth : int, default=3
        The number of hidden layers.
    activation : str, activation, or list of them, default="relu"
        The activation of all hidden layers, or one for each: an object, or its name as in :func:`ntkrs.mlp`.
    sigma_w, sigma_b : float or list of float, default=2**0.5 and 0.5
        Scales of weights and biases: a number for all dense layers, or ``depth + 1`` numbers. ``sigma_w`` is positive.
        Where ``sigma_b`` is 0, there are no biases, and the scale is not learned. Without biases, ``sigma_w`` of a ReLU
        network only scales the kernel.
    sigma_w_bounds, sigma_b_bounds : pair of float or "fixed", default=(1e-2, 1e2) and (1e-3, 1e2)
        Least and largest value that learning may choose, or "fixed" for a scale that is not learned.
    get : {"ntk", "nngp"}, default="ntk"
        The kernel.
    frozen : int, default=0
        The number of dense layers, from the first, that are not trained. It has no effect on the NNGP.

    Attributes
    ----------
    theta : (n,) ndarray
        Logarithms of the scales that are learned: those of ``sigma_b``, then those of ``sigma_w``. A number is one
        entry, a list one for each layer.
    bounds : (n, 2) ndarray
        Logarithms of their bounds.
    architecture : Sequential
        The architecture, with layers of width 1.

    See Also
    --------
    ntkrs.kernel.Kernel : The same kernel with more options, such as sums over layers and linear operators.

    Notes
    -----
    The kernel is computed in float64. KernelRidge calls a plain function once for each pair of rows, but an NTKKernel
    once for all pairs. Theta has one entry for each scale that is learned; a gradient takes N² numbers for each.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Lee, Bahri et al. (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.kernel_ridge import KernelRidge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from ntkrs.sklearn import NTKKernel
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), KernelRidge(alpha=10.0, kernel=NTKKernel(depth=2)))
    >>> model.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.3
    True

    Hyperparameters are learned where the estimator learns those of its kernel, and kernels can be added and multiplied:

    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import WhiteKernel
    >>> x = np.linspace(-3, 3, 40).reshape(-1, 1)
    >>> labels = np.sin(2 * x[:, 0]) + 0.3 * np.random.default_rng(0).standard_normal(40)
    >>> prior = NTKKernel(depth=1, activation="erf", get="nngp") + WhiteKernel(0.1)
    >>> model = GaussianProcessRegressor(prior).fit(x, labels)
    >>> len(model.kernel_.theta)  # sigma_b, sigma_w, and the noise
    3
    """

    def __init__(
        self,
        depth: int = 3,
        activation: Activations = "relu",
        sigma_w: Scales = 2**0.5,
        sigma_b: Scales = 0.5,
        sigma_w_bounds: Bounds = (1e-2, 1e2),
        sigma_b_bounds: Bounds = (1e-3, 1e2),
        get: KernelName = "ntk",
        frozen: int = 0,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.sigma_w = sigma_w
        self.sigma_b = sigma_b
        self.sigma_w_bounds = sigma_w_bounds
        self.sigma_b_bounds = sigma_b_bounds
        self.get = get
        self.frozen = frozen

    @classmethod
    def from_architecture(cls, arch: Sequential) -> Self:
        """Return the NTK of an architecture. Scales that are equal in all layers become one number.

        Parameters
        ----------
        arch : Sequential
            The architecture. Widths are ignored. The layers that are not trained must be the first ones.

        Raises
        ------
        TypeError
            If ``arch`` is not a Sequential.
        ValueError
            If the parameters of this class cannot describe it: scales are unknown, or a layer has ``tau_b``.

        Examples
        --------
        >>> from ntkrs import Dense, Erf, Sequential
        >>> from ntkrs.sklearn import NTKKernel
        >>> NTKKernel.from_architecture(Sequential(Dense(64, sigma_w=1.5), Erf(), Dense(1)))
        NTKKernel(depth=1, activation=Erf(), sigma_w=(1.5, 1.0), sigma_b=0.0)
        """
        return cls(**described(arch))

    @property
    def architecture(self) -> Sequential:
        """The architecture, with layers of width 1."""
        return architecture(self.depth, self.activation, self.sigma_w, self.sigma_b, self.frozen)

    @property
    def hyperparameter_sigma_b(self) -> Any:
        """The specification of ``sigma_b``."""
        return _hyperparameter(self, "sigma_b", self.sigma_b_bounds)

    @property
    def hyperparameter_sigma_w(self) -> Any:
        """The specification of ``sigma_w``."""
        return _hyperparameter(self, "sigma_w", self.sigma_w_bounds)

    @property
    def theta(self) -> Vector:
        """The logarithms of the scales that are learned."""
        parts = [np.log(scales[learned]) for _, scales, learned in learned_scales(self)]
        return np.concatenate(parts) if parts else np.empty(0)

    @theta.setter
    def theta(self, theta: ArrayLike) -> None:
        values = np.exp(np.asarray(theta, dtype=np.float64))
        parts = list(learned_scales(self))
        count = sum(int(learned.sum()) for _, _, learned in parts)
        if values.shape != (count,):
            raise ValueError(f"theta has shape {values.shape}, but ({count},) is needed: one for each learned scale")
        for name, scales, learned in parts:
            given, values = values[: learned.sum()], values[learned.sum() :]
            scales[learned] = given
            setattr(self, name, tuple(scales.tolist()) if is_list(getattr(self, name)) else float(scales[0]))

    def _kernel(self) -> tuple[Kernel, KernelName]:
        """Return the kernel of the architecture, and the name of the one that is computed."""
        name = numbers.choice(self.get, "get", ("ntk", "nngp"))
        return self.architecture.kernel(), cast("KernelName", name)

    def __call__(self, X: ArrayLike, Y: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the kernel, and with ``eval_gradient`` also its gradient with respect to ``theta``.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        Y : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        eval_gradient : bool, default=False
            If True, return the gradient too. Y must be None then.

        Returns
        -------
        K : (N, M) ndarray
            The kernel, in float64.
        K_gradient : (N, N, n) ndarray
            ``σ ∂K/∂σ`` for each learned scale, summed over layers that share it. Only if ``eval_gradient``.

        Raises
        ------
        ValueError
            If a parameter or an input is invalid, or ``eval_gradient`` is True and Y is given.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKKernel
        >>> K, K_gradient = NTKKernel(depth=1, sigma_b=0.0, get="nngp")(np.eye(2), eval_gradient=True)
        >>> np.allclose(K_gradient[:, :, 0], 4 * K)  # without biases, Σ is sigma_w⁴ times a constant
        True
        """
        kernel, name = self._kernel()
        if eval_gradient and Y is not None:
            raise ValueError("Y is given and eval_gradient is True, but gradients are for Y=None alone: pass X only.")
        x = np.asarray(X, dtype=np.float64)
        if not eval_gradient:
            z = None if Y is None or Y is X else np.asarray(Y, dtype=np.float64)
            return kernel(x, z, get=name, progress=False)
        return kernel(x, get=name, progress=False), _gradient(self, x)

    def diag(self, X: ArrayLike) -> Vector:
        """Return the diagonal of ``kernel(X)``, to the last bit, without the rest of it.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N,) ndarray
        """
        kernel, name = self._kernel()
        return cast("Vector", kernel.diag(np.asarray(X, dtype=np.float64), get=name))

    def is_stationary(self) -> bool:
        """Return False: the kernel is not a function of the difference of two inputs."""
        return False

    def __repr__(self) -> str:
        shown = [f"depth={self.depth!r}", f"activation={self.activation!r}"]
        shown += [f"{name}={_short(getattr(self, name))}" for name in ("sigma_w", "sigma_b")]
        shown += [f"get={self.get!r}"] if self.get != "ntk" else []
        shown += [f"frozen={self.frozen!r}"] if self.frozen else []
        return f"{type(self).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    """Return a scale, or several, to three digits, or the repr of anything else."""
    if is_list(value):
        return f"({', '.join(map(_short, value))})"
    return str(float(f"{value:.3g}")) if isinstance(value, float | np.floating) else repr(value)


def learned_scales(kernel: NTKKernel) -> Iterator[tuple[str, Vector, NDArray[np.bool_]]]:
    """Yield the name and values of each hyperparameter that is not fixed, and True for values that are learned."""
    for hyperparameter in kernel.hyperparameters:
        if not hyperparameter.fixed:
            scales = _scales(kernel, hyperparameter.name)
            yield hyperparameter.name, scales, scales > 0


def weighted_gradient(prior: NTKKernel, kernel: Kernel, inputs: PreparedInputs, weights: Vector) -> Vector:
    """Return ``Σ_ij A_ij σ ∂K_ij/∂σ`` for each learned scale of the prior and weights A, (n,).

    ``kernel`` is that of its architecture. No (N, N, n) array is formed.
    """
    parts = list(learned_scales(prior))
    if not parts:
        return np.empty(0)
    gradient = kernel.gradient(inputs, get=prior.get, weights=weights, progress=False)
    sums = [(_shared(getattr(gradient, name), len(scales)) * scales)[learned] for name, scales, learned in parts]
    return np.concatenate(sums)


def _gradient(kernel: NTKKernel, x: Vector) -> Vector:
    """Return ``σ ∂K/∂σ`` for each learned scale, (N, N, n)."""
    parts = list(learned_scales(kernel))
    result = np.empty((len(x), len(x), sum(int(learned.sum()) for _, _, learned in parts)))
    if not parts:
        return result
    gradient = kernel.architecture.kernel().gradient(x, get=kernel.get, progress=False)
    at = 0
    for name, scales, learned in parts:
        layers = _shared(getattr(gradient, name), len(scales))
        for layer in np.flatnonzero(learned):
            np.multiply(layers[layer], scales[layer], out=result[:, :, at])
            at += 1
    return result


def _shared(layers: Vector, count: int) -> Vector:
    """Return derivatives for each layer, or their sum if one scale is shared by all."""
    return layers if count == len(layers) else layers.sum(axis=0, keepdims=True)


def _hyperparameter(kernel: NTKKernel, name: str, bounds: Any) -> Any:
    """Return the specification of the scales that are not 0.

    Raises
    ------
    TypeError, ValueError
        If the bounds or the scales are invalid.
    """
    scales = _scales(kernel, name)
    learned = scales > 0
    pairs = bounding_pairs(bounds, f"{name}_bounds", len(scales))
    if pairs is None or not learned.any():
        return Hyperparameter(name, "numeric", "fixed", len(scales))
    return Hyperparameter(name, "numeric", pairs[learned] if len(pairs) > 1 else pairs, int(learned.sum()))


def bounding_pairs(bounds: Any, name: str, count: int = 1) -> Vector | None:
    """Return bounds as (1, 2) or (count, 2) numbers, or None for "fixed".

    Raises
    ------
    TypeError, ValueError
        If they are not positive, in order, and as many as needed.
    """
    if isinstance(bounds, str) and bounds == "fixed":
        return None
    needed = "but 'fixed', or two positive numbers with the least first, are needed"
    pairs = np.empty((0, 0)) if isinstance(bounds, str) else np.atleast_2d(arrays.finite_float64(bounds, name))
    if pairs.shape not in ((1, 2), (count, 2)) or pairs.min() <= 0 or (pairs[:, 0] > pairs[:, 1]).any():
        raise ValueError(f"{name} is {shown(bounds)}, {needed}")
    return pairs


def _scales(kernel: NTKKernel, name: str) -> Vector:
    """Return the scales of this name: one, or as many as dense layers.

    Raises
    ------
    TypeError, ValueError
        If they are not finite numbers, positive for ``sigma_w`` and >= 0 for ``sigma_b``, or too few or many.
    """
    given = getattr(kernel, name)
    scales = per_layer(given, name, numbers.integer(kernel.depth, "depth")) if is_list(given) else [given]
    checked = numbers.positive if name == "sigma_w" else numbers.nonnegative
    return np.array([checked(scale, name) for scale in scales])
