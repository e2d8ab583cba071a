"""Training dynamics of networks whose tangent kernel stays constant, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from ntkrs import _arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike

#: What the square loss is divided by: Z = N·O, or 1.
LossScale: TypeAlias = Literal["mean", "sum"]

#: Eigenvalues within this many ε·trace of 0 are round-off.
_ROUND_OFF = 32.0


@dataclass(frozen=True, eq=False)
class Modes:
    """A symmetric kernel in its eigenbasis.

    Attributes
    ----------
    values : (n,) ndarray
        Eigenvalues, ascending; those that are round-off are 0.
    vectors : (n, n) ndarray
        Eigenvectors in columns.
    cutoff : float
        Eigenvalues of at most this magnitude were taken for 0: ``32 · ε · trace``.
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    cutoff: float

    @property
    def null(self) -> int:
        """How many eigenvalues are 0: directions of the labels that training never changes."""
        return int(np.count_nonzero(self.values == 0))


class GradientFlow:
    """f_t of :func:`gradient_descent_mse`, to be called with times.

    Attributes
    ----------
    modes : Modes
        The training kernel, regularised, in its eigenbasis.
    """

    modes: Modes

    def __init__(self, modes: Modes, y_train: Array, rate: float, outputs: int | None, dtype: np.dtype[Any]) -> None:
        self.modes = modes
        self._y = y_train.astype(np.float64)
        self._rate = rate
        self._block = outputs
        self._dtype = dtype

    def __repr__(self) -> str:
        return f"GradientFlow(y_train of shape {self._y.shape}, {self.modes.null} null modes)"

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
            Time; None or infinity: the end of training. An array's axes lead those of the results.
        fx_train_0 : float or array_like of y_train's shape
            Outputs on the training inputs before training.
        fx_test_0 : float or (M,) or (M, O) array_like, optional
            Outputs on the test inputs before training; by default 0.
        k_test_train : (M, N) or (M, N, O, O) array_like, optional
            Tangent kernel between test and training inputs.

        Returns
        -------
        ndarray, or (ndarray, ndarray)
            f_t on the training inputs, and on the test inputs if ``k_test_train`` is given. Exactly ``fx_train_0`` and
            ``fx_test_0`` at t = 0.

        Raises
        ------
        ValueError
            If t is negative or NaN, or a shape does not fit.

        Notes
        -----
        Two products with the (n, n) eigenvectors per time and result, n = N or N·O.
        """
        times = _times(t)
        initial = _broadcast(fx_train_0, self._y.shape, "fx_train_0")
        residual = self.modes.vectors.T @ self._columns(initial - self._y)
        exponents = self._exponents(times)
        trained = self._evolve(initial, self.modes.vectors, -np.expm1(-exponents), residual)
        if k_test_train is None:
            if fx_test_0 is not None:
                raise ValueError("fx_test_0 is given without k_test_train, which f_t on the test inputs needs")
            return trained
        kernel = self._test_kernel(k_test_train)
        shape = (kernel.shape[0] // (self._block or 1), *self._y.shape[1:])
        initial_test = _broadcast(0.0 if fx_test_0 is None else fx_test_0, shape, "fx_test_0")
        return trained, self._evolve(initial_test, self._project(kernel), self._response(exponents, times), residual)

    def _exponents(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """``ηλt/Z``, (..., n); 0 for null modes, also at t = ∞."""
        values = self.modes.values
        exponents = np.zeros((*times.shape, values.size))
        with np.errstate(over="ignore"):  # an infinite exponent is the end of training
            np.multiply(times[..., None], self._rate * values, out=exponents, where=values > 0)
        return exponents

    def _response(self, exponents: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """``φ_t(λ) = (1 − e^{−ηλt/Z})/λ``; for null modes its limit ηt/Z, and 0 at t = ∞: the pseudo-inverse."""
        values = self.modes.values
        drift = np.where(np.isinf(times), 0.0, self._rate * times)[..., None]
        response = np.broadcast_to(drift, exponents.shape).copy()
        np.divide(-np.expm1(-exponents), values, out=response, where=values > 0)
        return response

    def _evolve(
        self,
        initial: NDArray[np.float64],
        modes: NDArray[np.float64],
        response: NDArray[np.float64],
        residual: NDArray[np.float64],
    ) -> Array:
        """``initial − modes · diag(response) · residual`` for each time, in the shape of ``initial``."""
        change = modes @ (response[..., None] * residual)
        return cast("Array", (initial - change.reshape(response.shape[:-1] + initial.shape)).astype(self._dtype))

    def _columns(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) or (N, O) as right-hand sides: (N, O), or (N·O, 1) for a kernel with output blocks."""
        columns = self._y.shape[1] if self._y.ndim == 2 and self._block is None else 1
        return values.reshape(self.modes.values.size, columns)

    def _project(self, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        """The test-train kernel in the eigenbasis, without the round-off that null modes would amplify with time."""
        projected = kernel @ self.modes.vectors
        if self.modes.null:
            eps = np.finfo(self._dtype).eps
            noise = _ROUND_OFF * eps * np.linalg.norm(kernel, axis=1, keepdims=True)
            projected[(self.modes.values == 0) & (np.abs(projected) <= noise)] = 0.0
        return projected

    def _test_kernel(self, k_test_train: ArrayLike) -> NDArray[np.float64]:
        kernel = _arrays.finite(_arrays.floating(k_test_train, "k_test_train"), "k_test_train")
        n, block = self._y.shape[0], self._block
        tail = (n,) if block is None else (n, block, block)
        if kernel.ndim != 1 + len(tail) or kernel.shape[1:] != tail:
            expected = ", ".join(["M", *map(str, tail)])
            raise ValueError(
                f"k_test_train has shape {kernel.shape}, but ({expected}) is needed to match k_train_train"
            )
        return _flatten(kernel)


def gradient_descent_mse(
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    *,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> GradientFlow:
    """Return f_t of gradient flow on the square loss, for a network whose tangent kernel stays constant.

    ::

        f_t(X) = f_0(X) − (1 − e^{−ηKt/Z}) (f_0(X) − Y)
        f_t(x) = f_0(x) − k K⁻¹ (1 − e^{−ηKt/Z}) (f_0(X) − Y)

    for the loss ``1/(2Z) Σ (f − y)²``.

    Parameters
    ----------
    k_train_train : (N, N) or (N, N, O, O) array_like
        Tangent kernel K on the training inputs. (N, N) with O outputs means K times the identity of size O.
    y_train : (N,) or (N, O) array_like
        Targets Y. Results have its trailing shape.
    learning_rate : float
        η; time is measured in units of it.
    loss_scale : "mean" or "sum"
        Z = N·O, or 1.
    diag_reg : float
        r: the training kernel is K + rI throughout.
    diag_reg_absolute_scale : bool
        Whether r is ``diag_reg`` itself instead of ``diag_reg`` times the mean of K's diagonal.

    Returns
    -------
    GradientFlow
        Called as ``predict(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None)``.

    Raises
    ------
    ValueError
        If K is not square or not symmetric, a shape does not fit, or a value is not finite.
    numpy.linalg.LinAlgError
        If K has an eigenvalue that is negative beyond round-off.

    Notes
    -----
    One symmetric eigendecomposition, O(n³) with n = N or N·O. Eigenvalues within 32·ε·trace of 0 count as 0: along
    them training changes nothing, so that duplicated inputs converge to their mean label. ``predict.modes`` tells how
    many there are.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Lee, Xiao et al. (2019), section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])
    >>> predict = gradient_descent_mse(K, y, loss_scale="sum")
    >>> bool(np.allclose(predict(1.0), y * (1 - np.exp(-1))))  # y is an eigenvector, of eigenvalue 1
    True
    """
    kernel = _arrays.finite(_arrays.floating(k_train_train, "k_train_train"), "k_train_train")
    targets = _arrays.finite(_arrays.floating(y_train, "y_train"), "y_train")
    block = _check_shapes(kernel, targets)
    if loss_scale not in ("mean", "sum"):
        raise ValueError(f"loss_scale is {loss_scale!r}, but must be 'mean' or 'sum'")
    eta = _nonnegative(learning_rate, "learning_rate")
    if eta == 0:
        raise ValueError("learning_rate is 0.0, but must be positive")
    matrix, eps = _symmetric(_flatten(kernel), kernel.dtype)
    regularizer = _nonnegative(diag_reg, "diag_reg")
    if not diag_reg_absolute_scale and matrix.size:
        regularizer *= np.trace(matrix) / len(matrix)
    matrix[np.diag_indices_from(matrix)] += regularizer
    z = max(targets.size, 1) if loss_scale == "mean" else 1
    dtype = np.result_type(kernel, targets)
    return GradientFlow(_modes(matrix, eps), targets, eta / z, block, dtype)


def _modes(matrix: NDArray[np.float64], eps: float) -> Modes:
    """Eigenvalues and eigenvectors, round-off told from negative eigenvalues."""
    from scipy.linalg import eigh

    if not matrix.size:
        return Modes(np.empty(0), np.empty((0, 0)), 0.0)
    # A power of two brings the entries near 1: LAPACK would lose the digits of tiny ones, or overflow.
    exponent = int(np.frexp(np.abs(matrix).max())[1])
    values, vectors = eigh(np.ldexp(matrix, -exponent), driver="evd", overwrite_a=True, check_finite=False)
    cutoff = _ROUND_OFF * eps * float(np.abs(values).sum())
    if values[0] < -cutoff:
        lowest, bound = float(np.ldexp(values[0], exponent)), float(np.ldexp(cutoff, exponent))
        raise np.linalg.LinAlgError(
            f"k_train_train has eigenvalue {lowest:.6g}, negative beyond round-off ({bound:.3g}): it is no kernel. "
            "Compute it in float64, or add diag_reg."
        )
    values[np.abs(values) <= cutoff] = 0.0
    return Modes(np.ldexp(values, exponent), vectors, float(np.ldexp(cutoff, exponent)))


def _symmetric(matrix: NDArray[np.float64], dtype: np.dtype[Any]) -> tuple[NDArray[np.float64], float]:
    """A copy in float64, exactly symmetric, and the ε of the dtype it came in."""
    eps = float(np.finfo(dtype).eps)
    largest = np.abs(matrix).max(initial=0.0)
    asymmetry = np.abs(matrix - matrix.T).max(initial=0.0)
    if asymmetry > 1e3 * eps * largest:
        raise ValueError(
            f"k_train_train differs from its transpose by up to {asymmetry:.3g}, its entries being up to "
            f"{largest:.3g}, but a kernel on the training inputs is symmetric. Did you pass a test-train kernel?"
        )
    return 0.5 * matrix + 0.5 * matrix.T, eps


def _check_shapes(kernel: Array, targets: Array) -> int | None:
    """Check that K and Y fit; return O if K has output blocks."""
    if targets.ndim not in (1, 2):
        raise ValueError(f"y_train has shape {targets.shape}, but (N,) or (N, O) is needed")
    square = kernel.ndim in (2, 4) and kernel.shape[0] == kernel.shape[1] and len(set(kernel.shape[2:])) <= 1
    if not square:
        raise ValueError(f"k_train_train has shape {kernel.shape}, but (N, N) or (N, N, O, O) is needed")
    if kernel.shape[0] != targets.shape[0]:
        raise ValueError(
            f"k_train_train has shape {kernel.shape}, but y_train has shape {targets.shape}: N must be the same"
        )
    if kernel.ndim == 2:
        return None
    outputs = targets.shape[1] if targets.ndim == 2 else 1
    if kernel.shape[2] != outputs:
        raise ValueError(
            f"k_train_train has shape {kernel.shape}, but y_train has shape {targets.shape}: O must be the same"
        )
    return outputs


def _flatten(kernel: Array) -> NDArray[np.float64]:
    """(N, M, O, O) as (N·O, M·O), sample-major; (N, M) as it is."""
    if kernel.ndim == 4:
        n, m, o, _ = kernel.shape
        kernel = cast("Array", kernel.transpose(0, 2, 1, 3).reshape(n * o, m * o))
    return kernel.astype(np.float64, copy=False)


def _times(t: ArrayLike | None) -> NDArray[np.float64]:
    if t is None:
        return np.array(np.inf)
    times = _arrays.floating(t, "t").astype(np.float64, copy=False)
    if np.isnan(times).any() or (times < 0).any():
        bad = times[np.isnan(times) | (times < 0)].flat[0]
        raise ValueError(f"t holds {bad}, but times are >= 0 (None or infinity: the end of training)")
    return times


def _broadcast(values: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    array = _arrays.finite(_arrays.floating(values, name), name).astype(np.float64, copy=False)
    if array.ndim and array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but a number or an array of shape {shape} is needed")
    return np.broadcast_to(array, shape)


def _nonnegative(value: float, name: str) -> float:
    number = float(value)
    if not (np.isfinite(number) and number >= 0):
        raise ValueError(f"{name} is {number}, but must be finite and >= 0")
    return number
