"""The experiments of ``ntkrs demo``: real data, infinite and finite networks, no network access."""

from ntkrs._public import publish
from ntkrs.demo.experiments import (
    Circle,
    Digits,
    Dynamics,
    FiniteTraining,
    Gram,
    Kappa,
    Lazy,
    Settings,
    circle,
    dynamics,
    finite_training,
    gram,
    lazy_training,
    load_digits,
    peak_megabytes,
    spectrum,
    width_scaling,
)

__all__ = [
    "Circle",
    "Digits",
    "Dynamics",
    "FiniteTraining",
    "Gram",
    "Kappa",
    "Lazy",
    "Settings",
    "circle",
    "dynamics",
    "finite_training",
    "gram",
    "lazy_training",
    "load_digits",
    "peak_megabytes",
    "spectrum",
    "width_scaling",
]

publish(globals())
