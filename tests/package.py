"""Objects of the package for the activations and scales that the oracles name."""

from dataclasses import replace

from ntkrs import Dense, Sequential
from ntkrs.activations import Elementwise
from oracles.activations import parse

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
