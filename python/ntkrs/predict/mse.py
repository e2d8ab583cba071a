"""Training dynamics on the square loss of networks whose tangent kernel stays constant, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import exponent_of, ldexp
from ntkrs.predict.modes import kernel_modes
from ntkrs.predict.operators import operator_blocks, test_rows
from ntkrs.predict.rules import Descent, Flow, responses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, LossScale, Optimizer
    from ntkrs.predict.modes import KrylovReport, Modes, Report
    from ntkrs.predict.rules import Rule

#: How the function of the kernel is taken: in its eigenbasis, or from products with it.
Method: TypeAlias = Literal["eigh", "krylov"]


class Spectral(Protocol):
    """A kernel that gives modes fit for a right-hand side: its own, or Ritz modes."""

    size: int

    @property
    def latest(self) -> Modes:
        """The modes of the last call."""

    def modes(self, columns: NDArray[np.float64], rule: Rule, t: NDArray[np.float64]) -> Modes:
        """Modes in which ``d_t(K) columns`` is exact, or exact enough."""


class Eigenbasis:
    """The modes of a kernel, the same for all right-hand sides."""

    def __init__(self, modes: Modes) -> None:
        self.latest = modes
        self.size = len(modes.basis)

    def __repr__(self) -> str:
        return f"{self.latest.null} null modes"

    def modes(self, columns: NDArray[np.float64], rule: Rule, t: NDArray[np.float64]) -> Modes:  # noqa: ARG002
        """All modes."""
        return self.latest


class MseDynamics:
    """f_t of :func:`gradient_descent_mse`, to be called with times."""

    def __init__(
        self, spectral: Spectral, rule: Rule, y_train: Array, outputs: int | None, dtype: np.dtype[Any]
    ) -> None:
        self._spectral = spectral
        self._rule = rule
        self._y = y_train.astype(np.float64)
        self._block = outputs
        self._dtype = dtype
        self._columns = y_train.shape[1] if y_train.ndim == 2 and outputs is None else 1

    def __repr__(self) -> str:
        return f"MseDynamics(y_train of shape {self._y.shape}, {self._rule}, {self._spectral!r})"

    def __call__(
        self,
        t: ArrayLike | None = None,
        fx_train_0: ArrayLike = 0.0,
        fx_test_0: ArrayLike | None = None,
        k_test_train: ArrayLike | None = None,
    ) -> Any:
        """Return the outputs after training for a time t.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps; None or infinity: the end of training. An array's axes lead those of the results.
        fx_train_0 : float or array_like of y_train's shape
            Outputs on the training inputs before training. (N, 1) and (N,) stand for each other.
        fx_test_0 : float or (M,) or (M, O) array_like, optional
            Outputs on the test inputs before training; by default 0. (M, 1) and (M,) stand for each other.
        k_test_train : (M, N) or (M, N, O, O) array_like, or LinearOperator, optional
            Tangent kernel between test and training inputs. An operator is (M, N), or (M·O, N·O).

        Returns
        -------
        ndarray, or (ndarray, ndarray)
            f_t on the training inputs, and on the test inputs if ``k_test_train`` is given. Exactly ``fx_train_0`` and
            ``fx_test_0`` at t = 0.

        Raises
        ------
        ValueError
            If t is negative or NaN, or no whole number of steps, or a shape does not fit.

        Notes
        -----
        Two products with the (n, n) eigenvectors per time and result, n = N or N·O.
        """
        times = self._rule.times(t)
        initial, residual, scale = self._residual(fx_train_0)
        modes = self._spectral.modes(residual, self._rule, times)
        components = modes.components(residual)
        decay, response = responses(modes, self._rule, times)
        trained = self._evolve(initial, modes.combine(_stacked(decay, components)), decay, scale)
        if k_test_train is None:
            if fx_test_0 is not None:
                raise ValueError("fx_test_0 is given without k_test_train, which f_t on the test inputs needs")
            return trained
        kernel, eps, exponent = test_rows(k_test_train, len(self._y), self._block, self._spectral.size)
        shape = (kernel.shape[0] // (self._block or 1), *self._y.shape[1:])
        initial_test = kernels.broadcast(0.0 if fx_test_0 is None else fx_test_0, shape, "fx_test_0")
        weights = _stacked(response, components)
        if modes.null or weights.shape[1] >= kernel.shape[0]:
            change = modes.project(kernel, eps) @ weights
        else:  # fewer right-hand sides than rows: the same, with a smaller product first
            change = np.asarray(kernel @ modes.combine(weights))
        return trained, self._evolve(initial_test, change, response, scale + exponent - modes.exponent)

    def coefficients(self, t: ArrayLike | None = None, fx_train_0: ArrayLike = 0.0) -> Array:
        """Return α_t of ``f_t(x) = f_0(x) + k(x, X) α_t``: ``α_t = −φ_t(K)(f_0(X) − Y)``.

        For a linearized network it gives the parameters: ``θ_t − θ_0 = J(X)ᵀ α_t``, which is ``net.vjp(X, alpha)``.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps; None or infinity: the end of training.
        fx_train_0 : float or array_like of y_train's shape
            Outputs on the training inputs before training.

        Returns
        -------
        ndarray of y_train's shape, after the axes of t
        """
        times = self._rule.times(t)
        initial, residual, scale = self._residual(fx_train_0)
        modes = self._spectral.modes(residual, self._rule, times)
        response = responses(modes, self._rule, times)[1]
        change = modes.combine(_stacked(response, modes.components(residual)))
        return self._evolve(np.zeros_like(initial), change, response, scale - modes.exponent)

    @property
    def modes(self) -> Modes:
        """The training kernel, regularised, in its eigenbasis; with "krylov" the Ritz modes of the last call.

        Raises
        ------
        RuntimeError
            With ``method="krylov"``, before the first call.
        """
        return self._spectral.latest

    @property
    def report(self) -> Report | KrylovReport:
        """What was counted as 0, and how exact the modes are."""
        return self.modes.report

    @property
    def time_scales(self) -> NDArray[np.float64]:
        """The time, or number of steps, in which each mode's residual shrinks by e in the long run.

        In the order of ``modes.values``: ``Z/(ηλ)`` for gradient flow; infinite for modes that are never learned.
        """
        modes = self.modes
        scales = np.full(modes.scaled.shape, np.inf)
        scales[modes.null :] = self._rule.time_scales(modes.positive, modes.exponent)
        return scales

    def _residual(self, fx_train_0: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """f_0, and ``(f_0 − Y)/2^scale`` in columns, with the scale."""
        initial = kernels.broadcast(fx_train_0, self._y.shape, "fx_train_0")
        scale = exponent_of(initial, np.abs(self._y).max(initial=0.0))
        residual = np.ldexp(initial, -scale) - np.ldexp(self._y, -scale)
        return initial, residual.reshape(self._spectral.size, self._columns), scale

    def _evolve(
        self, initial: NDArray[np.float64], change: NDArray[np.float64], response: NDArray[np.float64], exponent: int
    ) -> Array:
        """``initial − 2^exponent · change`` for each time, in the shape of ``initial``; ``change`` is stacked."""
        leading = response.shape[:-1]
        count = int(np.prod(leading))
        if exponent:
            change = ldexp(change, exponent)
        by_time = np.moveaxis(change.reshape(len(change), count, self._columns), 1, 0)
        result = np.empty((count, initial.size // max(self._columns, 1), self._columns), self._dtype)
        with np.errstate(over="ignore"):  # what exceeds the dtype is infinite
            np.subtract(initial.reshape(result.shape[1:]), by_time, out=result, casting="same_kind")
        return cast("Array", result.reshape(leading + initial.shape))


def _stacked(response: NDArray[np.float64], components: NDArray[np.float64]) -> NDArray[np.float64]:
    """``diag(response) components`` for all times side by side, (m, times · columns): one product serves them all."""
    size, count = components.shape
    leading = int(np.prod(response.shape[:-1]))
    result = np.empty((size, leading, count))
    np.multiply(response.reshape(leading, size).T[:, :, None], components[:, None, :], out=result)
    return result.reshape(size, leading * count)


def gradient_descent_mse(
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    *,
    optimizer: Optimizer = "flow",
    momentum: float = 0.0,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    method: Method = "eigh",
    tolerance: float = 1e-8,
    max_iterations: int = 200,
) -> MseDynamics:
    """Return f_t of training on the square loss, for a network whose tangent kernel stays constant.

    ::

        f_t(X) = f_0(X) − K φ_t(K) (f_0(X) − Y)
        f_t(x) = f_0(x) − k φ_t(K) (f_0(X) − Y)

    for the loss ``1/(2Z) Σ (f − y)²``, with φ_t of the way of training:

    ======  ====================================  =========================================
    flow    ẇ = −η∇L                              φ_t(λ) = (1 − e^{−ηλt/Z})/λ
    gd      w ← w − η∇L                           φ_k(λ) = (1 − (1 − ηλ/Z)^k)/λ
    flow    μẅ + (1 − μ)ẇ = −η∇L, ẇ_0 = 0         a damped oscillator
    gd      v ← μv − η∇L, w ← w + v, v_0 = 0      heavy ball, its recurrence solved
    ======  ====================================  =========================================

    Parameters
    ----------
    k_train_train : (N, N) or (N, N, O, O) array_like, or LinearOperator
        Tangent kernel K on the training inputs. (N, N) with O outputs means K times the identity of size O. An
        operator, for ``method="krylov"``, is (N, N), or (N·O, N·O) with index i·O + m.
    y_train : (N,) or (N, O) array_like
        Targets Y. Results have its trailing shape.
    learning_rate : float
        η; time is measured in units of it.
    optimizer : "flow" or "gd"
        Continuous time, or steps: t is then their number.
    momentum : float
        μ in [0, 1). With "flow" it is the mass of the continuous limit of the heavy ball (Qian 1999), in which one unit
        of time is one step; it tends to gradient flow for μ → 0.
    loss_scale : "mean" or "sum"
        Z = N·O, or 1.
    diag_reg : float
        r: the training kernel is K + rI throughout.
    diag_reg_absolute_scale : bool
        Whether r is ``diag_reg`` itself instead of ``diag_reg`` times the mean of K's diagonal.
    method : "eigh" or "krylov"
        One eigendecomposition, after which every t is cheap; or block Lanczos for each new ``fx_train_0`` and set of
        times, which needs products with K only.
    tolerance : float
        Of "krylov": the estimated error to reach, relative to ``f_0(X) − Y``.
    max_iterations : int
        Of "krylov": how many products with K, of O columns each, to make at most.

    Returns
    -------
    MseDynamics
        Called as ``predict(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None)``. ``predict.report`` tells what
        was counted as 0; ``predict.time_scales`` how long each mode takes; ``predict.coefficients(t)`` gives ``α_t`` of
        ``f_t = f_0 + k α_t``.

    Raises
    ------
    TypeError
        If an argument is not made of real numbers.
    ValueError
        If K is not square or not symmetric, a shape does not fit, a value is not finite, or gradient descent diverges
        with this learning rate.
    numpy.linalg.LinAlgError
        If K has an eigenvalue that is negative beyond round-off.

    Warns
    -----
    RuntimeWarning
        When called, if "krylov" did not reach its tolerance; with the error estimate.

    Notes
    -----
    One symmetric eigendecomposition, O(n³) with n = N or N·O. Eigenvalues within 32·ε·trace of 0 count as 0: along
    them training changes nothing, so that duplicated inputs converge to their mean label.

    With "krylov", m products with K and O(n (mO)²) operations to keep the basis of m·O vectors orthogonal, which is
    also the memory. m grows like ``√(ηλt/Z)`` for the largest λ, until the spectrum is resolved. The result does not
    depend on how eigenvalues near 0 are told from 0 unless t is infinite, or beyond the time scale of that bound.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Lee, Xiao et al. (2019), section 2.2. Polyak (1964) and Qian (1999) for momentum.
    Hochbruck, Lubich (1997) for functions of operators.

    Examples
    --------
    >>> import numpy as np
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])
    >>> predict = gradient_descent_mse(K, y, loss_scale="sum")
    >>> bool(np.allclose(predict(1.0), y * (1 - np.exp(-1))))  # y is an eigenvector, of eigenvalue 1
    True
    >>> predict = gradient_descent_mse(K, y, 0.5, optimizer="gd", loss_scale="sum")
    >>> bool(np.allclose(predict(3), y * (1 - 0.5**3)))
    True
    """
    y = kernels.targets(y_train)
    rule = training_rule(learning_rate, y.size, optimizer, momentum, loss_scale)
    regularizer = numbers.nonnegative(diag_reg, "diag_reg")
    absolute = numbers.boolean(diag_reg_absolute_scale, "diag_reg_absolute_scale")
    tolerance, limit = numbers.positive(tolerance, "tolerance"), numbers.count(max_iterations, "max_iterations")
    if numbers.choice(method, "method", ("eigh", "krylov")) == "krylov":
        from ntkrs.predict import krylov

        products, dtype = krylov.spectral(k_train_train, (regularizer, absolute), tolerance, limit)
        block = operator_blocks(k_train_train, products.size, y)
        return MseDynamics(products, rule, y, block, np.result_type(dtype, y))
    if kernels.is_operator(k_train_train):
        raise TypeError(
            f"k_train_train is a {type(k_train_train).__name__}, but method='eigh' needs an array. "
            "Pass method='krylov', which needs products only."
        )
    kernel = kernels.kernel_entries(k_train_train, "k_train_train")
    block = kernels.output_blocks(kernel, y)
    eps = float(np.finfo(kernel.dtype).eps)
    modes = kernel_modes(kernels.flatten(kernel), eps, regularizer, absolute)
    rule.check(float(modes.scaled.max(initial=0.0)), modes.exponent)
    return MseDynamics(Eigenbasis(modes), rule, y, block, np.result_type(kernel, y))


def training_rule(learning_rate: float, size: int, optimizer: str, momentum: float, loss_scale: str) -> Rule:
    """The way of training that these arguments of :func:`gradient_descent_mse` describe."""
    z = kernels.loss_divisor(loss_scale, size)
    rate = numbers.positive(learning_rate, "learning_rate") / z
    mu = numbers.momentum(momentum)
    steps = numbers.choice(optimizer, "optimizer", ("flow", "gd")) == "gd"
    return Descent(rate, mu) if steps else Flow(rate, mu)
