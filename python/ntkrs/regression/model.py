"""Kernel ridge regression and gradient flow with each sample left out, exactly, from one eigendecomposition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks import arrays, kernels, memory, numbers
from ntkrs._checks import regression as checks
from ntkrs._checks.scaling import ldexp, product, scaled
from ntkrs.regression import contour
from ntkrs.regression.dual import Dual
from ntkrs.regression.evidence import of_modes
from ntkrs.regression.resolvents import LEAST, Resolvents

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Vector = NDArray[np.float64]


class KernelRegression:
    """Kernel ridge regression about the mean of the targets, for all ridges and training times at once.

    ::

        f(x) = m + k(x, X) C⁻¹ (Y − m),    C = K + r diag(w)⁻¹

    with the weighted mean m of the targets, or m = 0 without an intercept. This minimizes
    ``Σ_i w_i (f(x_i) − y_i)² + r ‖f − m‖²`` in the norm of the kernel's space.

    Parameters
    ----------
    k_train_train : (N, N) array_like
        Kernel K of the training inputs. The computation is in float64, also for float32.
    y_train : (N,) or (N, O) array_like
        Targets Y. Results have their trailing shape.
    intercept : bool
        True to fit the targets minus their mean. A model without row i subtracts the mean of the other targets.
    sample_weight : (N,) array_like, optional
        Positive weights w, none below 1e-10 of the largest; by default 1. A weight of 3 means three copies of a row, of
        which one is left out. A row of weight below 1 is left out whole.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or K is an operator.
    ValueError
        If K is empty, not square or not symmetric, a shape does not match, a weight is not positive, or a value is not
        finite.
    ntkrs.IndefiniteKernelError
        If K has an eigenvalue that is negative beyond round-off.

    Notes
    -----
    One eigendecomposition of ``diag(w)^½ K diag(w)^½``, in O(N³) time and some 3 N² numbers, of which N² are kept.
    Eigenvalues within 32·ε·trace of 0 count as 0 (in float32, 32·ε·√N times the mean of the diagonal), where ε is that
    of K's dtype.

    References
    ----------
    Wahba (1990) and Cawley, Talbot (2004) for leave-one-out; Weideman (2006) for the contour of :meth:`loo_flow`.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X = np.random.default_rng(0).standard_normal((20, 3))
    >>> y = X[:, 0] ** 2
    >>> K = ntkrs.mlp(depth=2, width=1, outputs=1, activation="relu").kernel()(X)
    >>> model = ntkrs.regression.KernelRegression(K, y)
    >>> ridges = np.logspace(-6, 1, 15)
    >>> errors = ((model.loo(ridges) - y) ** 2).mean(axis=1)
    >>> best = ridges[errors.argmin()]  # the ridge that predicts a new sample best
    >>> model.coefficients(best).coefficients.shape
    (20,)
    """

    def __init__(
        self,
        k_train_train: ArrayLike,
        y_train: ArrayLike,
        *,
        intercept: bool = True,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        kernel, y = checks.kernel_and_labels(k_train_train, y_train)
        weights = checks.sample_weights(sample_weight, len(y))
        self._shape = y.shape
        with memory.required(24 * kernel.size, f"the eigendecomposition of {len(y)} samples", "Use fewer samples."):
            self._resolvents = Resolvents(kernel, weights)
        self._labels = self._resolvents.labels(y, intercept=numbers.boolean(intercept, "intercept"))

    def __repr__(self) -> str:
        return f"KernelRegression(y_train of shape {self._shape})"

    def loo(self, diag_reg: ArrayLike, diag_reg_absolute_scale: bool = False) -> Vector:
        """Return the prediction at every row by the model that is fitted without it.

        ::

            P_i[v] = v_i − r α_i / (w_i − u_i + r (u_i/w_i) (C⁻¹)_ii),    α = C⁻¹ v,  u_i = min(w_i, 1)
            f_{−i}(x_i) = m_i + P_i[Y] − m_i P_i[1]

        with the mean m_i of the targets without row i. For weights of 1, ``P_i[v] = v_i − α_i/(C⁻¹)_ii``.

        Parameters
        ----------
        diag_reg : float or (R,) array_like
            The ridge r is ``diag_reg`` times the weighted mean of K's diagonal, and the same in all refits. 0 stands
            for the limit of small ridges.
        diag_reg_absolute_scale : bool
            If True, r is ``diag_reg`` itself.

        Returns
        -------
        (N,) or (N, O) or (R, N) or (R, N, O) ndarray
            Predictions and not residuals, so that any loss can be taken of them.

        Raises
        ------
        TypeError, ValueError
            If ``diag_reg`` is not finite and >= 0, or N = 1.

        Notes
        -----
        O(N² R O) time. Errors are about ε times the condition of C, as those of refits. In rows of small weight they
        are ``√(max(w)/w_i)`` times as large.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.regression import KernelRegression
        >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0])
        >>> model = KernelRegression(K, y, intercept=False)
        >>> bool(np.allclose(model.loo(0.5), [3.0 * 1 / (2 + 1), 1.0 * 1 / (2 + 1)]))  # y_j k_ij/(k_jj + r)
        True
        """
        checks.several(self._shape[0])
        ridges = self._ridges(diag_reg, diag_reg_absolute_scale)
        flat = ridges.reshape(-1)
        regular = flat >= LEAST
        residuals = np.empty((*self._labels.centred.shape, flat.size))
        if not regular.all():
            residuals[:, :, ~regular] = self._resolvents.limit(self._labels)[:, :, None]
        residuals[:, :, regular] = self._resolvents.residuals(flat[regular], self._labels)
        return self._predictions(residuals, ridges.shape)

    def loo_flow(
        self, t: ArrayLike | None, learning_rate: float = 1.0, loss_scale: Literal["mean", "sum"] = "mean"
    ) -> Vector:
        """Return the prediction at every row after gradient flow for a time t on all other rows.

        ::

            P_i(τ) = (1/2πi) ∫ e^{τz} z⁻¹ P_i[ridge z] dz,    τ = ηt/Z

        for the loss ``1/(2Z) Σ_i w_i (f(x_i) − y_i)²`` and training from f = m_i, the mean of the targets but y_i, or
        from 0 without an intercept. P_i of a ridge is that of :meth:`loo`. Z is that of all rows, also in refits.

        Parameters
        ----------
        t : float or array_like, optional
            Time; None or infinity means the end of training. The axes of an array become the leading axes of the
            result.
        learning_rate : float
            The learning rate η.
        loss_scale : "mean" or "sum"
            Z = O·Σw for "mean", 1 for "sum".

        Returns
        -------
        (N,) or (N, O) or (T, N) or (T, N, O) ndarray

        Raises
        ------
        TypeError, ValueError
            If t is negative or NaN, the learning rate is not positive, or N = 1.
        MemoryError
            If the results at all times do not fit in memory.

        Notes
        -----
        The integral takes 12 complex ridges for each time. All of them together need products of (N, N) matrices with
        some 18 vectors for each factor of 10 that t spans. 50 times take less than the eigendecomposition. Errors are
        within ``max(3e-14, 2ε τλ_max)`` of the largest target. The shortcut ``residual/(1 − H_ii)`` holds for ridges
        only, and is far off here.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.regression import KernelRegression
        >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0])
        >>> model = KernelRegression(K, y, intercept=False)
        >>> alone = (1 - np.exp(-2 * 0.7)) / 2  # the coefficient of one row of target 1 after τ = 0.7
        >>> bool(np.allclose(model.loo_flow(0.7, loss_scale="sum"), [3 * alone, alone]))
        True
        """
        checks.several(self._shape[0])
        times = kernels.times(t)
        z = self._resolvents.weights.sum() * self._labels.centred.shape[1]
        z = z if numbers.choice(loss_scale, "loss_scale", ("mean", "sum")) == "mean" else 1.0
        rate = numbers.positive(learning_rate, "learning_rate")
        mantissa, power = np.frexp(z)
        size = 8 * times.size * self._labels.centred.size
        memory.require(2 * size, f"leave-one-out at {times.size} times", "Pass fewer times t in one call.")
        flat = times.reshape(-1)
        tau = np.full(flat.shape, np.inf)
        finite = np.isfinite(flat)
        exponent = self._resolvents.modes.exponent - int(power) + 1
        tau[finite] = product((rate / (2 * float(mantissa)), flat[finite]), exponent)
        return self._predictions(contour.residuals(self._resolvents, self._labels, tau), times.shape)

    def coefficients(self, diag_reg: ArrayLike, diag_reg_absolute_scale: bool = False) -> Dual:
        """Return the coefficients ``C⁻¹ (Y − m)`` of the model of all rows, and its intercept m.

        Parameters
        ----------
        diag_reg : float or (R,) array_like
            The ridge, as in :meth:`loo`. 0 gives the pseudo-inverse.
        diag_reg_absolute_scale : bool
            If True, the ridge is ``diag_reg`` itself.

        Returns
        -------
        Dual
            ``Dual(coefficients, intercept)``, for ``f(x) = intercept + k(x, X) @ coefficients``.

        Raises
        ------
        TypeError, ValueError
            If ``diag_reg`` is not finite and >= 0.

        Notes
        -----
        O(N² R O) time. Null modes, which no prediction depends on, are left out for ridges within the cutoff of 0.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.regression import KernelRegression
        >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0])
        >>> alpha, mean = KernelRegression(K, y).coefficients(0.5)  # r = 0.5 · 2
        >>> bool(np.allclose((K + np.eye(2)) @ alpha, y - mean))
        True
        """
        ridges, labels = self._ridges(diag_reg, diag_reg_absolute_scale), self._labels
        count = labels.centred.shape[1]
        found = self._resolvents.solve(ridges.reshape(-1), labels.components[:, :count])
        found = ldexp(np.moveaxis(found, 2, 0), labels.exponent - self._resolvents.modes.exponent)
        mean = ldexp(labels.centre, labels.exponent)
        return Dual(found.reshape(ridges.shape + self._shape), mean.reshape(self._shape[1:]))

    def log_marginal_likelihood(self, noise: ArrayLike) -> Vector | float:
        """Return the log marginal likelihood of a Gaussian process with covariance K and this variance of the noise.

        ::

            L = −½ (y − m)ᵀ C⁻¹ (y − m) − ½ log det C − N/2 log 2π,    C = K + noise · diag(w)⁻¹

        summed over outputs.

        Parameters
        ----------
        noise : float or (R,) array_like
            The variance of the noise, in units of the targets squared and not relative to K.

        Returns
        -------
        float or (R,) ndarray

        Raises
        ------
        TypeError, ValueError
            If ``noise`` is not finite and >= 0.
        ntkrs.SingularKernelError
            If ``noise`` is 0, or below the range of numbers beside K, and K is singular.

        Notes
        -----
        O(N R O) time. :func:`ntkrs.regression.log_marginal_likelihood` also gives the gradient.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.regression import KernelRegression, log_marginal_likelihood
        >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0])
        >>> evidence = KernelRegression(K, y).log_marginal_likelihood(0.1)
        >>> bool(np.isclose(evidence, log_marginal_likelihood(K, y - y.mean(), 0.1)))
        True
        """
        levels = checks.levels(noise, "noise")
        found = of_modes(self._resolvents, self._labels, levels.reshape(-1))
        return found if levels.ndim else float(found[0])

    def loo_predict(self, diag_reg: float, k_test_train: ArrayLike, diag_reg_absolute_scale: bool = False) -> Vector:
        """Return the predictions at test points by each of the N models that are fitted without one row.

        ::

            P_i(x)[v] = k_xᵀ α − (C⁻¹ k_x)_i · (v_i − P_i[v]) u_i/w_i
            f_{−i}(x) = m_i + P_i(x)[Y] − m_i P_i(x)[1]

        with the notation of :meth:`loo`.

        Parameters
        ----------
        diag_reg : float
            The ridge, as in :meth:`loo`.
        k_test_train : (M, N) array_like
            Kernel between test and training inputs.
        diag_reg_absolute_scale : bool
            If True, the ridge is ``diag_reg`` itself.

        Returns
        -------
        (M, N) or (M, N, O) ndarray
            Entry (x, i) is the prediction at x without row i.

        Raises
        ------
        TypeError, ValueError
            If ``diag_reg`` is not finite and >= 0, a shape does not match, a value is not finite, or N = 1.
        MemoryError
            If the result does not fit in memory.

        Notes
        -----
        Two products of (M, N) and (N, N) matrices, and O(M N O) memory. Intervals of predictions follow from these by
        the jackknife+ (Barber, Candès, Ramdas, Tibshirani 2021).

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.regression import KernelRegression
        >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0])
        >>> model = KernelRegression(K, y, intercept=False)
        >>> at_training_rows = model.loo_predict(0.5, K)
        >>> bool(np.allclose(at_training_rows.diagonal(), model.loo(0.5)))
        True
        """
        trained, influence = self._influence(diag_reg, k_test_train, diag_reg_absolute_scale)
        influence *= -1.0
        influence += trained[:, None]
        return self._tested(influence, self._labels.centre)

    def influence(self, diag_reg: float, k_test_train: ArrayLike, diag_reg_absolute_scale: bool = False) -> Vector:
        """Return the influence of every training row on every prediction: f(x) − f_{−i}(x), exactly.

        Arguments, errors and cost are as for :meth:`loo_predict`. Entry (x, i) of the result, (M, N) or (M, N, O), is
        the part that row i has in the prediction at x. It is not computed as a difference of predictions.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.regression import KernelRegression
        >>> K, y = np.diag([1.0, 1.0, 2.0]), np.array([1.0, -1.0, 0.5])
        >>> model = KernelRegression(K, y, intercept=False)
        >>> bool(np.allclose(model.influence(0.0, K), np.diag(y)))  # orthogonal rows do not help each other
        True
        """
        return self._tested(self._influence(diag_reg, k_test_train, diag_reg_absolute_scale)[1], 0.0)

    def _ridges(self, diag_reg: ArrayLike, absolute: object) -> Vector:
        """Return ridges in units of the kernel, () or (R,)."""
        scale = numbers.boolean(absolute, "diag_reg_absolute_scale")
        return self._resolvents.ridges(checks.levels(diag_reg, "diag_reg"), absolute=scale)

    def _predictions(self, residuals: Vector, leading: tuple[int, ...]) -> Vector:
        """Return targets minus residuals, which are (N, O, R)."""
        labels = self._labels
        result = np.empty((residuals.shape[2], *labels.centred.shape))
        np.subtract(labels.centred, np.moveaxis(residuals, 2, 0), out=result)
        result += labels.centre
        return ldexp(result, labels.exponent).reshape(leading + self._shape)

    def _influence(self, diag_reg: float, k_test_train: ArrayLike, absolute: object) -> tuple[Vector, Vector]:
        """Return f(x) − m, (M, O), and f(x) − f_{−i}(x), (M, N, O), both over the targets' power of two."""
        count = len(self._labels.centred)
        checks.several(count)
        scale = numbers.boolean(absolute, "diag_reg_absolute_scale")
        ridge = self._resolvents.ridges(np.array([numbers.nonnegative(diag_reg, "diag_reg")]), absolute=scale)
        rows = arrays.finite_float64(k_test_train, "k_test_train")
        kernels.test_kernel_shape(rows.shape, count, None)
        outputs = self._labels.centred.shape[1]
        memory.require(
            8 * rows.size * (outputs + 3),
            f"predictions without each of {count} rows at {len(rows)} test points",
            "Pass fewer rows of k_test_train in one call.",
        )
        return self._resolvents.influence(ridge, self._labels, *scaled(rows))

    def _tested(self, values: Vector, centre: Vector | float) -> Vector:
        """Return predictions (M, N, O) in units of the targets, with their trailing shape."""
        values += centre
        return ldexp(values, self._labels.exponent).reshape(*values.shape[:2], *self._shape[1:])
