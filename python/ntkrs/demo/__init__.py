"""The experiments of ``ntkrs demo``, with infinite and finite networks on real data. Nothing is downloaded.

Examples
--------
>>> from ntkrs import demo
>>> settings = demo.Settings(samples=150)
>>> digits = demo.load_digits(settings, seed=0)
>>> demo.gram(digits.x, settings).ntk.shape
(150, 150)
"""

from ntkrs._public import publish
from ntkrs.demo.data import Digits, Settings, load_digits
from ntkrs.demo.finite import FiniteTraining, Kappa, Lazy, finite_training, lazy_training, width_scaling
from ntkrs.demo.images import convolutional_network, few_labels
from ntkrs.demo.infinite import Circle, Dynamics, Gram, circle, dynamics, gram, peak_megabytes, spectrum
from ntkrs.demo.line import Line, line

__all__ = [
    "Circle",
    "Digits",
    "Dynamics",
    "FiniteTraining",
    "Gram",
    "Kappa",
    "Lazy",
    "Line",
    "Settings",
    "circle",
    "convolutional_network",
    "dynamics",
    "few_labels",
    "finite_training",
    "gram",
    "lazy_training",
    "line",
    "load_digits",
    "peak_megabytes",
    "spectrum",
    "width_scaling",
]

publish(globals())
