"""The kernels of layers given one by one: by activations and gradients, or by per-sample gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ntkrs._checks import numbers, records
from ntkrs._checks.advice import options_by_name, shown
from ntkrs._runtime.progress import reporter
from ntkrs.empirical._kernel_sum import KernelSum, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ntkrs._checks.records import Record
    from ntkrs._typing import Array, ArrayLike, Outputs, Progress

#: The end of an iterable.
_END = object()


@options_by_name
def empirical_ntk(
    pairs: Iterable[Any],
    others: Iterable[Any] | None = None,
    *,
    outputs: Outputs = "full",
    bias: bool = True,
    weights: Sequence[float] | None = None,
    per_layer: bool = False,
    form: Literal["tokens", "gradients"] | None = None,
    out: NDArray[Any] | None = None,
    progress: Progress = None,
) -> Array:
    """Return the empirical NTK of any network made of matrices, from activations and gradients.

    ::

        K_ij = Σ_l w_l Σ_st (⟨a^l_is, a^l_jt⟩ + 1) ⟨g^l_is, g^l_jt⟩
             = Σ_l w_l (⟨Σ_s g^l_is a^l_isᵀ, Σ_t g^l_jt a^l_jtᵀ⟩ + ⟨Σ_s g^l_is, Σ_t g^l_jt⟩)

    for maps ``h_s = W a_s + b`` and ``g_s = ∂f/∂h_s``, applied at T tokens s of a sample: words, pixels, time steps.
    The term 1, and the last inner product, are those of the biases.

    Parameters
    ----------
    pairs : iterable of (A, G)
        One pair for each map: A (N[, T], n) and G (N[, T], m[, O]), where O is the number of outputs. G has the axis T
        if and only if A has it. An item can also be a :class:`~ntkrs.empirical.Linear`, which says whether it has
        biases, a :class:`~ntkrs.empirical.Lookup` for an embedding, or a :class:`~ntkrs.empirical.Block` for any other
        parameters. A generator is read one layer at a time. Memory-mapped arrays and tensors on the CPU are read too.
    others : iterable of (A, G), optional
        The same layers on M other samples; by default ``pairs``, at half the cost.
    outputs : str or int
        As for :meth:`ntkrs.Network.ntk`, with the same shapes. Without an axis O, the result is (N, M).
    bias : bool
        True if the maps have biases that are trained.
    weights : sequence of float, optional
        w_l >= 0, the learning rate of each layer; by default 1.
    per_layer : bool
        If True, return the term of each layer instead, with a leading axis. ``pairs`` must have a length then.
    form : "tokens" or "gradients", optional
        The first or the second of the sums above. By default the one with fewer multiply-adds, for each layer:
        T² (n + m) against n·m. They differ in rounding errors only.
    out : ndarray, optional
        Array to write the result to, of its shape, float64 or float32. If the call fails, its values are undefined.
    progress : callable or bool, optional
        As for :meth:`ntkrs.Network.ntk`.

    Returns
    -------
    ndarray
        float32 if all arrays are float32, otherwise float64. Sums over layers are float64.

    Raises
    ------
    ValueError, TypeError
        If an array holds NaN or an infinity, or arrays do not belong together. The message names the pair. If an option
        is invalid.
    MemoryError
        If the result does not fit in memory.

    Notes
    -----
    N·M min(T² (n + m), n·m) multiply-adds a layer, half of them without ``others``, and T·n·m for each sample in the
    second form. An embedding takes m for each index that two samples share. For ``outputs="full"`` N and M count
    outputs of samples, and for ``"trace"`` and ``"mean"`` m counts outputs too.

    Memory: the float64 sums, a copy of one layer (of an embedding also one in float64), and about 1024 columns of
    per-sample gradients. There is never an array of N rows and as many columns as parameters. The bits do not depend on
    the number of threads.

    References
    ----------
    Novak, Sohl-Dickstein, Schoenholz (2022).

    Examples
    --------
    A network with one hidden layer, ``f = v·tanh(W x + b) + c``:

    >>> import numpy as np, ntkrs
    >>> X, W, v = np.eye(3), np.ones((4, 3)), np.ones((1, 4))
    >>> hidden = np.tanh(X @ W.T)
    >>> last = np.ones((3, 1))  # ∂f/∂f
    >>> K = ntkrs.empirical_ntk([(X, last @ v * (1 - hidden**2)), (hidden, last)])
    >>> net = ntkrs.Network.from_standard(
    ...     ntkrs.mlp(1, 4, 1, "tanh", sigma_b=1.0), [W.T, v.T], [np.zeros(4), np.zeros(1)]
    ... )
    >>> np.allclose(K, net.ntk(X, outputs=0))
    True
    """
    has_bias = numbers.boolean(bias, "bias")

    def read(item: Any, name: str) -> Record:
        return records.layer(item, name, bias=has_bias)

    if form is not None:
        numbers.choice(form, "form", ("tokens", "gradients"))
    length = _length(pairs, "pairs")
    count = _layers(length, "pairs") if numbers.boolean(per_layer, "per_layer") else None
    options = Options(outputs, count, form, out, reporter(progress))
    layers = _layers_of(pairs, others, read)
    return _summed(layers, ("pairs", length), _factors(weights, length), options)


@options_by_name
def jacobian_ntk(
    blocks: Iterable[Any],
    *,
    outputs: Outputs = "full",
    weights: Sequence[float] | None = None,
    out: NDArray[Any] | None = None,
    progress: Progress = None,
) -> Array:
    """Return the empirical NTK from per-sample gradients, block of parameters by block.

    ::

        K_ij = Σ_b w_b ⟨∂f(x_i)/∂θ_b, ∂f(x_j)/∂θ_b⟩

    Parameters
    ----------
    blocks : iterable of array_like or of pairs of them
        J (N, p) of any p parameters, or (N, p, O) of O outputs. A pair (J, J'), (N, p[, O]) and (M, p[, O]), gives the
        kernel between two batches. A generator is read one block at a time.
    outputs, weights, out, progress
        As for :func:`empirical_ntk`.

    Returns
    -------
    ndarray
        As for :func:`empirical_ntk`.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As for :func:`empirical_ntk`.

    Notes
    -----
    N·M·P multiply-adds, half of them without second batches. Memory: the float64 sums, and a copy of one block.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> J = np.arange(6.0).reshape(2, 3)
    >>> bool(np.all(ntkrs.jacobian_ntk([J[:, :1], J[:, 1:]]) == J @ J.T))
    True
    """
    length = _length(blocks, "blocks")
    options = Options(outputs, None, None, out, reporter(progress))
    return _summed(_blocks_of(blocks), ("blocks", length), _factors(weights, length), options)


def _summed(
    layers: Iterator[tuple[Record, Record | None]],
    source: tuple[str, int | None],
    factors: list[float] | None,
    options: Options,
) -> Array:
    """Return the sum of the kernels of all layers. ``source`` is the name of the argument and its length, if known."""
    (argument, length), total, done = source, None, 0
    for index, (x, z) in enumerate(layers):
        if total is None:
            total = KernelSum(x, z, options)
        if factors is not None and index >= len(factors):
            raise ValueError(f"weights has {len(factors)} entries, but {argument} has more layers")
        done = index + 1
        # Without a length there is always a layer to come.
        total.add(x, z, 1.0 if factors is None else factors[index], (index, done + 1 if length is None else length))
    if total is None:
        raise ValueError(f"{argument} is empty, but at least one layer is needed")
    if factors is not None and done < len(factors):
        raise ValueError(f"weights has {len(factors)} entries, but {argument} has {done} layers")
    if length is None and options.report is not None:
        options.report(done, done)
    return total.result()


def _layers_of(
    pairs: Iterable[Any], others: Iterable[Any] | None, read: Callable[[Any, str], Record]
) -> Iterator[tuple[Record, Record | None]]:
    """Yield the layers of two batches together."""
    if others is None:
        for index, item in enumerate(pairs):
            yield read(item, f"pairs[{index}]"), None
        return
    second = iter(others)
    count = 0
    for count, item in enumerate(pairs, 1):
        other = next(second, _END)
        if other is _END:
            raise ValueError(f"others has {count - 1} layers, but pairs has more: both are the same layers")
        yield read(item, f"pairs[{count - 1}]"), read(other, f"others[{count - 1}]")
    if next(second, _END) is not _END:
        raise ValueError(f"pairs has {count} layers, but others has more: both are the same layers")


def _blocks_of(blocks: Iterable[ArrayLike]) -> Iterator[tuple[Record, Record | None]]:
    """Yield the blocks of one batch, or of two."""
    paired = None
    for index, item in enumerate(blocks):
        name = f"blocks[{index}]"
        is_pair = isinstance(item, tuple) and len(item) == 2
        if paired is not None and is_pair != paired:
            raise ValueError(f"{name} is {'' if is_pair else 'not '}a pair, unlike those before it")
        paired = is_pair
        first, second = item if is_pair else (item, None)
        other = records.block(second, f"{name}[1]") if is_pair else None
        yield records.block(first, f"{name}[0]" if is_pair else name), other


def _length(layers: Any, argument: str) -> int | None:
    """Return the number of layers, or None for a generator."""
    if not hasattr(layers, "__iter__"):
        raise TypeError(f"{argument} is {shown(layers)}, but an iterable of layers is needed")
    return len(layers) if hasattr(layers, "__len__") else None


def _layers(length: int | None, argument: str) -> int:
    """Return the number of layers of a result with one kernel for each."""
    if length is None:
        raise TypeError(f"{argument} has no length, but per_layer=True needs one. Pass list({argument}).")
    return length


def _factors(weights: Any, length: int | None) -> list[float] | None:
    """Return the learning rates of the layers."""
    if weights is None:
        return None
    if isinstance(weights, str) or not hasattr(weights, "__iter__"):
        raise TypeError(f"weights is {shown(weights)}, but a sequence of numbers is needed, one for each layer")
    factors = [numbers.nonnegative(weight, f"weights[{index}]") for index, weight in enumerate(weights)]
    if length is not None and len(factors) != length:
        raise ValueError(f"weights has {len(factors)} entries, but there are {length} layers")
    return factors
