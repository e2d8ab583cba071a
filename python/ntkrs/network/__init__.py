"""Finite networks."""

from typing import Any

from ntkrs._public import publish
from ntkrs.network._network import Network
from ntkrs.network._training import History

__all__ = ["History", "Network"]

publish(globals())


def _restore(*fields: Any) -> Network:
    """Restore the network in a pickle of an earlier version, from its architecture, n_0, θ and parameterization."""
    network = object.__new__(Network)
    network.__setstate__(fields)
    return network
