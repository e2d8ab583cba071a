"""The training kernel ``K + rI``: its Cholesky factor, and its eigenmodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._checks import kernels, memory
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.predict.learning_rates import largest_eigenvalue
from ntkrs.predict.modes import kernel_modes
from ntkrs.predict.once import Once
from ntkrs.predict.operators import Products, apply_rows
from ntkrs.solvers.cholesky import factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array
    from ntkrs.predict.modes import Modes
    from ntkrs.predict.rules import Rule
    from ntkrs.solvers.cholesky import Factor

#: Advice for when a copy of the kernel, or its factor, does not fit in memory.
_REMEDY = "Pass ntkrs.gram(kernel, X) or kernel.operator(X) in place of the matrix, or use fewer samples."

#: Solutions in float32 are refined at most this often.
_REFINEMENTS = 3


class LinearSystem:
    """``K + rI``, with its Cholesky factor and its eigenmodes, each computed when first needed.

    Attributes
    ----------
    size : int
        The order n of K.
    matrix : (n, n) ndarray
        K, exactly symmetric, in its own dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.predict.system import LinearSystem
    >>> system = LinearSystem(np.diag([1.0, 3.0]), diag_reg=1.0, absolute=True)
    >>> system.modes.values
    array([2., 4.])
    >>> system.factor.solve(np.ones((2, 1)))[:, 0]
    array([0.5 , 0.25])
    >>> LinearSystem(np.ones((2, 2))).factor is None  # singular
    True
    """

    def __init__(
        self, matrix: Array, diag_reg: float = 0.0, *, absolute: bool = False, name: str = "k_train_train"
    ) -> None:
        self._eps = float(np.finfo(matrix.dtype).eps)
        self.matrix: Array = kernels.symmetric(matrix, 0, self._eps, name)
        self.size = len(matrix)
        self._regularization = (diag_reg, absolute)
        self._name = name
        self._once = Once()

    def __repr__(self) -> str:
        return f"kernel of order {self.size}"

    @property
    def ridge(self) -> float:
        """r, infinite if it exceeds the range of float64."""
        diag_reg, absolute = self._regularization
        if absolute or not (diag_reg and self.size):
            return diag_reg
        diagonal, exponent = scaled(self.matrix.diagonal().astype(np.float64))
        return float(ldexp(np.float64(diag_reg) * diagonal.mean(), exponent))

    @property
    def trace(self) -> float:
        """The trace of ``K + rI``."""
        return float(self.matrix.trace(dtype=np.float64)) + self.size * self.ridge

    @property
    def factor(self) -> Factor | None:
        """The Cholesky factor, or None if it cannot be told from that of a singular matrix."""
        found: Factor | None = self._once.get("factor", self._factor)
        return found

    @property
    def modes(self) -> Modes:
        """The eigenmodes.

        Raises
        ------
        ntkrs.IndefiniteKernelError
            If an eigenvalue is negative beyond round-off.
        """
        found: Modes = self._once.get("modes", self._modes)
        return found

    def modes_for(self, columns: NDArray[np.float64], rule: Rule, t: NDArray[np.float64]) -> Modes:  # noqa: ARG002
        """Return all eigenmodes: they are exact for any right-hand side, rule and time."""
        return self.modes

    def limit(self, columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], int] | None:
        """Return α and e with ``2^−e α = (K + rI)⁻¹ columns``, or None if there is no factor.

        In float32 the solution is refined with products in float64.
        """
        found = self.factor
        if found is None:
            return None
        solution = found.solve(columns, found.exponent)
        if self.matrix.dtype == np.float32:
            for _ in range(_REFINEMENTS):
                image = apply_rows(self.matrix, solution) + self.ridge * solution
                change = found.solve(columns - ldexp(image, -found.exponent), found.exponent)
                solution += change
                if np.linalg.norm(change) <= self._eps**0.5 * np.linalg.norm(solution):  # the next is within ε
                    break
        return solution, found.exponent

    def check(self, rule: Rule, t: NDArray[np.float64] | None = None) -> None:
        """Refuse a learning rate that diverges.

        Raises
        ------
        ValueError
            If it exceeds the bound, or is the bound for infinitely many steps.
        """
        if rule.bounded:
            largest, exponent = self._once.get("largest", self._largest)
            rule.check(largest, exponent, t)

    def _factor(self) -> Factor | None:
        """Return the factor, or None."""
        try:
            with memory.required(self.matrix.nbytes, f"the Cholesky factor of {self._name}", _REMEDY):
                return factor(self.matrix, self.ridge)
        except np.linalg.LinAlgError:
            return None

    def _modes(self) -> Modes:
        """Return the eigenmodes."""
        matrix = self.matrix.astype(np.float64, copy=False)
        return kernel_modes(matrix, self._eps, *self._regularization, self._name)

    def _largest(self) -> tuple[float, int]:
        """Return λ_max over a power of two, and its exponent."""
        diag_reg, absolute = self._regularization
        products = Products(self.matrix, diag_reg, absolute=absolute)
        return largest_eigenvalue(products), products.exponent


def copied(kernel: Any) -> Array:
    """Return a kernel of an array as a matrix of its own memory, in C order, (N·O, N·O) with output blocks.

    Raises
    ------
    MemoryError
        If it does not fit in memory.
    """
    with memory.required(kernel.nbytes, "a copy of k_train_train", _REMEDY):
        return cast("Array", np.array(kernels.flatten(kernel), order="C"))
