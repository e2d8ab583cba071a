"""Random features: rows of numbers whose inner products are a kernel, in the mean over draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs import _core
from ntkrs._architecture import check_dense, finite_specs, layer_inputs
from ntkrs._checks import arrays, memory, numbers
from ntkrs._checks.advice import shown
from ntkrs.activations import Identity
from ntkrs.features.blocks import operations
from ntkrs.features.sketch import TensorSketch
from ntkrs.kernel import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, KernelName
    from ntkrs.activations import Elementwise

    Rows = NDArray[np.float64]
    Scales = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Layer:
    """The random numbers of a hidden layer, and the scales of the dense layer after it.

    ``values`` (d, m₁) are the G of φ, ``slopes`` (d, m₀) those of φ', with the sketch of their products; None for the
    NNGP. ``sigma`` are (σ_w, σ_b), and ``tau`` the learning scales.
    """

    activation: Elementwise
    values: Rows
    slopes: Rows | None
    sketch: TensorSketch | None
    sigma: Scales
    tau: Scales


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    """Random features of a kernel, made by :func:`random`: ``F(x) · F(z) ≈ K(x, z)``.

    Attributes
    ----------
    in_features, n_features : int
        The lengths of a row of inputs and of its features.
    get : "ntk" or "nngp"
        The kernel that they approximate.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> kernel = ntkrs.mlp(depth=1, width=1, outputs=1, activation="erf").kernel()
    >>> ntkrs.features.random(kernel, in_features=3, n_features=64).transform(np.eye(3)).shape
    (3, 64)
    """

    in_features: int
    n_features: int
    get: str
    _first: tuple[Scales, Scales]
    _layers: tuple[_Layer, ...]

    def transform(self, Z: ArrayLike) -> Array:
        """Return the features of each row of Z.

        Parameters
        ----------
        Z : (M, n_0) array_like
            Inputs. float32 inputs give float32 features; everything else is computed in float64.

        Returns
        -------
        (M, n_features) ndarray
            A row of it depends on the same row of Z alone, up to round-off.

        Raises
        ------
        TypeError, ValueError
            If Z is not a two-dimensional array of finite real numbers, or does not have ``in_features`` columns.
            ValueError if a feature exceeds the range of the dtype.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Examples
        --------
        >>> import numpy as np, ntkrs
        >>> kernel = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
        >>> F = ntkrs.features.random(kernel, in_features=3, n_features=4096, rng=0)
        >>> Phi, K = F.transform(np.eye(3)), kernel(np.eye(3))
        >>> bool(np.linalg.norm(Phi @ Phi.T - K) < 0.1 * np.linalg.norm(K))
        True
        """
        rows = arrays.finite(arrays.batch(Z, "Z"), "Z")
        if rows.shape[1] != self.in_features:
            raise ValueError(f"Z has {rows.shape[1]} features, but these features were drawn for {self.in_features}")
        products = max((layer.values.size for layer in self._layers), default=0)
        result = arrays.output(None, (len(rows), self.n_features), rows.dtype, [], "the feature matrix")
        for block in operations(len(rows), products):
            # The core's activations return infinities as NumPy's do, and they are reported below.
            with np.errstate(over="ignore", invalid="ignore"):
                features = self._of(rows[block].astype(np.float64))
                # A network without hidden layers whose layer is not trained has the tangent kernel 0.
                result[block] = features if features.shape[1] else 0.0
            bad = ~np.isfinite(result[block]).all(axis=1)
            if bad.any():
                row = block.start + int(bad.argmax())
                raise ValueError(f"the features of Z[{row}] exceed the range of {rows.dtype}. Scale Z down.")
        return result

    def _of(self, x: Rows) -> Rows:
        """Return the features of some rows."""
        (sigma, tau), x = self._first, x / math.sqrt(self.in_features)
        values, tangent = _scaled(x, sigma), _scaled(x, tau)
        for layer in self._layers:
            phi = _evaluate(layer.activation, values @ layer.values)[0]
            phi /= math.sqrt(phi.shape[1])
            own = _scaled(phi, layer.tau)
            if layer.sketch is None or layer.slopes is None:
                tangent = own
            else:
                slopes = _evaluate(layer.activation, values @ layer.slopes)[1]
                slopes *= layer.sigma[0] / math.sqrt(slopes.shape[1])
                tangent = np.hstack([own, layer.sketch(slopes, tangent)])
            values = _scaled(phi, layer.sigma)
        return values if self.get == "nngp" else tangent


def random(
    kernel: Kernel, *, in_features: int, n_features: int, get: KernelName = "ntk", rng: int | np.random.Generator = 0
) -> RandomFeatures:
    """Draw random features F of a kernel: ``F(x) · F(z) ≈ Θ(x, z)``, for dense layers with any activations.

    ::

        ψ ← [σ_w φ(ψ G)/√m₁, σ_b]      Ψ ← [τ_w φ(ψ G)/√m₁, τ_b] ⊕ S(σ_w φ'(ψ G')/√m₀ ⊗ Ψ)

    from ``ψ = [σ_w x/√n_0, σ_b]`` and ``Ψ = [τ_w x/√n_0, τ_b]``, with Gaussian G and G', and a TensorSketch S. Then
    ψ · ψ' ≈ Σ and Ψ · Ψ' ≈ Θ at every layer.

    The error falls like ``n_features^−1/2`` in the mean over draws, but the error of a single draw is not known. The
    error of :func:`nystrom` is known on the training inputs, and it is smaller for the same number of features. Where N
    allows the exact solution, :func:`ntkrs.solve` is better than both.

    Parameters
    ----------
    kernel : Kernel
        The kernel ``arch.kernel()`` of a network without Conv.
    in_features : int
        n_0, the number of inputs.
    n_features : int
        The length of the features, at least 3. Half of them sketch the products with Ψ.
    get : "ntk" or "nngp"
        The kernel to approximate.
    rng : int or numpy.random.Generator
        The seed, or a generator.

    Returns
    -------
    RandomFeatures
        ``.transform(Z)`` returns the features of the rows of Z.

    Raises
    ------
    TypeError, ValueError
        If ``kernel`` is not a :class:`ntkrs.Kernel`, or an argument is out of its domain.
    MemoryError
        If the random matrices do not fit in memory: n_features²/2 numbers for each hidden layer. Nothing is drawn then.

    Notes
    -----
    A transform takes n_features² operations for each row and hidden layer, in NumPy alone. On two inputs that are
    close, features keep the absolute accuracy of the kernel, and lose its relative one.

    References
    ----------
    Zandieh, Han, Avron, Shoham, Kim, Shin (2021), with Gaussian features in place of their sketches of arc-cosine
    kernels; Pham & Pagh (2013).

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> kernel = ntkrs.mlp(depth=2, width=1, outputs=1, activation="gelu", sigma_w=1.5, sigma_b=0.1).kernel()
    >>> X = np.random.default_rng(0).standard_normal((20, 5))
    >>> errors = []
    >>> for n_features in (256, 4096):
    ...     Phi = ntkrs.features.random(kernel, in_features=5, n_features=n_features).transform(X)
    ...     errors.append(np.linalg.norm(Phi @ Phi.T - kernel(X)))
    >>> bool(errors[1] < errors[0] / 2)  # 4 in the mean over draws
    True
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel is {shown(kernel)}, but a Kernel is needed, such as arch.kernel()")
    check_dense(kernel.arch, "features.random", "ntkrs.features.nystrom takes kernels of images too.")
    finite_specs(kernel.arch)  # random features need φ'
    inputs, size = numbers.count(in_features, "in_features"), numbers.count(n_features, "n_features")
    numbers.choice(get, "get", ("ntk", "nngp"))
    if size < 3:
        raise ValueError(f"n_features is {size}, but at least 3 are needed")
    shapes = _shapes(kernel, inputs, size, get)
    # scipy.sparse takes 12 bytes for each row of a sketch, and some for each of its results.
    count = sum(d * (m1 + m0) + 4 * (d + m0 + m_s) for d, m1, m0, m_s, _ in shapes)
    remedy = "Ask for fewer features, or use ntkrs.features.nystrom."
    with memory.required(8 * count, f"random features of length {size}", remedy):
        layers = _drawn(kernel, inputs, shapes, numbers.generator(rng))
    first = kernel.arch.dense[0]
    scales = first.scales, first.learning_scales(kernel.parameterization, inputs)
    if not kernel.arch.activations:  # the only dense layer comes after the projection
        scales = (1.0, 0.0), (1.0, 0.0)
    return RandomFeatures(inputs, size, get, scales, layers)


