"""The empirical NTK of any network, from activations and gradients that were recorded layer by layer.

``ntkrs.empirical_ntk`` takes pairs (activations, gradients) of maps made of matrices, and ``ntkrs.jacobian_ntk`` takes
per-sample gradients of any parameters. Neither makes an array of N rows and P parameters.
"""

from ntkrs._checks.records import Block, Linear, Lookup
from ntkrs._public import publish
from ntkrs.empirical._ntk import empirical_ntk, jacobian_ntk

__all__ = ["Block", "Linear", "Lookup", "empirical_ntk", "jacobian_ntk"]

publish(globals())
