"""Moments over random initialisations: of the empirical NTK, and of the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ntkrs import _core
from ntkrs._architecture import check_dense, check_scales, finite_specs, layer_inputs, layer_scales
from ntkrs._checks import arrays, memory, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, ArrayLike, Outputs, Progress


#: Advice for when an ensemble does not fit into memory.
_REMEDY = "Pass fewer rows of X, a smaller width, fewer seeds or fewer outputs, or use fewer threads (ntkrs.threads)."


class EnsembleNtk(NamedTuple):
    """The mean and sample variance (over S − 1) of each entry of a kernel, both of the shape of ``Network.ntk``."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def ensemble_ntk(
    arch: Architecture,
    X: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    width: int | None = None,
    seeds: int | Sequence[int] = 100,
    draws: Literal["parameters", "law"] = "parameters",
    outputs: Outputs = "full",
    progress: Progress = None,
) -> EnsembleNtk:
    """Return the mean and variance of the empirical NTK over random initialisations.

    ::

        mean = 1/S Σ_s Θ_s,    variance = 1/(S − 1) Σ_s (Θ_s − mean)²

    As the width n grows, the variance falls like 1/n, and the mean approaches ``arch.kernel()``.

    Parameters
    ----------
    arch : Sequential
        The architecture.
    X : (N, n_0) array_like
        Inputs.
    Z : (M, n_0) array_like, optional
        Other inputs; by default X.
    width : int, optional
        Number of units of every hidden layer; by default the widths of ``arch``.
    seeds : int or sequence of int
        The number of networks, S >= 2, which then have the seeds 0 to S − 1; or a sequence of S seeds. The network of
        seed s is ``arch.init(n_0, rng=s)``, bit for bit if no layer has ``tau_b``.
    draws : "parameters" or "law"
        "parameters" draws all parameters, as ``arch.init`` does. "law" draws N + M numbers instead of n_0 per unit of
        the first layer. The kernels then have the same distribution, but are not those of ``arch.init``.
    outputs : str or int
        As for :meth:`ntkrs.Network.ntk`.
    progress : callable or bool, optional
        As for :meth:`ntkrs.Network.ntk`, but counting networks.

    Returns
    -------
    EnsembleNtk
        A named tuple ``(mean, variance)`` of float64 arrays.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    MemoryError
        If the result does not fit into memory.

    Notes
    -----
    The kernels are not kept. Each thread works on one network at a time, and holds this network, a copy of the inputs,
    their activations and a few kernels.

    If n_0 is large, drawing numbers takes most of the time. The kernels depend on a first layer of normal weights W
    only through X W, which has the distribution of R W' for any R with R Rᵀ = X Xᵀ. With ``draws="law"`` the inputs are
    such an R, N × N, from a QR decomposition of Xᵀ. No other cost depends on n_0 then.

    References
    ----------
    Jacot, Gabriel, Hongler (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import ntkrs
    >>> arch, X = ntkrs.mlp(depth=1, width=4, outputs=1), np.eye(2)
    >>> moments = ntkrs.ensemble_ntk(arch, X, seeds=[0, 1])
    >>> kernels = [arch.init(in_features=2, rng=seed).ntk(X) for seed in (0, 1)]
    >>> bool(np.allclose(moments.mean, np.mean(kernels, axis=0)))
    True
    >>> bool(np.allclose(moments.variance, np.var(kernels, axis=0, ddof=1)))
    True
    """
    check_dense(arch, "ensemble_ntk")
    check_scales(arch, "an ensemble of random networks")
    arch = arch if width is None else arch.with_width(width)
    x = _float64(X, "X")
    z = None if Z is None else _float64(Z, "Z")
    if x.shape[1] < 1:
        raise ValueError("X has 0 features, but a network has at least 1 input")
    if z is not None and z.shape[1] != x.shape[1]:
        raise ValueError(f"Z has {z.shape[1]} features, but X has {x.shape[1]} (both must be n_0)")
    # The scales belong to the layers as they are, before _triangular makes the inputs narrower.
    scales = [dense.scales[0] / n**0.5 for dense, n in zip(arch.dense, layer_inputs(arch, x.shape[1]), strict=True)]
    if numbers.choice(draws, "draws", ("parameters", "law")) == "law":
        x, z = _triangular(x, z)
    selection, drawn = numbers.selection(outputs, arch.outputs), _seeds(seeds)
    report = reporter(progress)
    pairs, count = (len(x), len(x if z is None else z)), arch.outputs
    planes, block = count if selection == "diagonal" else 1, count if selection == "full" else 1
    shape = (planes, pairs[0], block, pairs[1], block)
    threads, sizes = _core.get_num_threads(), [*layer_inputs(arch, x.shape[1]), arch.outputs]
    parameters = sum((n + 1) * m for n, m in pairwise(sizes))
    # Each thread holds kernels, a network and its rows while they are drawn, inputs, activations and deltas.
    layers = sum(pairs) * (sizes[0] + (2 + block) * sum(sizes[1:]))
    count = (2 + 3 * threads) * math.prod(shape) + threads * (2 * parameters + layers)
    what = f"an ensemble of kernels {shape} of {len(drawn)} networks of {parameters} parameters, on {threads} threads,"
    memory.require(8 * (count + len(drawn)), what, _REMEDY)
    core = _core_network(arch)
    mean, variance = np.empty(math.prod(shape)), np.empty(math.prod(shape))
    _core.ensemble_ntk(core, (sizes, scales), (x, z), (mean, variance), shape, drawn, selection, report)
    return EnsembleNtk(*(_shaped(values.reshape(shape), selection) for values in (mean, variance)))