def _shapes(kernel: Kernel, inputs: int, size: int, get: str) -> list[tuple[int, int, int, int, int]]:
    """Return (d, m₁, m₀, m_s, d') of each hidden layer: G is (d, m₁), and a sketch takes (m₀, d') to m_s.

    A network without hidden layers has one random projection.
    """
    dense = kernel.arch.dense
    learning = [
        layer.learning_scales(kernel.parameterization, count)
        for layer, count in zip(dense, layer_inputs(kernel.arch, inputs), strict=True)
    ]
    if get == "nngp" or len(dense) == 1:
        bias = dense[-1].scales[1] if get == "nngp" else learning[-1][1]
        width = size - bool(bias)
        lengths = [inputs + bool(dense[0].scales[1]) if len(dense) > 1 else inputs]
        lengths += [width + bool(layer.scales[1]) for layer in dense[1:-1]]
        return [(length, width, 0, 0, 0) for length in lengths]
    width = size - size // 2 - bool(learning[-1][1])
    shapes, length, tangent = [], inputs + bool(dense[0].scales[1]), _width(inputs, learning[0])
    for number, layer in enumerate(dense[1:], start=1):
        own = _width(width, learning[number])
        sketched = size - own if number == len(dense) - 1 else size // 2
        shapes.append((length, width, sketched, sketched, tangent))
        length, tangent = width + bool(layer.scales[1]), own + sketched
    return shapes


