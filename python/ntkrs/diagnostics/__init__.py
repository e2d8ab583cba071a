"""Properties of kernels, and the distance of finite networks from the theory.

:func:`spectrum`, :func:`label_energy`, :func:`kernel_target_alignment` and :func:`centred_alignment` describe a kernel
matrix, and :func:`learning_curve` predicts its test error. :func:`width_convergence`, :func:`kernel_drift` and
:func:`linearization_gap` measure the three claims of the theory as the width grows: Θ̂ → Θ, Θ_t ≈ Θ_0 and f_t ≈ f_lin.
:func:`kappa` measures how lazy a network is before training, and :func:`watch` its kernel during any training.
:func:`phase_diagram` gives the fixed points of deep networks at initialisation, and the edge of chaos.

Examples
--------
>>> import numpy as np, ntkrs
>>> arch = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu")
>>> found = ntkrs.diagnostics.width_convergence(arch, np.eye(3), widths=(16, 256), seeds=5)
>>> bool(found.values[1].mean() < found.values[0].mean())  # wider networks are closer to the limit
True
"""

from ntkrs._public import publish
from ntkrs.diagnostics._kappa import kappa
from ntkrs.diagnostics.alignment import centred_alignment, kernel_target_alignment
from ntkrs.diagnostics.convergence import WidthConvergence, width_convergence
from ntkrs.diagnostics.lazy import KernelDrift, LinearizationGap, kernel_drift, linearization_gap
from ntkrs.diagnostics.learning_curve import LearningCurve, learning_curve
from ntkrs.diagnostics.phase import PhaseDiagram, phase_diagram
from ntkrs.diagnostics.scaling import Line, WidthScaling
from ntkrs.diagnostics.spectra import Spectrum, label_energy, spectrum
from ntkrs.diagnostics.watching import Sight, Watch, watch

__all__ = [
    "KernelDrift",
    "LearningCurve",
    "Line",
    "LinearizationGap",
    "PhaseDiagram",
    "Sight",
    "Spectrum",
    "Watch",
    "WidthConvergence",
    "WidthScaling",
    "centred_alignment",
    "kappa",
    "kernel_drift",
    "kernel_target_alignment",
    "label_energy",
    "learning_curve",
    "linearization_gap",
    "phase_diagram",
    "spectrum",
    "watch",
    "width_convergence",
]

publish(globals())
