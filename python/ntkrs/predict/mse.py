"""Training on the square loss with a constant tangent kernel, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import exponent_of, ldexp
from ntkrs.predict.evolution import AtEnd, evolution
from ntkrs.predict.operators import operator_blocks, test_rows
from ntkrs.predict.rules import Descent, Flow
from ntkrs.predict.system import LinearSystem, copied

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse.linalg import LinearOperator

    from ntkrs._typing import Array, ArrayLike, Inputs, LossScale, Optimizer
    from ntkrs.predict.evolution import Spectral
    from ntkrs.predict.modes import KrylovReport, Modes, Report
    from ntkrs.predict.rules import Rule

#: The method for functions of the kernel: its eigendecomposition, or products with it.
Method: TypeAlias = Literal["eigh", "krylov"]


class MseDynamics:
    """The outputs f_t of :func:`gradient_descent_mse`. Call it with times.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> f = predict.gradient_descent_mse(np.eye(2), np.array([1.0, -1.0]))
    >>> f(t=0.0, fx_train_0=[3.0, 4.0])  # training starts at fx_train_0
    array([3., 4.])
    """

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

    @overload
    def __call__(
        self, t: Inputs | None = None, fx_train_0: Inputs = 0.0, fx_test_0: None = None, k_test_train: None = None
    ) -> Array: ...

    @overload
    def __call__(
        self, t: Inputs | None, fx_train_0: Inputs, fx_test_0: Inputs | None, k_test_train: Inputs | LinearOperator
    ) -> tuple[Array, Array]: ...

    @overload
    def __call__(
        self,
        t: Inputs | None = None,
        fx_train_0: Inputs = 0.0,
        fx_test_0: Inputs | None = None,
        *,
        k_test_train: Inputs | LinearOperator,
    ) -> tuple[Array, Array]: ...

    def __call__(
        self,
        t: ArrayLike | None = None,
        fx_train_0: ArrayLike = 0.0,
        fx_test_0: ArrayLike | None = None,
        k_test_train: ArrayLike | None = None,
    ) -> Any:
        """Return the outputs after training for a time t.

        :func:`gradient_descent_mse` gives the equations.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps with ``optimizer="gd"``; None or infinity means the end of training. The axes of an
            array become the leading axes of the results.
        fx_train_0 : float or array_like of y_train's shape
            Outputs on the training inputs before training. (N, 1) and (N,) are interchangeable.
        fx_test_0 : float or (M,) or (M, O) array_like, optional
            Outputs on the test inputs before training; by default 0. (M, 1) and (M,) are interchangeable.
        k_test_train : (M, N) or (M, N, O, O) array_like, or LinearOperator, optional
            Tangent kernel between test and training inputs. An operator has shape (M, N) or (M·O, N·O).

        Returns
        -------
        ndarray, or (ndarray, ndarray)
            f_t on the training inputs, and on the test inputs if ``k_test_train`` is given. At t = 0 they are exactly
            ``fx_train_0`` and ``fx_test_0``.

        Raises
        ------
        ValueError
            If t is negative, NaN, or not a whole number of steps, or if a shape does not match.
        MemoryError
            If the results at all times do not fit in memory.

        Notes
        -----
        Two products with the (n, n) eigenvectors per time and result, where n = N or N·O; two triangular solves if all
        times are infinite and K + rI is regular. With ``method="krylov"``, a new ``fx_train_0`` costs products with K,
        and new times may cost more of them.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp, predict
        >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
        >>> X, y, X_test = np.eye(3), np.array([1.0, 0.0, -1.0]), np.ones((2, 3))
        >>> f = predict.gradient_descent_mse(kernel(X), y)
        >>> f_train, f_test = f(t=[0.0, 1.0, np.inf], k_test_train=kernel(X_test, X))
        >>> f_train.shape, f_test.shape
        ((3, 3), (3, 2))
        >>> bool(np.allclose(f_train[-1], y))
        True
        """
        times = self._rule.times(t)
        initial, residual, scale = self._residual(fx_train_0)
        found = evolution(self._spectral, self._rule, times, residual)
        if isinstance(found, AtEnd):  # f_∞(X) is Y
            trained = cast("Array", np.broadcast_to(self._y.astype(self._dtype), times.shape + self._y.shape).copy())
        else:
            trained = self._evolve(initial, found.trained, times, scale)
        if k_test_train is None:
            if fx_test_0 is not None:
                raise ValueError("fx_test_0 is given without k_test_train, which f_t on the test inputs needs")
            return trained
        kernel, eps, exponent = test_rows(k_test_train, len(self._y), self._block, self._spectral.size)
        shape = (kernel.shape[0] // (self._block or 1), *self._y.shape[1:])
        initial_test = kernels.broadcast(0.0 if fx_test_0 is None else fx_test_0, shape, "fx_test_0")
        change = found.tested(kernel, eps)
        return trained, self._evolve(initial_test, change, times, scale + exponent - found.exponent)

    def coefficients(self, t: ArrayLike | None = None, fx_train_0: ArrayLike = 0.0) -> Array:
        """Return the coefficients ``α_t = −φ_t(K)(f_0(X) − Y)`` of ``f_t(x) = f_0(x) + k(x, X) α_t``.

        They also give the parameters of a linearized network: ``θ_t − θ_0 = J(X)ᵀ α_t``, or ``net.vjp(X, alpha)``.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps with ``optimizer="gd"``; None or infinity means the end of training.
        fx_train_0 : float or array_like of y_train's shape
            Outputs on the training inputs before training.

        Returns
        -------
        ndarray
            α_t, with the axes of t followed by those of ``y_train``.

        Raises
        ------
        ValueError
            As for a call.

        Notes
        -----
        Two products with the (n, n) eigenvectors per time, where n = N or N·O.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import predict
        >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 0.0])
        >>> f = predict.gradient_descent_mse(K, y)
        >>> bool(np.allclose(K @ f.coefficients(2.0), f(2.0)))
        True
        """
        times = self._rule.times(t)
        initial, residual, scale = self._residual(fx_train_0)
        found = evolution(self._spectral, self._rule, times, residual)
        return self._evolve(np.zeros_like(initial), found.coefficients, times, scale - found.exponent)

    @property
    def modes(self) -> Modes:
        """The eigenmodes of the regularised training kernel, or with "krylov" the Ritz modes of the last call.

        Raises
        ------
        RuntimeError
            With ``method="krylov"``, before the first call.
        """
        return self._spectral.modes

    @property
    def report(self) -> Report | KrylovReport:
        """Diagnostics of the modes: their accuracy, and the number of eigenvalues that count as 0."""
        return self.modes.report

    @property
    def time_scales(self) -> NDArray[np.float64]:
        """The time, or number of steps, in which the residual of each mode shrinks by a factor of e in the long run.

        ``Z/(ηλ)`` for gradient flow, in the order of ``modes.values``. Infinite for modes that are never learned.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import predict
        >>> f = predict.gradient_descent_mse(np.diag([0.0, 1.0, 4.0]), np.ones(3), loss_scale="sum")
        >>> f.time_scales
        array([ inf, 1.  , 0.25])
        """
        modes = self.modes
        scales = np.full(modes.scaled.shape, np.inf)
        scales[modes.null :] = self._rule.time_scales(modes.positive, modes.exponent)
        return scales

    def _residual(self, fx_train_0: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Return f_0, ``(f_0 − Y)/2^scale`` in columns, and the scale."""
        initial = kernels.broadcast(fx_train_0, self._y.shape, "fx_train_0")
        scale = exponent_of(initial, np.abs(self._y).max(initial=0.0))
        residual = np.ldexp(initial, -scale) - np.ldexp(self._y, -scale)
        return initial, residual.reshape(self._spectral.size, self._columns), scale

    def _evolve(
        self, initial: NDArray[np.float64], change: NDArray[np.float64], times: NDArray[np.float64], exponent: int
    ) -> Array:
        """Return ``initial − 2^exponent · change``, where ``change`` holds all times side by side."""
        if exponent:
            change = ldexp(change, exponent)
        by_time = np.moveaxis(change.reshape(len(change), times.size, self._columns), 1, 0)
        result = np.empty((times.size, initial.size // max(self._columns, 1), self._columns), self._dtype)
        with np.errstate(over="ignore"):  # values beyond the range of the dtype become infinite
            np.subtract(initial.reshape(result.shape[1:]), by_time, out=result, casting="same_kind")
        return cast("Array", result.reshape(times.shape + initial.shape))


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
    """Return the outputs f_t of a network with a constant tangent kernel, trained on the square loss.

    ::

        f_t(X) = f_0(X) − K φ_t(K) (f_0(X) − Y)
        f_t(x) = f_0(x) − k φ_t(K) (f_0(X) − Y)

    for the loss ``L = 1/(2Z) Σ (f − y)²``, with φ_t chosen by ``optimizer`` and ``momentum``:

    ======  ====================================  =========================================
    flow    ẇ = −η∇L                              φ_t(λ) = (1 − e^{−ηλt/Z})/λ
    gd      w ← w − η∇L                           φ_k(λ) = (1 − (1 − ηλ/Z)^k)/λ
    flow    μẅ + (1 − μ)ẇ = −η∇L, ẇ_0 = 0         closed form of a damped oscillator
    gd      v ← μv − η∇L, w ← w + v, v_0 = 0      closed form of the heavy ball (Polyak)
    ======  ====================================  =========================================

    Parameters
    ----------
    k_train_train : (N, N) or (N, N, O, O) array_like, or LinearOperator
        Tangent kernel K of the training inputs. (N, N) with O outputs means K times the identity of size O. An operator
        needs ``method="krylov"`` and has shape (N, N), or (N·O, N·O) with index i·O + m.
    y_train : (N,) or (N, O) array_like
        Targets Y. Results have its trailing shape.
    learning_rate : float
        The learning rate η. Gradient flow depends on ηt alone.
    optimizer : "flow" or "gd"
        "flow" trains in continuous time t. "gd" takes steps, and t is the number of them.
    momentum : float
        μ in [0, 1). With "flow" it is the mass in the continuous limit of the heavy ball (Qian 1999), where one unit of
        time is one step. For μ → 0 this becomes gradient flow.
    loss_scale : "mean" or "sum"
        Z = N·O for "mean", 1 for "sum".
    diag_reg : float
        The training kernel becomes K + rI, where r is ``diag_reg`` times the mean of K's diagonal. An operator needs a
        method ``diagonal`` for it. Outputs on the training inputs then end at Y. The values of kernel ridge regression
        there, ``K (K + rI)⁻¹ Y``, are those for ``k_test_train=K``.
    diag_reg_absolute_scale : bool
        If True, r is ``diag_reg`` itself.
    method : "eigh" or "krylov"
        "eigh" makes one eigendecomposition, after which every t is cheap; t = ∞ alone needs none. "krylov" needs only
        products with K, but runs block Lanczos for each new ``fx_train_0`` and set of times.
    tolerance : float
        Target of the estimated error for "krylov", relative to ``f_0(X) − Y``.
    max_iterations : int
        Maximum number of products with K for "krylov", each with a block of O columns.

    Returns
    -------
    MseDynamics
        Call it as ``f(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None)``. It also has ``f.coefficients(t)``,
        the ``α_t`` of ``f_t = f_0 + k α_t``; ``f.time_scales``, the time that each mode takes; and ``f.report``, the
        diagnostics.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If K is not square or not symmetric, a shape does not match, or a value is not finite.
    ntkrs.DivergenceError
        If gradient descent diverges with this learning rate; with "krylov" in the first call.
    ntkrs.IndefiniteKernelError
        In the first call that sees it, if K has an eigenvalue that is negative beyond round-off.

    Warns
    -----
    ntkrs.ConvergenceWarning
        In a call, if "krylov" did not reach its tolerance. The warning gives the error estimate.

    Notes
    -----
    "eigh" copies K. At t = ∞ it takes the Cholesky factor, n³/3 operations with n = N or N·O, unless K + rI is
    singular within round-off. Then, and for other times, it takes the eigendecomposition, O(n³), some 15 times as
    long. Both are computed when first needed, and kept, in O(n²) memory each. Eigenvalues within
    32·ε·trace of 0 (in float32, 32·ε·√n times the mean of the diagonal) count as 0, and training changes nothing along
    their eigenvectors. Duplicated inputs therefore converge to their mean target.

    At t = ∞ "krylov" solves ``(K + rI) α = Y − f_0(X)`` for an operator with a ridge, by :func:`ntkrs.solve`. Otherwise
    it takes m products with K, O(n (mO)²) operations to keep a basis of m·O vectors orthogonal, and the memory of
    this basis. m grows like ``√(ηλt/Z)`` for the largest λ, until the spectrum is resolved. The result does not depend
    on the cutoff 32·ε·trace, unless t is infinite or exceeds the time scale of an eigenvalue at the cutoff.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Lee, Xiao et al. (2019), section 2.2. Polyak (1964) and Qian (1999) for momentum.
    Hochbruck, Lubich (1997) for functions of operators.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])  # y is an eigenvector, of eigenvalue 1
    >>> f = predict.gradient_descent_mse(K, y, loss_scale="sum")
    >>> bool(np.allclose(f(1.0), y * (1 - np.exp(-1))))
    True
    >>> f = predict.gradient_descent_mse(K, y, learning_rate=0.5, optimizer="gd", loss_scale="sum")
    >>> bool(np.allclose(f(3), y * (1 - 0.5**3)))
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
    system = LinearSystem(copied(kernel), regularizer, absolute=absolute)
    system.check(rule)
    return MseDynamics(system, rule, y, block, np.result_type(kernel, y))


def training_rule(learning_rate: float, size: int, optimizer: str, momentum: float, loss_scale: str) -> Rule:
    """Return the training rule that these arguments of :func:`gradient_descent_mse` describe."""
    z = kernels.loss_divisor(loss_scale, size)
    rate = numbers.positive(learning_rate, "learning_rate") / z
    mu = numbers.momentum(momentum)
    steps = numbers.choice(optimizer, "optimizer", ("flow", "gd")) == "gd"
    return Descent(rate, mu) if steps else Flow(rate, mu)
