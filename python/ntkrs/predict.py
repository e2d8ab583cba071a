"""Training dynamics of networks whose tangent kernel stays constant, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from ntkrs import _arrays, _numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike

#: What the square loss is divided by: Z = N·O, or 1.
LossScale: TypeAlias = Literal["mean", "sum"]

#: Eigenvalues within this many ε·trace of 0 are round-off.
_ROUND_OFF = 32.0

#: Where the whole kernel is 0, 1/λ is at most the inverse of this: sums of such terms stay finite.
_TINIEST = 2.0**-1000


@dataclass(frozen=True, eq=False)
class Modes:
    """A symmetric kernel in its eigenbasis, its scale held apart: ``K = 2^exponent · V diag(scaled) Vᵀ``.

    Attributes
    ----------
    scaled : (n,) ndarray
        Eigenvalues over ``2^exponent``, ascending; those that are round-off are 0.
    vectors : (n, n) ndarray
        V, the eigenvectors in columns.
    exponent : int
        That of the kernel's largest entry, so that nothing computed from ``scaled`` overflows or underflows.
    eps : float
        ε of the dtype that the kernel came in.
    scaled_cutoff : float
        ``cutoff`` over ``2^exponent``.
    """

    scaled: NDArray[np.float64]
    vectors: NDArray[np.float64]
    exponent: int
    eps: float
    scaled_cutoff: float

    @property
    def values(self) -> NDArray[np.float64]:
        """Eigenvalues, ascending; those that are round-off are 0."""
        return _ldexp(self.scaled, self.exponent)

    @property
    def cutoff(self) -> float:
        """Eigenvalues of at most this magnitude were taken for 0: ``32 · ε · trace``."""
        return float(_ldexp(self.scaled_cutoff, self.exponent))

    @property
    def null(self) -> int:
        """How many eigenvalues are 0: directions of the labels that training never changes."""
        return int(np.count_nonzero(self.scaled == 0))


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
            Outputs on the training inputs before training. (N, 1) and (N,) stand for each other.
        fx_test_0 : float or (M,) or (M, O) array_like, optional
            Outputs on the test inputs before training; by default 0. (M, 1) and (M,) stand for each other.
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
        _, scale = _scaled(np.stack([initial, self._y]))
        residual = self.modes.vectors.T @ self._columns(np.ldexp(initial, -scale) - np.ldexp(self._y, -scale))
        drift = self._drift(times)
        decay = self._decay(drift)
        trained = self._evolve(initial, self.modes.vectors, decay, residual, scale)
        if k_test_train is None:
            if fx_test_0 is not None:
                raise ValueError("fx_test_0 is given without k_test_train, which f_t on the test inputs needs")
            return trained
        kernel, eps = self._test_kernel(k_test_train)
        shape = (kernel.shape[0] // (self._block or 1), *self._y.shape[1:])
        initial_test = _broadcast(0.0 if fx_test_0 is None else fx_test_0, shape, "fx_test_0")
        kernel, exponent = _scaled(kernel)
        response, scale = self._response(times, drift, decay), scale + exponent - self.modes.exponent
        return trained, self._evolve(initial_test, self._project(kernel, eps), response, residual, scale)

    def _drift(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """``ηt/Z · 2^exponent``, (..., 1): the factor of ``modes.scaled`` in ``ηλt/Z``."""
        (rate, rate_exponent), (time, time_exponent) = np.frexp(self._rate), np.frexp(times)
        return _ldexp(rate * time, rate_exponent + time_exponent + self.modes.exponent)[..., None]

    def _decay(self, drift: NDArray[np.float64]) -> NDArray[np.float64]:
        """``1 − e^{−ηλt/Z}``, (..., n); 0 for null modes, also at t = ∞."""
        scaled = self.modes.scaled
        exponents = np.zeros((*drift.shape[:-1], scaled.size))
        np.multiply(drift, scaled, out=exponents, where=scaled > 0)
        return cast("NDArray[np.float64]", -np.expm1(-exponents))

    def _response(
        self, times: NDArray[np.float64], drift: NDArray[np.float64], decay: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """``φ_t(λ) = (1 − e^{−ηλt/Z})/λ``, times ``2^exponent``.

        For null modes it is the limit ηt/Z, but never more than 1/λ of the smallest λ that could count as nonzero; and
        0 at t = ∞: the pseudo-inverse.
        """
        modes = self.modes
        limit = np.where(np.isinf(times)[..., None], 0.0, np.minimum(drift, 1 / (modes.scaled_cutoff or _TINIEST)))
        response = np.broadcast_to(limit, decay.shape).copy()
        np.divide(decay, modes.scaled, out=response, where=modes.scaled > 0)
        return response

    def _evolve(
        self,
        initial: NDArray[np.float64],
        modes: NDArray[np.float64],
        response: NDArray[np.float64],
        residual: NDArray[np.float64],
        exponent: int,
    ) -> Array:
        """``initial − 2^exponent · modes · diag(response) · residual`` for each time, in the shape of ``initial``."""
        change = _ldexp(modes @ (response[..., None] * residual), exponent)
        with np.errstate(over="ignore"):  # what exceeds the dtype is infinite
            return cast("Array", (initial - change.reshape(response.shape[:-1] + initial.shape)).astype(self._dtype))

    def _columns(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) or (N, O) as right-hand sides: (N, O), or (N·O, 1) for a kernel with output blocks."""
        columns = self._y.shape[1] if self._y.ndim == 2 and self._block is None else 1
        return values.reshape(self.modes.scaled.size, columns)

    def _project(self, kernel: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
        """The test-train kernel in the eigenbasis, without the round-off that null modes would amplify with time."""
        projected = kernel @ self.modes.vectors
        if self.modes.null:
            noise = _ROUND_OFF * max(eps, self.modes.eps) * np.linalg.norm(kernel, axis=1, keepdims=True)
            projected[(self.modes.scaled == 0) & (np.abs(projected) <= noise)] = 0.0
        return projected

    def _test_kernel(self, k_test_train: ArrayLike) -> tuple[NDArray[np.float64], float]:
        """The test-train kernel as a matrix, and the ε of its dtype."""
        kernel = _arrays.finite(_arrays.floating(k_test_train, "k_test_train"), "k_test_train")
        n, block = self._y.shape[0], self._block
        tail = (n,) if block is None else (n, block, block)
        if kernel.ndim != 1 + len(tail) or kernel.shape[1:] != tail:
            expected = ", ".join(["M", *map(str, tail)])
            raise ValueError(
                f"k_test_train has shape {kernel.shape}, but ({expected}) is needed to match k_train_train"
            )
        return _flatten(kernel), float(np.finfo(kernel.dtype).eps)


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
    TypeError
        If an argument is not made of real numbers.
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
    regularizer = _nonnegative(diag_reg, "diag_reg")
    absolute = _numbers.boolean(diag_reg_absolute_scale, "diag_reg_absolute_scale")
    eps = float(np.finfo(kernel.dtype).eps)
    # A power of two brings the entries near 1 before anything else is done: nothing overflows, and LAPACK would lose
    # the digits of tiny ones.
    matrix, exponent = _scaled(_flatten(kernel), regularizer if absolute else 0.0)
    matrix = _symmetric(matrix, exponent, eps)
    mean = np.trace(matrix) / max(len(matrix), 1)
    matrix[np.diag_indices_from(matrix)] += np.ldexp(regularizer, -exponent) if absolute else regularizer * mean
    z = max(targets.size, 1) if loss_scale == "mean" else 1
    dtype = np.result_type(kernel, targets)
    return GradientFlow(_modes(matrix, exponent, eps), targets, eta / z, block, dtype)


def _ldexp(values: ArrayLike, exponent: ArrayLike) -> NDArray[np.float64]:
    """``values · 2^exponent``, infinite where that overflows."""
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(values, exponent))


