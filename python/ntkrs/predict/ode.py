"""Training on any loss in function space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.predict.integration import Integrator, State
from ntkrs.predict.losses import loss_function
from ntkrs.predict.operators import Products, operator_blocks, test_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Optimizer
    from ntkrs.predict.losses import Loss

#: Solvers of SciPy, or "auto" for the one that suits the problem.
Solver: TypeAlias = Literal["auto", "LSODA", "BDF", "Radau", "RK45", "DOP853"]
_SOLVERS = ("auto", "LSODA", "BDF", "Radau", "RK45", "DOP853")


class LossDynamics:
    """The outputs f_t of :func:`gradient_descent`. Call it with times.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> loss = lambda f, y: np.sign(f - y)  # the gradient of |f − y|
    >>> f = predict.gradient_descent(loss, np.eye(1), np.array([1.0]), learning_rate=0.25, optimizer="gd")
    >>> f(t=3)  # three steps of 0.25
    array([0.75])
    """

    def __init__(
        self, integrator: Integrator, y_train: Array, outputs: int | None, dtype: np.dtype[Any], *, steps: bool
    ) -> None:
        self._integrator = integrator
        self._shape = y_train.shape
        self._block = outputs
        self._dtype = dtype
        self._steps = steps

    def __repr__(self) -> str:
        return f"LossDynamics(y_train of shape {self._shape}, {self._integrator!r})"

    def __call__(
        self,
        t: ArrayLike,
        fx_train_0: ArrayLike = 0.0,
        fx_test_0: ArrayLike | None = None,
        k_test_train: ArrayLike | None = None,
        *,
        start: State | None = None,
    ) -> Any:
        """Return the outputs after training for a time t.

        :func:`gradient_descent` gives the equations.

        Parameters
        ----------
        t : float or array_like
            Time since the beginning of training, or number of steps with ``optimizer="gd"``. The axes of an array
            become the leading axes of the results.
        fx_train_0 : float or array_like of y_train's shape
            Outputs on the training inputs before training; ignored with ``start``.
        fx_test_0 : float or (M,) or (M, O) array_like, optional
            Outputs on the test inputs before training; by default 0.
        k_test_train : (M, N) or (M, N, O, O) array_like, or LinearOperator, optional
            Tangent kernel between test and training inputs.
        start : State, optional
            A state that :meth:`state` returned for an earlier time. Training continues from there.

        Returns
        -------
        ndarray, or (ndarray, ndarray)
            f_t on the training inputs, and on the test inputs if ``k_test_train`` is given. At t = 0 they are exactly
            ``fx_train_0`` and ``fx_test_0``.

        Raises
        ------
        ValueError
            If t is negative, not finite, or earlier than ``start``, or a shape does not match.
        ntkrs.DivergenceError
            If training diverges.
        ntkrs.ConvergenceError
            If the solver fails, or would need too many evaluations of the loss for this t and learning rate.

        Warns
        -----
        ntkrs.ConvergenceWarning
            If outputs oscillate so long that rounding errors add up to more than the tolerances.

        Notes
        -----
        One product with K for each evaluation of the loss, and one product with ``k_test_train`` for each time.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp, predict
        >>> kernel = mlp(depth=1, width=1, outputs=2, activation="relu").kernel()
        >>> X, y = np.eye(2), np.eye(2)  # two classes, as probabilities
        >>> f = predict.gradient_descent("softmax_cross_entropy", kernel(X), y)
        >>> f_train, f_test = f(t=10.0, k_test_train=kernel(np.ones((1, 2)), X))
        >>> f_train.argmax(axis=1)
        array([0, 1])
        >>> bool(np.allclose(f_test[0, 0], f_test[0, 1]))  # the test input lies halfway
        True
        """
        start = self._start(fx_train_0) if start is None else start
        times, states = self._states(t, start)
        size, columns = self._columns
        stacked = np.array([state.coefficients for state in states]).reshape(len(states), size, columns)
        alpha = np.moveaxis(stacked, 0, 1).reshape(size, len(states) * columns)
        products = self._integrator.products
        trained = self._result(start.fx_train_0, products(alpha), products.exponent, times)
        if k_test_train is None:
            if fx_test_0 is not None:
                raise ValueError("fx_test_0 is given without k_test_train, which f_t on the test inputs needs")
            return trained
        kernel, _, exponent = test_rows(k_test_train, self._shape[0], self._block, products.size)
        shape = (kernel.shape[0] // (self._block or 1), *self._shape[1:])
        initial_test = kernels.broadcast(0.0 if fx_test_0 is None else fx_test_0, shape, "fx_test_0")
        return trained, self._result(initial_test, np.asarray(kernel @ alpha), exponent, times)

    def state(self, t: float, fx_train_0: ArrayLike = 0.0, *, start: State | None = None) -> State:
        """Return the state of training at one time. Pass it as ``start`` to continue from there.

        The parameters of a linearized network follow from its coefficients α: ``θ_t − θ_0 = J(X)ᵀ α``.

        Parameters
        ----------
        t : float
            Time, or number of steps with ``optimizer="gd"``.
        fx_train_0, start
            As for a call.

        Returns
        -------
        State
            Time, coefficients α and velocity: everything needed to continue.

        Raises
        ------
        ValueError
            As for a call, and if t is an array.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import predict
        >>> K = np.array([[2.0, 1.0], [1.0, 2.0]])
        >>> f = predict.gradient_descent("mse", K, np.array([1.0, 0.0]))
        >>> state = f.state(1.0)
        >>> bool(np.allclose(K @ state.coefficients, f(1.0))) and bool(np.allclose(f(2.0, start=state), f(2.0)))
        True
        """
        times, states = self._states(t, self._start(fx_train_0) if start is None else start)
        if times.ndim:
            raise ValueError(f"t has shape {times.shape}, but a state belongs to one time")
        return states[0]

    @property
    def _columns(self) -> tuple[int, int]:
        """The shape of the right-hand sides that the kernel is applied to."""
        size = self._integrator.products.size
        return size, self._integrator.columns

    def _start(self, fx_train_0: ArrayLike) -> State:
        """Return the state before training."""
        initial = np.array(kernels.broadcast(fx_train_0, self._shape, "fx_train_0"))
        return State(0.0, initial, np.zeros(self._shape), np.zeros(self._shape))

    def _states(self, t: ArrayLike, start: State) -> tuple[NDArray[np.float64], list[State]]:
        """Return the times, checked, and the state at each of them."""
        if t is None:
            raise ValueError("t is None, but the end of training on any loss has no formula: pass a finite time")
        times = kernels.steps(t) if self._steps else kernels.times(t)
        if np.isinf(times).any():
            raise ValueError("t holds inf, but the end of training on any loss has no formula: pass a finite time")
        if times.size and times.min() < start.time:
            raise ValueError(f"t holds {times.min()}, but start is at {start.time}: time does not run backwards")
        if not times.size:
            return times, []
        distinct, position = np.unique(times.ravel(), return_inverse=True)
        reached = self._integrator.run(start, distinct)
        return times, [reached[i] for i in position]

    def _result(
        self, initial: NDArray[np.float64], change: NDArray[np.float64], exponent: int, times: NDArray[np.float64]
    ) -> Array:
        """Return ``initial + 2^exponent · change``, where ``change`` holds all times side by side."""
        by_time = np.moveaxis(change.reshape(len(change), times.size, self._columns[1]), 1, 0)
        with np.errstate(over="ignore"):
            result = initial + ldexp(by_time, exponent).reshape(times.shape + initial.shape)
            return cast("Array", result.astype(self._dtype, copy=False))


def gradient_descent(
    loss: Loss,
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    momentum: float | None = None,
    *,
    optimizer: Optimizer = "flow",
    solver: Solver = "auto",
    relative_tolerance: float = 1e-8,
    absolute_tolerance: float = 1e-10,
) -> LossDynamics:
    """Return the outputs f_t of a network with a constant tangent kernel, trained on any loss.

    ::

        f_t(x) = f_0(x) + k(x, X) α_t,    dα/dt = −η ∇_f L(f_0(X) + K α, Y)

    Parameters
    ----------
    loss : "mse", "softmax_cross_entropy", or callable
        "mse" is ``1/(2NO) Σ (f − y)²``, and "softmax_cross_entropy" is ``−1/N Σ y log softmax(f)``. A callable
        ``(f, y) -> dL/df`` takes and returns arrays of y_train's shape.
    k_train_train : (N, N) or (N, N, O, O) array_like, or LinearOperator
        Tangent kernel K of the training inputs. (N, N) with O outputs means K times the identity of size O.
    y_train : (N,) or (N, O) array_like
        Targets Y; for the cross-entropy, (N, O) probabilities. Results have its trailing shape.
    learning_rate : float
        The learning rate η. Gradient flow depends on ηt alone.
    momentum : float, optional
        μ in [0, 1): ``μα̈ + (1 − μ)α̇ = −η∇L`` with "flow" (Qian 1999), ``v ← μv − η∇L, α ← α + v`` with "gd".
    optimizer : "flow" or "gd"
        "flow" integrates the ODE in time t. "gd" takes steps one by one, and t is the number of them.
    solver : "auto", "LSODA", "BDF", "Radau", "RK45" or "DOP853"
        SciPy's method for "flow". "auto" is the closed form for "mse" if K is an array of order N or N·O up to 2000.
        Otherwise it is LSODA up to N·O = 2000, and DOP853 above that and for operators. Where momentum makes outputs
        oscillate, it is DOP853 until friction has ended that, and then Radau.
    relative_tolerance, absolute_tolerance : float
        Without momentum, the solver accepts this error of α in a step, in units in which the entries of K are below 1;
        such errors decay in training. With momentum, this is the error of f_t, relative to the largest ``|f_0 − Y|`` or
        absolute, and steps are so accurate that all their errors together stay below it. BDF may exceed it 50-fold.

    Returns
    -------
    LossDynamics
        Call it as ``f(t, fx_train_0=0.0, fx_test_0=None, k_test_train=None)``. To continue later from a time t, keep
        ``state = f.state(t)`` and call ``f(later, start=state)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    Each evaluation of the right-hand side takes one product with K, O(N² O). Test inputs take one product per time,
    however many evaluations there are. A stiff solver sometimes factorizes matrices of order N·O. In very long times,
    and where momentum makes many oscillations, a small array is decomposed once, O(N³), and null modes do not drift. A
    solver that would need more than 500 000 evaluations is stopped, as soon as its progress shows that.

    References
    ----------
    Lee, Xiao et al. (2019), section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])  # y is an eigenvector, of eigenvalue 1
    >>> f = predict.gradient_descent("mse", K, y)
    >>> bool(np.allclose(f(2.0), y * (1 - np.exp(-1))))  # the closed form of gradient_descent_mse
    True
    """
    y = kernels.targets(y_train)
    products = Products(k_train_train)
    products.check_symmetric()
    block = operator_blocks(k_train_train, products.size, y)
    steps = numbers.choice(optimizer, "optimizer", ("flow", "gd")) == "gd"
    method = numbers.choice(solver, "solver", _SOLVERS)
    tolerances = (
        numbers.positive(relative_tolerance, "relative_tolerance"),
        numbers.positive(absolute_tolerance, "absolute_tolerance"),
    )
    integrator = Integrator(
        products=products,
        loss=loss_function(loss, y),
        rate=numbers.positive(learning_rate, "learning_rate"),
        momentum=0.0 if momentum is None else numbers.momentum(momentum),
        solver="steps" if steps else method,
        tolerances=tolerances,
        columns=y.shape[1] if y.ndim == 2 and block is None else 1,
    )
    return LossDynamics(integrator, y, block, np.result_type(products.dtype, y), steps=steps)
