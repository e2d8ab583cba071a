"""Objects of the package for the activations that the oracles name."""

from ntkrs.activations import Elementwise
from oracles.activations import parse

CLASSES = {cls.name: cls for cls in Elementwise.__subclasses__() if cls.__name__ != "Activation"}


def built(activation):
    """Return the activation of ntkrs that the oracles call by this name, or by a tuple of a name and parameters."""
    name, parameters = parse(activation)
    return CLASSES[name](*parameters)
