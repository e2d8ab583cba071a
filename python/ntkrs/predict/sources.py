"""Kernels of training and test points: computed by a function of the inputs, or given as matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ntkrs._checks import images, kernels
from ntkrs._checks.protocols import PreparingKernel
from ntkrs.predict.once import Once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._checks.protocols import KernelFunction
    from ntkrs._typing import Array, ArrayLike

#: The names of kernels.
_NAMES = ("nngp", "ntk")

#: The number of points whose prior variances are read off a kernel at a time, if it has no method ``diag``.
_ROWS = 256


class Points(Protocol):
    """The points of a call.

    Attributes
    ----------
    count : int
        M.
    dtype : dtype
        The dtype of the inputs, or of the matrices.
    eps : float
        ε of the kernels, the largest if they differ.
    """

    count: int
    dtype: np.dtype[Any]
    eps: float

    @property
    def x(self) -> Array | None:
        """The inputs, (M, n_0) or (M, H, W, C), if they are known."""

    def cross(self, name: str) -> NDArray[np.float64]:
        """Return the kernel between these points and the training points, (M, N)."""

    def prior(self, name: str, *, diagonal: bool) -> NDArray[np.float64]:
        """Return the kernel between these points, (M, M), or its diagonal."""


class Source(Protocol):
    """Kernels of the training points, and of the points of a call.

    Attributes
    ----------
    dtype : dtype
        The dtype of the inputs, or of the matrices.
    eps : float
        ε of the kernels, the largest if they differ.
    label : str
        What the kernel matrices are called in messages, with the place of a name.
    """

    dtype: np.dtype[Any]
    eps: float
    label: str

    @property
    def x(self) -> Array | None:
        """The training inputs, (N, n_0) or (N, H, W, C), if they are known."""

    def train(self, *names: str) -> Array:
        """Return the kernel ``names[-1]`` between the training points. All names are computed in one pass."""

    def points(self, names: tuple[str, ...], x_test: ArrayLike | None, matrices: tuple[Any, Any]) -> Points:
        """Return the points of a call, whose kernels of these names will be needed."""


class TrainingPoints:
    """The training points, as the points of a call."""

    def __init__(self, source: Source, count: int) -> None:
        self._source = source
        self.count = count
        self.x = source.x
        self.dtype = source.dtype
        self.eps = source.eps

    def cross(self, name: str) -> NDArray[np.float64]:
        """Return the training kernel."""
        return self._source.train(name).astype(np.float64, copy=False)

    def prior(self, name: str, *, diagonal: bool) -> NDArray[np.float64]:
        """Return the training kernel, or its diagonal."""
        kernel = self._source.train(name)
        return (kernel.diagonal() if diagonal else kernel).astype(np.float64)


class Function:
    """A kernel function, with training inputs."""

    label = "the {} of x_train"

    def __init__(self, kernel: KernelFunction, x_train: ArrayLike, count: int) -> None:
        self._kernel = kernels.kernel_function(kernel)
        x = images.inputs(x_train, "x_train", self._kernel)
        if len(x) != count:
            raise ValueError(f"x_train has shape {x.shape}, but y_train has {count} rows: N must be the same")
        #: The training inputs as the kernel takes them.
        if isinstance(kernel, PreparingKernel):
            self._train: Any = kernel.prepare(x, progress=False)
            self.x: Array = self._train.array
        else:
            self._train = self.x = x.copy()
        self.dtype: np.dtype[Any] = self.x.dtype
        self.eps = float(np.finfo(self.dtype).eps)
        self._once = Once()

    def __repr__(self) -> str:
        return f"x_train of shape {self.x.shape}"

    def train(self, *names: str) -> Array:
        """Return the kernel ``names[-1]`` between the training inputs. All names are computed in one pass."""
        with self._once.lock:
            missing = tuple(name for name in dict.fromkeys(names) if name not in self._once.values)
            if missing:
                found = zip(missing, self._kernel(self._train, get=missing), strict=True)
                self._once.values.update({name: _finite(one, name, "x_train") for name, one in found})
            kernel: Array = self._once.values[names[-1]]
            return kernel

    def points(self, names: tuple[str, ...], x_test: ArrayLike | None, matrices: tuple[Any, Any]) -> Points:
        """Return the test inputs, by default the training inputs.

        Raises
        ------
        TypeError, ValueError
            If they are not finite real numbers, or have another size than the training inputs.
        """
        for given, name in zip(matrices, ("k_test_train", "k_test_test"), strict=True):
            if given is not None:
                raise TypeError(f"{name} is given, but the kernel is a function of inputs: pass x_test")
        if x_test is None:
            return TrainingPoints(self, len(self.x))
        x = images.inputs(x_test, "x_test", self._kernel)
        if x.shape[1:] != self.x.shape[1:]:
            same = "n_0" if self.x.ndim == 2 else "height, width and channels"
            raise ValueError(
                f"x_test has shape {x.shape}, but x_train has shape {self.x.shape}: {same} must be the same"
            )
        wider = np.result_type(x, self.x) != self.dtype  # than that for which the training inputs are prepared
        found = zip(names, self._kernel(x, self.x if wider else self._train, get=names), strict=True)
        return _TestInputs(
            self._kernel, x, self.eps, {name: _finite(one, name, "x_test and x_train") for name, one in found}
        )


class _TestInputs:
    """Test inputs, with the kernels between them and the training inputs."""

    def __init__(self, kernel: KernelFunction, x: Array, eps: float, cross: dict[str, Array]) -> None:
        self._kernel = kernel
        self.eps = eps
        self._cross = cross
        self.count = len(x)
        self.x = x
        self.dtype = x.dtype

    def cross(self, name: str) -> NDArray[np.float64]:
        """Return the kernel between test and training inputs."""
        return self._cross[name].astype(np.float64, copy=False)

    def prior(self, name: str, *, diagonal: bool) -> NDArray[np.float64]:
        """Return the kernel between the test inputs, or its diagonal alone."""
        if not diagonal:
            found = self._kernel(self.x, get=name)
        elif hasattr(self._kernel, "diag"):
            found = self._kernel.diag(self.x, get=name)
        else:
            starts = range(0, len(self.x), _ROWS)
            parts = [np.diagonal(self._kernel(self.x[i : i + _ROWS], get=name)) for i in starts]
            found = np.concatenate([np.empty(0, self.dtype), *parts])
        return np.asarray(_finite(found, name, "x_test"), dtype=np.float64)


class Matrices:
    """Kernel matrices of the training points: one array, the NTK, or a named tuple or mapping with nngp and ntk."""

    label = "the {} of k_train_train"
    x: Array | None = None

    def __init__(self, k_train_train: Any, count: int) -> None:
        given = by_name(k_train_train, "k_train_train")
        self.bare = not _is_collection(k_train_train)
        self._train: dict[str, Array] = {}
        for name, kernel in given.items():
            if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
                raise ValueError(
                    f"k_train_train has shape {kernel.shape}, but (N, N) is needed. For an empirical NTK pass "
                    "net.ntk(X, outputs='mean'), or net.ntk(X, outputs=m) for output m. For a joint posterior of all O "
                    "outputs pass K.transpose(0, 2, 1, 3).reshape(N * O, N * O) and y.reshape(N * O), and test kernels "
                    "likewise."
                )
            if len(kernel) != count:
                raise ValueError(
                    f"k_train_train has shape {kernel.shape}, but y_train has {count} rows: N must be the same"
                )
            eps = float(np.finfo(kernel.dtype).eps)
            self._train[name] = kernels.symmetric(kernel.copy(), 0, eps)
        self._count = count
        self.dtype = np.result_type(*self._train.values())
        self.eps = _coarsest(self._train)

    def __repr__(self) -> str:
        return f"k_train_train of shape {(self._count, self._count)}"

    def train(self, *names: str) -> Array:
        """Return the kernel ``names[-1]`` between the training points."""
        return _required(self._train, names[-1], "k_train_train")

    def points(
        self,
        names: tuple[str, ...],  # noqa: ARG002
        x_test: ArrayLike | None,
        matrices: tuple[Any, Any],
    ) -> Points:
        """Return the points of the given kernels, by default the training points."""
        cross, prior = matrices
        if x_test is not None:
            raise TypeError(
                "x_test is given, but the kernel is a matrix: pass k_test_train=, and k_test_test= for the covariance"
            )
        if cross is None:
            if prior is not None:
                raise TypeError("k_test_test is given without k_test_train, the kernel of test and training points")
            return TrainingPoints(self, self._count)
        found = by_name(cross, "k_test_train")
        for kernel in found.values():
            kernels.test_kernel_shape(kernel.shape, self._count, None)
        count = len(next(iter(found.values())))
        return _TestMatrices(found, None if prior is None else by_name(prior, "k_test_test"), count)


class _TestMatrices:
    """Kernel matrices of test points."""

    x: Array | None = None

    def __init__(self, cross: dict[str, Array], prior: dict[str, Array] | None, count: int) -> None:
        self._cross = cross
        self._prior = prior
        self.count = count
        self.dtype: np.dtype[Any] = np.result_type(*cross.values())
        self.eps = max(_coarsest(cross), _coarsest(prior or {}))

    def cross(self, name: str) -> NDArray[np.float64]:
        """Return the kernel between test and training points."""
        return _required(self._cross, name, "k_test_train").astype(np.float64, copy=False)

    def prior(self, name: str, *, diagonal: bool) -> NDArray[np.float64]:
        """Return the kernel between the test points, or its diagonal, which may be given alone."""
        if self._prior is None:
            raise TypeError(
                "k_test_test is not given, but the covariance needs the kernel between the test points. "
                "Pass it, or compute_cov=False."
            )
        kernel = _required(self._prior, name, "k_test_test")
        allowed = [(self.count, self.count), (self.count,)] if diagonal else [(self.count, self.count)]
        if kernel.shape not in allowed:
            expected = " or ".join(map(str, allowed))
            raise ValueError(f"k_test_test has shape {kernel.shape}, but {expected} is needed to match k_test_train")
        if diagonal:
            return (kernel if kernel.ndim == 1 else kernel.diagonal()).astype(np.float64)
        eps = float(np.finfo(kernel.dtype).eps)
        return kernels.symmetric(kernel, 0, eps, "k_test_test").astype(np.float64, copy=False)


def by_name(values: Any, name: str) -> dict[str, Array]:
    """Return kernel matrices by name. One array is the NTK.

    Raises
    ------
    TypeError, ValueError
        If they are not finite real numbers, or names are missing or unknown, or shapes differ.
    """
    if not _is_collection(values):
        return {"ntk": kernels.kernel_entries(values, name)}
    fields = values if isinstance(values, Mapping) else {one: getattr(values, one, None) for one in _NAMES}
    unknown = [one for one in fields if one not in _NAMES]
    if unknown:
        raise ValueError(f"{name} has a kernel named {unknown[0]!r}, but 'nngp' and 'ntk' are the names")
    found = {one: kernels.kernel_entries(kernel, name) for one, kernel in fields.items() if kernel is not None}
    if not found:
        raise ValueError(f"{name} holds no kernel, but nngp, ntk or both are needed")
    if len({kernel.shape for kernel in found.values()}) > 1:
        raise ValueError(
            f"{name} has kernels of shapes {[kernel.shape for kernel in found.values()]}, which must agree"
        )
    return found


def _coarsest(found: dict[str, Array]) -> float:
    """Return the largest ε of the dtypes of kernels, 0 without any."""
    return max((float(np.finfo(kernel.dtype).eps) for kernel in found.values()), default=0.0)


def _is_collection(values: Any) -> bool:
    """Return True for a mapping, or a named tuple such as ``kernel(X, get=("nngp", "ntk"))`` returns."""
    return isinstance(values, Mapping) or any(hasattr(values, name) for name in _NAMES)


def _required(found: dict[str, Array], name: str, argument: str) -> Array:
    """Return a kernel that the prediction needs."""
    if name not in found:
        raise ValueError(
            f"{argument} holds the {' and '.join(found)} only, but this prediction needs the {name}. Pass both: "
            "kernel(X, get=('nngp', 'ntk')), or dict(nngp=..., ntk=...)."
        )
    return found[name]


def _finite(kernel: Array, name: str, inputs: str) -> Array:
    """Return the kernel if it is finite. The kernel of inputs beyond 1e154 overflows.

    Raises
    ------
    ValueError
        If an entry is not finite.
    """
    if not np.isfinite(kernel).all():
        raise ValueError(f"the {name} of {inputs} is not finite. Scale the inputs down.")
    return kernel
