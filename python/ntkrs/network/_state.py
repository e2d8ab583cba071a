"""The state of a finite network, which all functions of this folder take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrs import _core
from ntkrs._architecture import finite_specs, layer_scales, parameter_views
from ntkrs._checks import arrays
from ntkrs.activations import Activation

if TYPE_CHECKING:
    import numpy as np

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, ArrayLike, Parameterization
    from ntkrs.activations import Spec


class NetworkState:
    """An architecture with parameters θ, and the core's network for both.

    Attributes
    ----------
    arch : Architecture
        The architecture.
    in_features : int
        n_0, the number of input features.
    theta : (P,) ndarray
        θ, read-only.
    parameterization : str
        "ntk" or "standard".
    weights, biases : tuple of ndarray
        Views of θ for each dense layer; None for a layer without biases.
    core : _core.Network
        The core's network.
    """

    def __init__(
        self, arch: Architecture, in_features: int, theta: Array, parameterization: Parameterization = "ntk"
    ) -> None:
        theta.flags.writeable = False
        weights, biases = zip(*parameter_views(arch, in_features, theta), strict=True)
        self.arch: Architecture = arch
        self.in_features: int = in_features
        self.theta: Array = theta
        self.parameterization: Parameterization = parameterization
        self.weights: tuple[Array, ...] = weights
        self.biases: tuple[Array | None, ...] = biases
        self.core: _core.Network = self.core_network(1.0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of θ and of all results."""
        return self.theta.dtype

    @property
    def specs(self) -> list[Spec]:
        """The activations, as the core takes them."""
        return finite_specs(self.arch)

    def core_network(self, alpha: float) -> _core.Network:
        """Return the core's network for α f, whose last layer is scaled by α."""
        scales = layer_scales(self.arch, self.in_features, self.parameterization)
        weight_scale, bias_scale, tau_w, tau_b = scales[-1]
        scales[-1] = (alpha * weight_scale, alpha * bias_scale, alpha * tau_w, alpha * tau_b)
        return _core.Network((self.weights, self.biases), scales, self.specs)

    def with_parameters(self, theta: ArrayLike) -> NetworkState:
        """Return this state with a copy of other parameters.

        Raises
        ------
        ValueError, TypeError
            If the parameters have another shape, hold NaN or an infinity, or are not real numbers.
        """
        values = arrays.floating(theta, "theta")
        if values.shape != self.theta.shape:
            raise ValueError(f"theta has shape {values.shape}, but this network has {self.theta.shape} parameters")
        values = arrays.copied(arrays.finite(values, "theta"))
        return NetworkState(self.arch, self.in_features, values, self.parameterization)

    def batch(self, values: ArrayLike, name: str) -> Array:
        """Return inputs (N, n_0) in the dtype of the network.

        Raises
        ------
        ValueError, TypeError
            If the inputs are not two-dimensional, not real numbers, or too large for the dtype.
        """
        return arrays.converted(arrays.batch(values, name), self.dtype, name)

    def values_per_sample(self) -> int:
        """Return the number of values that a forward and backward pass hold per sample.

        It is about twice as large if an activation is a Python function, which is called before the passes.
        """
        units = self.in_features + sum(2 * dense.width for dense in self.arch.dense)
        callables = any(isinstance(activation, Activation) for activation in self.arch.activations)
        return self.in_features + (2 if callables else 1) * units
