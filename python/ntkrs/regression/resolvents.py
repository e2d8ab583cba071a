"""Kernel ridge regression with weights, at many ridges, and with each row left out, from one eigendecomposition.

With ``W = diag(w)`` and ``C = K + r W⁻¹``, the model of targets v is ``k_xᵀ C⁻¹ v``. For ``S = W^½`` and
``S K S = U diag(λ) Uᵀ``, everything follows from the shrinkage ``h_j = r/(λ_j + r)`` of the modes::

    a = U diag(h) Uᵀ S v            r C⁻¹ v = S a
    g_i = Σ_j U_ij² h_j             r (C⁻¹)_ii = w_i g_i
    v_i − P_i = √w_i a_i / ((w_i − u_i) + u_i g_i)

Here P_i is the prediction at row i by the model without it, and ``u_i = min(w_i, 1)`` is the weight that is taken away:
a row of weight 3 loses one of three copies. All of ``a``, ``g`` and ``h`` stay within the range of S v and 1 for every
ridge, complex ones too, so nothing overflows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from ntkrs._checks import kernels
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.predict.modes import decompose
from ntkrs.solvers.round_off import ROUND_OFF

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array
    from ntkrs.predict.modes import Modes

    Vector = NDArray[np.float64]
    Flags = NDArray[np.bool_]

#: float64, or complex128 at complex ridges.
Number = TypeVar("Number", np.float64, np.complex128)

#: Ridges and times beyond these powers of two, in units of the kernel, are no different, and would overflow.
LEAST, MOST = 2.0**-960, 2.0**960

_ALL = slice(None)


class Labels(NamedTuple):
    """Targets in the coordinates of the modes, over ``2^exponent``."""

    #: The targets minus ``centre``, (N, O).
    centred: Vector
    #: The weighted mean of the targets, (O,); 0 without an intercept.
    centre: Vector
    #: The mean of ``centred`` without each row, (N, O); None without an intercept.
    means: Vector | None
    #: ``Uᵀ S`` times ``centred``, and times a column of ones if there is an intercept: (N, O) or (N, O + 1).
    components: Vector
    exponent: int


class Resolvents:
    """The eigendecomposition of ``S K S``, and leave-one-out residuals at any ridges.

    Ridges r are numbers over ``2^modes.exponent``.

    Attributes
    ----------
    modes : Modes
        λ and U.
    weights, roots, removed : (N,) ndarray
        w, its square root, and the weight u that leaving a row out takes away.
    diagonal : float
        The weighted mean of K's diagonal.
    """

    modes: Modes
    weights: Vector
    roots: Vector
    removed: Vector
    diagonal: float

    def __init__(self, kernel: Array, weights: Vector) -> None:
        self.weights, self.roots, self.removed = weights, np.sqrt(weights), np.minimum(weights, 1.0)
        eps = float(np.finfo(kernel.dtype).eps)
        matrix, exponent = scaled(kernel.astype(np.float64, copy=False))
        matrix = kernels.symmetric(matrix, exponent, eps)
        diagonal = float(np.average(matrix.diagonal(), weights=weights))
        if (weights != 1).any():
            matrix *= self.roots
            matrix *= self.roots[:, None]
        self.modes = decompose(matrix, exponent, eps)
        self.diagonal = float(ldexp(diagonal, exponent - self.modes.exponent))
        null = self.modes.basis[:, : self.modes.null]
        self._leverage = np.einsum("ij,ij->i", null, null)
        self._share = self.removed / weights
        kept = 1 - self._share + self._share * self._leverage
        #: True for rows that have a part in null modes: not only round-off is left of them there.
        self._in_null = kept > ROUND_OFF * len(weights) * eps

    def ridges(self, diag_reg: Vector, *, absolute: bool) -> Vector:
        """Return ridges in units of the kernel, from numbers relative to its diagonal unless ``absolute``."""
        with np.errstate(over="ignore"):
            ridges = ldexp(diag_reg, -self.modes.exponent) if absolute else diag_reg * self.diagonal
        return np.asarray(np.minimum(ridges, MOST))

    def labels(self, values: Vector, *, intercept: bool) -> Labels:
        """Return targets (N,) or (N, O), centred if there is an intercept."""
        values, exponent = scaled(values.reshape(len(values), -1))
        if not intercept:
            return Labels(values, np.zeros(values.shape[1]), None, self._components(values), exponent)
        centre = np.average(values, axis=0, weights=self.weights)
        centred = values - centre
        columns = np.column_stack([centred, np.ones(len(values))])
        return Labels(centred, centre, self._means(centred), self._components(columns), exponent)

    def _components(self, columns: Vector) -> Vector:
        """Return ``Uᵀ S columns``."""
        return self.modes.components(self.roots[:, None] * columns)

    def _means(self, values: Vector) -> Vector | None:
        """Return the mean of values (N, O) without each row; None for a single row."""
        weights, removed = self.weights, self.removed
        if len(weights) == 1:
            return None
        weighted = weights[:, None] * values
        sums, totals = weighted.sum(axis=0) - removed[:, None] * values, weights.sum() - removed
        # The subtraction cancels for a row that outweighs all others together.
        top = int(weights.argmax())
        others = np.arange(len(weights)) != top
        rest = weights[top] - removed[top]
        sums[top], totals[top] = weighted[others].sum(axis=0) + rest * values[top], weights[others].sum() + rest
        return np.asarray(sums / totals[:, None])

    def solve(self, ridges: Vector, components: Vector) -> Vector:
        """Return ``2^modes.exponent C⁻¹ v`` for ``components = Uᵀ S v``, (N, C, R).

        Null modes count for nothing in any prediction. Below the cutoff of eigenvalues they are left out.
        """
        null = self.modes.null
        inverse = np.zeros((len(components), len(ridges)))
        inverse[null:] = 1 / (self.modes.positive[:, None] + ridges)
        regular = ridges > self.modes.scaled_cutoff
        inverse[:null, regular] = 1 / ridges[regular]
        return self.roots[:, None, None] * product(self.modes.basis, components, inverse)

    @property
    def positive_basis(self) -> Vector:
        """The columns of U of the modes that are not null."""
        return self.modes.basis[:, self.modes.null :]

    def residuals(self, ridges: Vector, labels: Labels) -> Vector:
        """Return ``v_i − P_i`` for ridges other than 0 and v = targets minus their mean without row i, (N, O, R)."""
        null, basis = self.modes.null, self.positive_basis
        settled = ridges <= self.modes.scaled_cutoff
        shrinkage = ridges / (self.modes.positive[:, None] + ridges)
        values = product(basis, labels.components[null:], shrinkage)
        if null:
            values += self.null_part(labels)[:, :, None] * self.in_null(settled)[:, None]
        values /= self.roots[:, None, None]
        values *= self.factors(np.square(basis) @ shrinkage, settled)[:, None]
        return np.moveaxis(self.outputs(np.moveaxis(values, 2, 0), labels), 0, 2)

    def factors(self, leverages: NDArray[Number], settled: Flags, rows: slice = slice(None)) -> NDArray[Number]:
        """Return ``w/(w − u + u g)`` for some rows, where ``leverages`` is g without null modes."""
        if self.modes.null:
            leverages = leverages + self._leverage[rows, None] * self.in_null(settled, rows)
        share = self._share[rows, None]
        return np.asarray(1 / (1 - share + share * leverages))

    def in_null(self, settled: Flags, rows: slice = slice(None)) -> Flags:
        """Return True for rows and ridges for which null modes count, (N, R).

        They do not if ``settled``, where round-off in them would outweigh the other modes, and if the row has only
        round-off there.
        """
        return np.asarray(self._in_null[rows, None] | ~settled)

    def null_part(self, labels: Labels) -> Vector:
        """Return the part of ``U Uᵀ S v`` in null modes, (N, O) or (N, O + 1)."""
        null = self.modes.null
        return np.asarray(self.modes.basis[:, :null] @ labels.components[:null])

    def outputs(self, values: Vector, labels: Labels) -> Vector:
        """Return values of targets minus their means without each row, (..., N, O), from those of both, (..., N, C)."""
        count = labels.centred.shape[1]
        if labels.means is None:
            return values
        return np.asarray(values[..., :count] - labels.means * values[..., count:])

    def limit(self, labels: Labels) -> Vector:
        """Return :meth:`residuals` for r → 0, (N, O)."""
        null, positive, basis = self.modes.null, self.modes.positive, self.positive_basis
        kept = 1 - self._share + self._share * self._leverage
        with np.errstate(divide="ignore", invalid="ignore"):  # in rows that are replaced below
            values = self.null_part(labels) / (self.roots * kept)[:, None]
        rows = ~self._in_null
        if rows.any():
            # a and g vanish like r Σ …/λ_j. Nothing of these rows is left, up to round-off.
            inverse = positive[0] / positive
            a = basis[rows] @ (inverse[:, None] * labels.components[null:])
            g = np.square(basis[rows]) @ inverse
            values[rows] = a / (self.roots[rows] * g)[:, None]
        return self.outputs(values, labels)

    def influence(self, ridge: Vector, labels: Labels, rows: Vector, exponent: int) -> tuple[Vector, Vector]:
        """Return ``f(x) − m``, (M, O), and ``f(x) − f_{−i}(x)``, (M, N, O), over ``2^targets.exponent``.

        ``rows`` are the k_x, (M, N), over ``2^exponent``.
        """
        null, count = self.modes.null, labels.centred.shape[1]
        projected = self.modes.project(rows * self.roots, self.modes.eps)
        projected[:, :null] *= 1 / ridge if ridge > self.modes.scaled_cutoff else 0.0
        projected[:, null:] /= self.modes.positive + ridge
        projected = ldexp(projected, exponent - self.modes.exponent)
        fitted = projected @ labels.components
        solved = (projected @ self.modes.basis.T) * (self.roots * self._share)
        residuals = self.limit(labels) if ridge < LEAST else self.residuals(ridge, labels)[:, :, 0]
        influence = solved[:, :, None] * residuals
        if labels.means is not None:
            influence -= (1 - fitted[:, None, count:]) * labels.means
        return fitted[:, :count], influence


def product(basis: Vector, components: Vector, factors: Vector) -> Vector:
    """Return ``basis diag(factors[:, r]) components[:, c]`` for all c and r, (N, C, R)."""
    shape = components.shape[1], factors.shape[1]
    stacked = (components[:, :, None] * factors[:, None]).reshape(len(components), shape[0] * shape[1])
    return np.asarray((basis @ stacked).reshape(len(basis), *shape))
