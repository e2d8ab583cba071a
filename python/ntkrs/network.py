"""Finite networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs import _arrays, _core, _memory, _numbers, _training, _vector_products
from ntkrs._progress import reporter
from ntkrs.layers import check_architecture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from ntkrs._typing import Array, ArrayLike, Outputs, Progress
    from ntkrs.layers import Dense, Sequential

_OUTPUTS = ("full", "trace", "mean", "diagonal", "sum")

#: How many samples go forward at once: the activations of all their layers are kept meanwhile.
_FORWARD_ROWS = 4096

#: How many parameters are drawn at once: an interrupt is heard between two draws.
_DRAWS = 2**20


class Network:
    """A finite multilayer perceptron with its parameters θ, in the NTK parameterization.

    ::

        h^{l+1} = sigma_w/√n_l · x^l W^l + sigma_b b^l,    x^{l+1} = φ(h^{l+1}),    f(x) = h^L

    Its parameters do not change: :meth:`with_parameters` returns another network. All that it returns has the dtype
    of its parameters, and inputs are converted to it.

    Parameters
    ----------
    arch : Sequential
        The architecture.
    weights : sequence of (n_l, n_{l+1}) array_like
        One per dense layer. All float32: a float32 network, else a float64 one.
    biases : sequence of (n_{l+1},) array_like or None
        One per dense layer; None exactly where ``sigma_b`` is 0. By default all None.

    Attributes
    ----------
    arch : Sequential
        The architecture.
    weights, biases : tuple of ndarray
        Read-only views of :attr:`parameters`.

    Raises
    ------
    ValueError
        If there are too many or too few arrays, one has a shape that the architecture does not give it, or holds
        NaN or an infinity.
    TypeError
        If one is not made of real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Dense, Network, Relu, Sequential
    >>> net = Network(Sequential(Dense(2), Relu(), Dense(1)), [np.eye(2), np.ones((2, 1))])
    >>> bool(np.isclose(net([[3.0, -1.0]])[0, 0], 3 / 2))  # (3 + 0)/(√2 √2)
    True
    """

    def __init__(
        self,
        arch: Sequential,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> None:
        check_architecture(arch)
        weights = _arrays.sequence(weights, "weights")
        biases = [None] * len(weights) if biases is None else _arrays.sequence(biases, "biases")
        count = len(arch.dense)
        if not len(weights) == len(biases) == count:
            raise ValueError(
                f"{len(weights)} weights and {len(biases)} biases were given, but {arch!r} has {count} dense layers"
            )
        arrays: list[Array] = []
        inputs = None
        for index, (dense, weight, bias) in enumerate(zip(arch.dense, weights, biases, strict=True)):
            arrays.extend(_layer_arrays(index, dense, inputs, weight, bias))
            inputs = dense.width
        theta = np.concatenate([array.ravel() for array in _arrays.same_dtype(*arrays)])
        self._set(arch, arrays[0].shape[0], cast("Array", theta))

    def _set(self, arch: Sequential, in_features: int, theta: Array) -> None:
        """Fill the fields from θ: weights and biases are views of it."""
        theta.flags.writeable = False
        weights, biases = zip(*_views(arch, in_features, theta), strict=True)
        self.arch: Sequential = arch
        self.weights: tuple[Array, ...] = weights
        self.biases: tuple[Array | None, ...] = biases
        self._theta = theta
        self._core = self._scaled(1.0)

    def _scaled(self, alpha: float) -> _core.Network:
        """Return the core's network of α f: α scales the last layer."""
        scales = [
            (dense.sigma_w / weight.shape[0] ** 0.5, dense.sigma_b)
            for dense, weight in zip(self.arch.dense, self.weights, strict=True)
        ]
        weight_scale, bias_scale = scales[-1]
        scales[-1] = (alpha * weight_scale, alpha * bias_scale)
        activations = [activation.spec() for activation in self.arch.activations]
        return _core.Network((self.weights, self.biases), scales, activations)

    @classmethod
    def _of(cls, arch: Sequential, in_features: int, theta: Array) -> Network:
        network = object.__new__(cls)
        network._set(arch, in_features, theta)
        return network

    @classmethod
    def random(
        cls,
        arch: Sequential,
        in_features: int,
        rng: int | Sequence[int] | np.random.Generator = 0,
        dtype: DTypeLike = np.float64,
    ) -> Network:
        """Return a network with every parameter drawn from N(0, 1): see :meth:`Sequential.init`."""
        inputs = _numbers.integer(in_features, "in_features")
        if inputs < 1:
            raise ValueError(f"in_features is {inputs}, but at least 1 is needed")
        count = sum(size for size, _ in _sizes(arch, inputs))
        return cls._of(arch, inputs, _standard_normal(count, np.random.default_rng(rng), np.dtype(dtype)))

    def __repr__(self) -> str:
        return f"Network({self.arch!r}, in_features={self.in_features}, dtype={self.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.arch, self.in_features, self._theta)

    @property
    def in_features(self) -> int:
        """n_0, the number of input features."""
        return int(self.weights[0].shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters and of all results."""
        return self._theta.dtype

    @property
    def parameters(self) -> Array:
        """θ, (P,), read-only: W^0 row-major, b^0, W^1, b^1, ...; no b where ``sigma_b`` is 0."""
        return self._theta

    def with_parameters(self, theta: ArrayLike) -> Network:
        """Return the network with other parameters.

        Parameters
        ----------
        theta : (P,) array_like
            In the layout of :attr:`parameters`. float32 gives a float32 network, all else a float64 one.

        Raises
        ------
        ValueError
            If it has another shape, or holds NaN or an infinity.
        """
        values = _arrays.floating(theta, "theta")
        if values.shape != self._theta.shape:
            raise ValueError(f"theta has shape {values.shape}, but this network has {self._theta.shape} parameters")
        return Network._of(self.arch, self.in_features, _arrays.finite(values, "theta").copy())

    jvp = _vector_products.jvp
    vjp = _vector_products.vjp
    operator = _vector_products.operator
    linearize = _vector_products.linearize
    train = _training.train

    def __call__(self, X: ArrayLike) -> Array:
        """Return f(x) of every row of X.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O) ndarray

        Raises
        ------
        ValueError, TypeError
            If X has another number of features, holds NaN or an infinity, or is not made of real numbers.

        Notes
        -----
        N Σ_l n_l n_{l+1} multiply-adds. Activations are held for 4096 samples at a time.
        """
        x = self._batch(X, "X")
        out = _arrays.output(None, (len(x), self.arch.outputs), self.dtype, [], "the network's output")
        if len(x) > _FORWARD_ROWS:
            x = _arrays.finite(x.copy(), "X")  # the inputs at entry; the core takes each chunk's in its turn
        for start in range(0, max(len(x), 1), _FORWARD_ROWS):
            rows = slice(start, start + _FORWARD_ROWS)
            self._core.forward((x[rows], out[rows]))
        return out

    def jacobian(self, X: ArrayLike) -> Array:
        """Return ∂f_m(x_i)/∂θ, analytically.

        ::

            ∂f_m/∂W^l_ij = sigma_w/√n_l · x^l_i δ^{l+1}_{m,j}        ∂f_m/∂b^l_j = sigma_b δ^{l+1}_{m,j}

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O, P) ndarray
            The last axis is laid out as :attr:`parameters`.

        Raises
        ------
        ValueError, TypeError
            As :meth:`__call__`.
        MemoryError
            If the result does not fit, before any work.

        Notes
        -----
        N·O·P numbers are written; :meth:`ntk` needs none of them.
        """
        x = self._batch(X, "X")
        shape = (len(x), self.arch.outputs, self._theta.size)
        out = _arrays.output(None, shape, self.dtype, [], "the Jacobian")
        self._core.jacobian((x, out))
        return out

    def ntk(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        outputs: Outputs = "full",
        per_layer: bool = False,
        out: NDArray[Any] | None = None,
        progress: Progress = None,
    ) -> Array:
        """Return the empirical NTK Θ(x, x') = ⟨∂f(x)/∂θ, ∂f(x')/∂θ⟩, without a Jacobian.

        ::

            Θ_mn(x, x') = Σ_l (sigma_w²/n_l ⟨x^l, x'^l⟩ + sigma_b²) ⟨δ^{l+1}_m, δ'^{l+1}_n⟩

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        outputs : str or int
            ``"full"``: (N, M, O, O); ``"trace"``: Σ_m Θ_mm, (N, M); ``"mean"``: the trace over O, (N, M);
            ``"diagonal"``: Θ_mm, (N, M, O); ``"sum"``: Σ_mn Θ_mn/O, the pseudo-NTK, (N, M); an integer m: Θ_mm, (N, M).
        per_layer : bool
            Whether to return the summands of the formula instead, with a leading axis of length L.
        out : ndarray, optional
            Where to write the result, of its shape and dtype, with any strides.
        progress : callable or bool, optional
            A callable is called as ``progress(done, total)`` about every 50 ms; what it raises ends the call. True
            shows a bar of tqdm, False none; by default a terminal sees one when the call takes longer than 2 s.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As :meth:`jacobian`, and for ``outputs`` or ``out`` that do not fit.

        Notes
        -----
        Two Gram matrices per layer: Σ_l N·M (n_l + S² n_{l+1}) multiply-adds with S² = O² for ``"full"``, O for
        ``"trace"``, ``"mean"`` and ``"diagonal"``, else 1; half of them without Z.

        References
        ----------
        Jacot, Gabriel, Hongler (2018); Novak, Sohl-Dickstein, Schoenholz (2022).
        """
        selection, report = self._selection(outputs), reporter(progress)
        per_layer = _numbers.boolean(per_layer, "per_layer")
        x = self._batch(X, "X")
        z = None if Z is None else self._batch(Z, "Z")
        pairs = (len(x), len(x if z is None else z))
        count = self.arch.outputs
        shape = pairs + {"full": (count, count), "diagonal": (count,)}.get(str(selection), ())
        shape = (len(self.weights), *shape) if per_layer else shape
        inputs = [array for array in (x, z) if array is not None]
        result = _arrays.output(out, shape, self.dtype, inputs, "the kernel")
        layers = result if per_layer else result[None]
        planes = [plane for layer in layers for plane in _planes(layer, selection) if plane.size]
        with _arrays.apart(x, z, planes) as arrays:
            self._core.ntk(arrays, selection, per_layer, report)
        return result

    def _batch(self, values: ArrayLike, name: str) -> Array:
        return _arrays.converted(_arrays.batch(values, name), self.dtype, name)

    def _selection(self, outputs: Outputs) -> str | int:
        if isinstance(outputs, str):
            if outputs not in _OUTPUTS:
                known = ", ".join(map(repr, _OUTPUTS))
                raise ValueError(f"outputs is {outputs!r}, but must be one of {known}, or an integer")
            return outputs
        index = _numbers.integer(outputs, "outputs")
        if not 0 <= index < self.arch.outputs:
            raise ValueError(f"outputs is {index}, but this network has outputs 0 to {self.arch.outputs - 1}")
        return index


def _standard_normal(count: int, rng: np.random.Generator, dtype: np.dtype[Any]) -> Array:
    if dtype not in (np.float64, np.float32):
        raise TypeError(f"dtype is {dtype}, but must be float32 or float64")
    remedy = "Use narrower layers, or float32."
    _memory.require(count * dtype.itemsize, f"a network of {count} parameters of dtype {dtype}", remedy)
    theta = np.empty(count, dtype)
    for start in range(0, count, _DRAWS):
        rng.standard_normal(dtype=dtype, out=theta[start : start + _DRAWS])
    return cast("Array", theta)


def _restore(arch: Sequential, in_features: int, theta: Array) -> Network:
    return Network._of(arch, in_features, theta)  # noqa: SLF001 the class's own way back from a pickle


def _layer_arrays(
    index: int, dense: Dense, inputs: int | None, weight: ArrayLike, bias: ArrayLike | None
) -> Iterator[Array]:
    """Check the parameters of one dense layer; ``inputs`` is None for the first."""
    weights = _arrays.floating(weight, f"weights[{index}]")
    expected = ("n_0" if inputs is None else inputs, dense.width)
    if weights.ndim != 2 or weights.shape[1] != dense.width or inputs not in (None, weights.shape[0]):
        raise ValueError(
            f"weights[{index}] has shape {weights.shape}, but {dense!r} needs ({expected[0]}, {expected[1]}): "
            "inputs by outputs"
        )
    if weights.shape[0] == 0:
        raise ValueError(f"weights[{index}] has shape {weights.shape}, but a network has at least 1 input")
    yield _arrays.finite(weights, f"weights[{index}]")
    if (bias is None) != (dense.sigma_b == 0):
        needs = "no biases (sigma_b is 0): pass None" if dense.sigma_b == 0 else "biases: pass an array"
        raise ValueError(f"biases[{index}] is {'None' if bias is None else 'given'}, but {dense!r} has {needs}")
    if bias is not None:
        values = _arrays.floating(bias, f"biases[{index}]")
        if values.shape != (dense.width,):
            raise ValueError(f"biases[{index}] has shape {values.shape}, but {dense!r} needs ({dense.width},)")
        yield _arrays.finite(values, f"biases[{index}]")


def _sizes(arch: Sequential, in_features: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Sizes and shapes of W^0, b^0, W^1, ... as they lie in θ."""
    inputs = in_features
    for dense in arch.dense:
        yield inputs * dense.width, (inputs, dense.width)
        if dense.sigma_b > 0:
            yield dense.width, (dense.width,)
        inputs = dense.width


def _views(arch: Sequential, in_features: int, theta: Array) -> Iterator[tuple[Array, Array | None]]:
    """Yield the weights and biases of each layer, as views of θ."""
    start = 0
    blocks = []
    for size, shape in _sizes(arch, in_features):
        blocks.append(theta[start : start + size].reshape(shape))
        start += size
    remaining = iter(blocks)
    for dense in arch.dense:
        yield next(remaining), next(remaining) if dense.sigma_b > 0 else None


def _planes(layer: Array, selection: str | int) -> list[Array]:
    """Views of one layer's result, each of shape (N, S, M, S), as the core writes it."""
    if selection == "full":
        return [layer.transpose(0, 2, 1, 3)]
    if selection == "diagonal":
        return [layer[:, None, :, m][..., None] for m in range(layer.shape[2])]
    return [layer[:, None, :, None]]