@dataclass(frozen=True, eq=False)
class EnsembleOutputs:
    """The outputs of S random networks on N inputs, as :func:`ntkrs.ensemble_outputs` returns them.

    Attributes
    ----------
    outputs : (S, N, O) ndarray
        The outputs of each network.
    mean, variance : (N, O) ndarray
        The mean over networks, and the sample variance (over S − 1).
    excess_kurtosis : (N, O) ndarray
        ``E (f − mean)⁴/variance² − 3``, which is 0 for a normal distribution; 0 where the variance is 0.
    levels : (Q,) ndarray
        The probabilities of the quantiles.
    quantiles : (Q, N, O) ndarray
        The quantiles over networks.

    Examples
    --------
    >>> from ntkrs import ensemble_outputs, mlp
    >>> found = ensemble_outputs(mlp(1, 64, 1, "relu"), [[1.0]], seeds=400)
    >>> bool(abs(found.variance[0, 0] - 0.5) < 0.15)  # Σ(x, x) = 1/2, and a sample of 400
    True
    """

    outputs: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    excess_kurtosis: NDArray[np.float64]
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]

    def plot(self, sample: int = 0, output: int = 0, ax: Any = None) -> Any:
        """Draw the distribution of one output over networks, beside the normal distribution of its mean and variance.

        Parameters
        ----------
        sample, output : int
            The row of X and the output.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError, TypeError
            If there is no such sample or output, or its variance is 0.
        ImportError
            If matplotlib is not installed.
        """
        from ntkrs import plot

        places = numbers.integer(sample, "sample"), numbers.integer(output, "output")
        for name, place, count in zip(("sample", "output"), places, self.mean.shape, strict=True):
            if not 0 <= place < count:
                raise ValueError(f"{name} is {place}, but must be from 0 to {count - 1}")
        if self.variance[places] == 0:
            raise ValueError(f"sample {sample} has an output of variance 0, which has no density")
        return plot.styled(_histogram)(self, places, ax)


def _histogram(found: EnsembleOutputs, place: tuple[int, int], ax: Any) -> Figure:
    """Draw a histogram and the normal density."""
    from ntkrs.plot import BLUE, VERMILION, panels

    if ax is None:
        _, ax = panels(4.6)
    values, mean, std = found.outputs[:, *place], found.mean[place], found.variance[place] ** 0.5
    bins = min(60, max(8, round(len(values) ** 0.5)))
    ax.hist(values, bins=bins, density=True, color=BLUE, alpha=0.5, label=f"{len(values)} networks")
    low, high = ax.get_xlim()
    x = np.linspace(low, high, 200)
    density = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * (2 * np.pi) ** 0.5)
    ax.plot(x, density, color=VERMILION, label="normal distribution")
    ax.set(xlabel="$f(x)$", ylabel="density")
    ax.legend()
    return ax.figure  # type: ignore[no-any-return]  # axes are Any


