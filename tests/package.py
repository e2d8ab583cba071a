"""Objects of the package for the activations and scales that the oracles name."""

from dataclasses import replace

import ntkrs
from ntkrs import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Sequential
from ntkrs.activations import Elementwise
from oracles import convolution
from oracles.activations import parse

#: All public names, which a repr consists of.
PUBLIC = {name: getattr(ntkrs, name) for name in ntkrs.__all__}

CLASSES = {cls.name: cls for cls in Elementwise.__subclasses__() if cls.__name__ != "Activation"}


def built(activation):
    """Return the activation of ntkrs that the oracles call by this name, or by a tuple of a name and parameters."""
    name, parameters = parse(activation)
    return CLASSES[name](*parameters)


def network(sigma_w, sigma_b, layers, **last):
    """Return the kernel of a network with these scales, one per dense layer, and these activations between them."""
    dense = [Dense(1, w, b) for w, b in zip(sigma_w, sigma_b, strict=True)]
    dense[-1] = replace(dense[-1], **last)
    both = zip(dense, [*layers, None], strict=True)
    return Sequential(*[part for pair in both for part in pair if part is not None]).kernel()


def convolutional(network):
    """Return the architecture that ``oracles.convolution`` writes as this list."""
    return Sequential(*map(_layer, network))


def _layer(layer):
    heads = dict(zip(convolution.HEADS, (Flatten(), GlobalAvgPool()), strict=True))
    if isinstance(layer, convolution.Pool):
        return AvgPool(layer.window, layer.strides)
    if not isinstance(layer, convolution.Scales):
        return heads[layer] if layer in heads else built(layer)
    scales = {name: getattr(layer, name) for name in ("sigma_w", "sigma_b", "trainable", "tau_b")}
    if isinstance(layer, convolution.Dense):
        return Dense(layer.width, **scales)
    return Conv(layer.width, layer.window, strides=layer.strides, padding=layer.padding, **scales)
