"""Reading scikit-learn's multilayer perceptrons, without importing scikit-learn."""

from __future__ import annotations

from typing import Any

from ntkrs.convert._activations import named
from ntkrs.convert._standard import Found, Standard, affine, assemble, interleave

_READABLE = ("MLPRegressor", "MLPClassifier")


def read_estimator(estimator: Any) -> Standard:
    """Read a fitted MLPRegressor or MLPClassifier, without its output activation."""
    kinds = [cls.__name__ for cls in type(estimator).__mro__]
    if not any(kind in _READABLE for kind in kinds):
        hint = " Pass its last step, and transform the inputs by the others." if "Pipeline" in kinds else ""
        raise TypeError(
            f"estimator is a {type(estimator).__module__}.{kinds[0]}, which cannot be read. "
            f"These can: {', '.join(_READABLE)}.{hint}"
        )
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator is a {kinds[0]} without coefs_: it is not fitted. Call its fit first.")
    dense = [
        affine(
            f"layer {index}",
            Found(f"estimator.coefs_[{index}]", weight),
            Found(f"estimator.intercepts_[{index}]", bias),
        )
        for index, (weight, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    ]
    activation = named(estimator.activation, "the activation of estimator")
    return assemble(interleave(dense, [activation] * (len(dense) - 1)))