def ensemble_outputs(
    arch: Architecture,
    X: ArrayLike,
    *,
    width: int | None = None,
    seeds: int | Sequence[int] = 100,
    quantiles: Sequence[float] = (0.025, 0.25, 0.5, 0.75, 0.975),
    progress: Progress = None,
) -> EnsembleOutputs:
    """Return the outputs of random networks, with their moments and quantiles over initialisations.

    As the width n grows, each output tends to the normal distribution N(0, Σ(x, x)), the NNGP of ``arch.kernel()``. Its
    excess kurtosis falls like 1/n.

    Parameters
    ----------
    arch : Sequential
        The architecture.
    X : (N, n_0) array_like
        Inputs.
    width : int, optional
        Number of units of every hidden layer; by default the widths of ``arch``.
    seeds : int or sequence of int
        As for :func:`ensemble_ntk`: the network of seed s is ``arch.init(n_0, rng=s)``.
    quantiles : sequence of float
        Probabilities from 0 to 1.
    progress : callable or bool, optional
        As for :meth:`ntkrs.Network.ntk`, but counting networks.

    Returns
    -------
    EnsembleOutputs
        Its ``plot()`` draws the distribution of one output.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    MemoryError
        If the outputs do not fit into memory.

    Notes
    -----
    One network after another is drawn and run. 2 S N P flops, and the memory of S N O numbers.

    References
    ----------
    Neal (1996); Matthews et al. (2018); Yaida (2020) for the kurtosis.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> arch, X = ntkrs.mlp(depth=1, width=4, outputs=1), np.eye(2)
    >>> found = ntkrs.ensemble_outputs(arch, X, seeds=[0, 1, 2])
    >>> np.array_equal(found.outputs[1], arch.init(in_features=2, rng=1)(X))
    True
    """
    check_dense(arch, "ensemble_outputs")
    check_scales(arch, "an ensemble of random networks")
    arch = arch if width is None else arch.with_width(width)
    x, drawn, report = arrays.finite(_float64(X, "X"), "X"), _seeds(seeds), reporter(progress)
    if x.shape[1] < 1:
        raise ValueError("X has 0 features, but a network has at least 1 input")
    levels = np.atleast_1d(arrays.finite_float64(quantiles, "quantiles"))
    if levels.ndim != 1 or (levels < 0).any() or (levels > 1).any():
        raise ValueError(f"quantiles is {quantiles!r}, but a sequence of numbers from 0 to 1 is needed")
    shape = (len(drawn), len(x), arch.outputs)
    # The outputs, the copy that quantiles sort, and two temporaries of the moments.
    memory.require(
        32 * math.prod(shape), f"the outputs {shape} of {len(drawn)} networks", "Pass fewer seeds or rows of X."
    )
    outputs = np.empty(shape)
    for index, seed in enumerate(drawn):
        if report is not None:
            report(index, len(drawn))
        outputs[index] = Network.random(arch, x.shape[1], rng=seed)(x)
    if report is not None:
        report(len(drawn), len(drawn))
    return EnsembleOutputs(outputs, *_moments(outputs), levels, np.quantile(outputs, levels, axis=0))


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the mean, the sample variance and the excess kurtosis along the first axis."""
    mean = values.mean(axis=0)
    scale = np.abs(values - mean).max(axis=0)
    scaled = np.divide(values - mean, scale, out=np.zeros_like(values), where=scale > 0)  # squares do not overflow
    second, fourth = (scaled**2).mean(axis=0), (scaled**4).mean(axis=0)
    kurtosis = np.divide(fourth, second**2, out=np.full_like(second, 3.0), where=second > 0) - 3
    count = len(values)
    return mean, second * scale * scale * (count / (count - 1)), kurtosis


def _triangular(x: Array, z: Array | None) -> tuple[Array, Array | None]:
    """Return inputs with the same inner products, but with no more features than there are rows."""
    batches = [arrays.finite(x, "X")] if z is None else [arrays.finite(x, "X"), arrays.finite(z, "Z")]
    count, features = sum(map(len, batches)), x.shape[1]
    if features <= max(count, 1):
        return x, z
    if count == 0:
        return x[:, :1], None if z is None else z[:, :1]
    memory.require(16 * count * features, f"the QR decomposition of {count} samples of {features} features")
    rows: Any = np.concatenate(batches)
    triangle = np.ascontiguousarray(np.linalg.qr(rows.T).R.T)
    return triangle[: len(x)], None if z is None else triangle[len(x) :]


def _shaped(values: NDArray[np.float64], selection: str | int) -> NDArray[np.float64]:
    """Bring planes, (planes, N, S, M, S), to the shape of ``Network.ntk``."""
    if selection == "full":
        return np.ascontiguousarray(values[0].transpose(0, 2, 1, 3))
    if selection == "diagonal":
        return np.ascontiguousarray(values[:, :, 0, :, 0].transpose(1, 2, 0))
    return values[0, :, 0, :, 0]


def _float64(values: ArrayLike, name: str) -> Array:
    """Return a batch of inputs in float64."""
    return arrays.converted(arrays.batch(values, name), np.dtype(np.float64), name)


def _core_network(arch: Architecture) -> _core.Network:
    """Return the core's network of width 1 with the activations and biases of ``arch``; its parameters are not read."""
    arch = arch.with_width(1)
    sizes = [1, *(dense.width for dense in arch.dense)]
    weights = [np.zeros(shape) for shape in pairwise(sizes)]
    biases = [np.zeros(dense.width) if dense.has_bias else None for dense in arch.dense]
    scales = layer_scales(arch, 1, unit_biases=True)
    return _core.Network((weights, biases), scales, finite_specs(arch))


def _seeds(seeds: int | Sequence[int]) -> Sequence[int]:
    """Return the seeds that a number or sequence stands for, checked."""
    if np.ndim(seeds) == 0:
        values: Sequence[int] = range(numbers.integer(seeds, "seeds"))
    else:
        values = [numbers.integer(seed, "seeds") for seed in arrays.sequence(seeds, "seeds")]
    if len(values) < 2:
        raise ValueError(f"seeds is {seeds!r}, but a variance needs at least 2 networks")
    lowest = 0 if isinstance(values, range) else min(values)
    if lowest < 0:
        raise ValueError(f"seeds holds {lowest}, but seeds are >= 0")
    return values
