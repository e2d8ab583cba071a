"""The kernels of the training points with their linear systems, each computed once, when first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs.predict.bases import EigenBasis, SampleBasis
from ntkrs.predict.once import Once
from ntkrs.predict.sources import Function, Matrices
from ntkrs.predict.system import LinearSystem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array


class TrainingKernels:
    """Kernels of the training points, ``K + rI`` of each, and what is known of it."""

    def __init__(self, source: Function | Matrices, diag_reg: float, absolute: bool) -> None:
        self.source = source
        self._regularization = (
            numbers.nonnegative(diag_reg, "diag_reg"),
            numbers.boolean(absolute, "diag_reg_absolute_scale"),
        )
        self.eps = source.eps
        self._once = Once()

    def __repr__(self) -> str:
        return repr(self.source)

    def system(self, name: str) -> LinearSystem:
        """Return the regularised kernel of this name."""
        found: LinearSystem = self._once.get(("system", name), lambda: self._system(name))
        return found

    def basis(self, name: str) -> SampleBasis | EigenBasis:
        """Return the basis in which the inverse of the regularised kernel is known best."""
        system = self.system(name)
        return EigenBasis(system.modes) if system.factor is None else SampleBasis(system.factor)

    def prior(self, name: str, basis: SampleBasis | EigenBasis, of: str) -> NDArray[Any]:
        """Return ``VᵀΣV``: the kernel ``name`` in the basis V of the kernel ``of``."""
        if isinstance(basis, SampleBasis):
            return self.source.train(name)
        found: NDArray[np.float64] = self._once.get(("prior", name, of), lambda: self._rotated(name, basis))
        return found

    def _system(self, name: str) -> LinearSystem:
        """Return ``K + rI``."""
        diag_reg, absolute = self._regularization
        label = self.source.label.format(name)
        return LinearSystem(self.source.train(name), diag_reg, absolute=absolute, name=label)

    def _rotated(self, name: str, basis: EigenBasis) -> NDArray[np.float64]:
        """Return ``VᵀΣV`` for eigenvectors V."""
        vectors = basis.modes.vectors
        return np.asarray(vectors.T @ (self.source.train(name).astype(np.float64, copy=False) @ vectors))


def given(
    kernel: Any, x_train: Any, y_train: Any, k_train_train: Any, option: str
) -> tuple[Function | Matrices, Array]:
    """Return the source of kernels and the targets of ``(kernel, x_train, y_train)`` or ``(k_train_train, y_train)``.

    ``option`` is the argument that follows x_train and y_train, for messages.

    Raises
    ------
    TypeError, ValueError
        If arguments are missing or do not belong together, or are invalid.
    """
    if (kernel is None) == (k_train_train is None):
        raise TypeError("pass (kernel, x_train, y_train), or kernel matrices (k_train_train, y_train)")
    first = k_train_train if kernel is None else kernel
    if callable(first):
        function_of = kernels.kernel_function(first)
        if x_train is None or y_train is None:
            missing = "x_train" if x_train is None else "y_train"
            raise TypeError(f"{missing} is missing: a kernel function is followed by x_train and y_train")
        y = kernels.targets(y_train)
        return Function(function_of, x_train, len(y)), y
    if x_train is not None and y_train is not None:
        raise TypeError(
            f"kernel is a {type(first).__name__}, but a callable kernel(X, Z, get=...) is needed with x_train and "
            f"y_train. A kernel matrix is followed by y_train alone: pass what comes next by keyword, {option}=."
        )
    if x_train is None and y_train is None:
        raise TypeError("y_train is missing: a kernel matrix is followed by y_train")
    y = kernels.targets(x_train if y_train is None else y_train)
    return Matrices(first, len(y)), y
