"""Finite networks."""

from ntkrs.network._network import Network, _restore
from ntkrs.network._training import History

__all__ = ["History", "Network", "_restore"]