def _scaled(values: NDArray[np.float64], largest: float = 0.0) -> tuple[NDArray[np.float64], int]:
    """``values / 2^exponent``, and the exponent that brings them, and ``largest``, below 1."""
    exponent = int(np.frexp(np.abs(values).max(initial=largest))[1])
    return np.ldexp(values, -exponent), exponent


def _modes(matrix: NDArray[np.float64], exponent: int, eps: float) -> Modes:
    """Eigenvalues and eigenvectors of ``2^exponent · matrix``, round-off told from negative eigenvalues."""
    from scipy.linalg import eigh

    if not matrix.size:
        return Modes(np.empty(0), np.empty((0, 0)), exponent, eps, 0.0)
    matrix, regularized = _scaled(matrix)  # a large regularizer has a scale of its own
    exponent += regularized
    values, vectors = eigh(matrix, driver="evd", overwrite_a=True, check_finite=False)
    cutoff = _ROUND_OFF * eps * float(np.abs(values).sum())
    if values[0] < -cutoff:
        lowest, bound = float(_ldexp(values[0], exponent)), float(_ldexp(cutoff, exponent))
        raise np.linalg.LinAlgError(
            f"k_train_train has eigenvalue {lowest:.6g}, negative beyond round-off ({bound:.3g}): it is no kernel. "
            "Compute it in float64, or add diag_reg."
        )
    values[np.abs(values) <= cutoff] = 0.0
    return Modes(values, vectors, exponent, eps, cutoff)


def _symmetric(matrix: NDArray[np.float64], exponent: int, eps: float) -> NDArray[np.float64]:
    """An exactly symmetric copy of ``matrix``, which stands for ``2^exponent · matrix`` and came with this ε."""
    largest = np.abs(matrix).max(initial=0.0)
    asymmetry = np.abs(matrix - matrix.T).max(initial=0.0)
    if asymmetry > 1e3 * eps * largest:
        single = asymmetry <= 1e3 * np.finfo(np.float32).eps * largest
        hint = (
            "Was it computed in float32? Then pass it as float32, or symmetrise it."
            if single
            else "Did you pass a test-train kernel?"
        )
        raise ValueError(
            f"k_train_train differs from its transpose by up to {_ldexp(asymmetry, exponent):.3g}, its entries being "
            f"up to {_ldexp(largest, exponent):.3g}, but a kernel on the training inputs is symmetric. {hint}"
        )
    return (matrix + matrix.T) / 2


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
    if array.ndim and _in_columns(array.shape) != _in_columns(shape):
        raise ValueError(f"{name} has shape {array.shape}, but a number or an array of shape {shape} is needed")
    return array.reshape(shape) if array.ndim else np.broadcast_to(array, shape)


def _in_columns(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N,) as (N, 1): a network with one output returns that."""
    return (*shape, 1) if len(shape) == 1 else shape


def _nonnegative(value: float, name: str) -> float:
    number = _numbers.real(value, name)
    if number < 0:
        raise ValueError(f"{name} is {number}, but must be >= 0")
    return number