def _drawn(
    kernel: Kernel, inputs: int, shapes: list[tuple[int, int, int, int, int]], rng: np.random.Generator
) -> tuple[_Layer, ...]:
    """Draw the random numbers of all hidden layers."""
    arch = kernel.arch
    counts = layer_inputs(arch, inputs)
    layers = []
    for number, (length, width, slopes, size, tangent) in enumerate(shapes):
        dense = arch.dense[min(number + 1, len(arch.dense) - 1)]
        values = rng.standard_normal((length, width))
        gates = rng.standard_normal((length, slopes)) if size else None
        sketch = TensorSketch.draw(slopes, tangent, size, rng) if size else None
        activation = arch.activations[number] if arch.activations else Identity()
        tau = dense.learning_scales(kernel.parameterization, counts[min(number + 1, len(counts) - 1)])
        layers.append(_Layer(activation, values, gates, sketch, dense.scales, tau))
    return tuple(layers)


def _width(inputs: int, scales: Scales) -> int:
    """Return the number of columns of :func:`_scaled`."""
    return inputs * bool(scales[0]) + bool(scales[1])


def _scaled(rows: Rows, scales: Scales) -> Rows:
    """Return ``[scales[0] · rows, scales[1]]``, without the columns whose scale is 0."""
    weights, bias = scales
    result = np.empty((len(rows), _width(rows.shape[1], scales)))
    if weights:
        np.multiply(rows, weights, out=result[:, : rows.shape[1]])
    if bias:
        result[:, -1] = bias
    return result


def _evaluate(activation: Elementwise, h: Rows) -> tuple[Rows, Rows]:
    """Return φ and φ' at all entries of h."""
    spec = cast("Any", activation.spec())
    found = spec(h.ravel()) if callable(spec) else _core.derivatives(spec, h.ravel())
    return found[0].reshape(h.shape), found[1].reshape(h.shape)
