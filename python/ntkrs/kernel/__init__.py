"""Kernels of infinitely wide networks."""

from ntkrs._public import publish
from ntkrs.kernel._error_bound import ErrorBound
from ntkrs.kernel._gradient import KernelGradient
from ntkrs.kernel._inputs import PreparedInputs
from ntkrs.kernel._kernel import Kernel
from ntkrs.kernel._results import Nngp, NngpNtk, Ntk, NtkNngp

__all__ = ["ErrorBound", "Kernel", "KernelGradient", "Nngp", "NngpNtk", "Ntk", "NtkNngp", "PreparedInputs"]

publish(globals())
