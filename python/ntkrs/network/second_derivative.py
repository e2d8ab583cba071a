"""Products of a network's second derivative on a batch with directions in parameter space, exact to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ntkrs import _core
from ntkrs._architecture import layer_scales, parameter_views
from ntkrs._checks import memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, Parameterization

    Vector = NDArray[np.float64]


class Parameters(Protocol):
    """A network with its parameters: the part of a Network, and of its state, that second derivatives need."""

    @property
    def arch(self) -> Architecture:
        """The architecture."""

    @property
    def in_features(self) -> int:
        """n_0."""

    @property
    def parameterization(self) -> Parameterization:
        """The parameterization, "ntk" or "standard"."""

    @property
    def weights(self) -> tuple[Array, ...]:
        """W of each dense layer."""

    @property
    def biases(self) -> tuple[Array | None, ...]:
        """b of each dense layer, or None."""


class Tangent(NamedTuple):
    """A direction in parameter space, and the derivative of every dense layer along it."""

    #: The direction of the scaled weights V̇^l, (n_l, n_{l+1}).
    weights: list[Vector]
    #: The derivatives ẋ^l of the inputs, (N, n_l), and ḣ^{l+1} of the pre-activations, (N, n_{l+1}).
    inputs: list[Vector]
    hidden: list[Vector]


class _Layer(NamedTuple):
    """A dense layer ``h = x V + c`` on the batch: V, x, φ' and φ'' at h, and the scales (τ_w, τ_b) of derivatives."""

    weights: Vector
    inputs: Vector
    slopes: Vector
    curvatures: Vector
    scales: tuple[float, float]


def bytes_needed(net: Parameters, samples: int) -> int:
    """Return the number of bytes that :class:`SecondDerivative` and its products hold."""
    units = sum(dense.width for dense in net.arch.dense)
    return 8 * (samples * (net.in_features + 12 * units) + 5 * _count(net))


def _count(net: Parameters) -> int:
    """Return P, the number of parameters."""
    return sum(block.size for block in (*net.weights, *net.biases) if block is not None)


class SecondDerivative:
    """The second derivative D²f of a float64 network at its parameters, on inputs (N, n_0).

    Products are computed forward over forward and forward over reverse. A dot stands for the derivative along a, and V̇
    for the scaled weights of a::

        D²f(a, b):      ḧ = ẍ V + ẋ_a V̇_b + ẋ_b V̇_a,    ẍ = φ' ḧ + φ'' ḣ_a ḣ_b
        D²f(a, ·)ᵀ u:   δ = φ' (δ Vᵀ),    δ̇ = φ'' ḣ (δ Vᵀ) + φ' (δ̇ Vᵀ + δ V̇ᵀ),    ġ = ẋᵀ δ + xᵀ δ̇

    x, φ' and φ'' are computed once. A tangent costs 4 N P flops, and the two products cost 6 N P and 10 N P.

    Raises
    ------
    MemoryError
        If the layers' values and their derivatives do not fit. The check comes before any computation.
    """

    def __init__(self, net: Parameters, x: Any) -> None:
        self._net = net
        memory.require(bytes_needed(net, len(x)), f"the second derivative on {len(x)} samples", "Take fewer rows of X.")
        self._layers: list[_Layer] = []
        activations = [*net.arch.activations, None]
        scales = layer_scales(net.arch, net.in_features, net.parameterization)
        layers = zip(scales, net.weights, net.biases, activations, strict=True)
        for (weight_scale, bias_scale, tau_w, tau_b), weight, bias, activation in layers:
            weights: Any = weight_scale * weight
            inputs: Any = x
            h: Any = x @ weights
            if bias is not None:
                h += bias_scale * bias
            derivatives: list[Any] = [h, np.zeros((0, 0)), np.zeros((0, 0))]  # none behind the last layer
            if activation is not None:
                spec: Any = activation.spec()
                derivatives = [values.reshape(h.shape) for values in _core.derivatives(spec, h.ravel())]
            x, slopes, curvatures = derivatives
            self._layers.append(_Layer(weights, inputs, slopes, curvatures, (tau_w, tau_b)))

    def tangent(self, direction: Vector) -> Tangent:
        """Return the derivative of all layers along a direction in parameter space, (P,)."""
        tangent = Tangent([], [], [])
        moved: Vector = np.zeros_like(self._layers[0].inputs)
        for layer, (weight, bias) in zip(self._layers, self._blocks(direction), strict=True):
            own = layer.scales[0] * weight
            h = layer.inputs @ own
            if tangent.inputs:  # the inputs of the network do not move
                h += moved @ layer.weights
            if bias is not None:
                h += layer.scales[1] * bias
            tangent.weights.append(own)
            tangent.inputs.append(moved)
            tangent.hidden.append(h)
            moved = layer.slopes * h if layer.slopes.size else h
        return tangent

    def outputs(self, a: Tangent, b: Tangent) -> Vector:
        """Return D²f(a, b), (N, O)."""
        h: Vector = np.zeros_like(a.hidden[0])
        for index, layer in enumerate(self._layers[1:], start=1):
            before = self._layers[index - 1]
            x = before.slopes * h + before.curvatures * a.hidden[index - 1] * b.hidden[index - 1]
            h = x @ layer.weights + a.inputs[index] @ b.weights[index] + b.inputs[index] @ a.weights[index]
        return h

    def gradient(self, a: Tangent, u: Vector) -> Vector:
        """Return D²f(a, ·)ᵀ u, (P,), for weights u of the outputs, (N, O)."""
        gradient = np.empty(_count(self._net))
        blocks = self._blocks(gradient)
        delta, change = u, np.zeros_like(u)
        for index, layer in reversed([*enumerate(self._layers)]):
            weight, bias = blocks[index]
            np.multiply(layer.scales[0], a.inputs[index].T @ delta + layer.inputs.T @ change, out=weight)
            if bias is not None:
                np.multiply(layer.scales[1], change.sum(axis=0), out=bias)
            if index:
                before, back = self._layers[index - 1], delta @ layer.weights.T
                turned = change @ layer.weights.T + delta @ a.weights[index].T
                change = before.curvatures * a.hidden[index - 1] * back + before.slopes * turned
                delta = before.slopes * back
        return gradient

    def _blocks(self, theta: Vector) -> list[tuple[Any, Any]]:
        """Return the weights and biases of every dense layer as views of ``theta``."""
        return [*parameter_views(self._net.arch, self._net.in_features, theta)]
