"""The empirical NTK over random initialisations."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ntkrs import _core
from ntkrs._architecture import check_architecture, layer_inputs, layer_scales
from ntkrs._checks import arrays, memory, numbers
from ntkrs._runtime.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, ArrayLike, Outputs, Progress


class EnsembleNtk(NamedTuple):
    """Mean and sample variance (over S - 1) of each entry of a kernel, in the shape of :meth:`ntkrs.Network.ntk`."""

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
    """Return the mean and variance of the empirical NTK over initialisations, keeping none of the kernels.

    ::

        mean = 1/S Σ_s Θ_s,    variance = 1/(S − 1) Σ_s (Θ_s − mean)²

    Parameters
    ----------
    arch : Sequential
        The architecture.
    X : (N, n_0) array_like
        Inputs.
    Z : (M, n_0) array_like, optional
        Other inputs; by default X.
    width : int, optional
        Units of every hidden layer, instead of those of ``arch``.
    seeds : int or sequence of int
        How many networks, S >= 2, with the seeds 0 to S - 1; or their seeds. That of seed s is
        ``arch.init(n_0, rng=s)``, bit for bit where no layer has ``tau_b``.
    draws : {"parameters", "law"}
        "parameters": all of them, those of ``arch.init``. "law": of the first layer's weights only what these inputs
        can see, N + M numbers a unit instead of n_0; the kernels have the same law, but are not those of ``arch.init``.
    outputs : str or int
        As for :meth:`ntkrs.Network.ntk`.
    progress : callable or bool, optional
        As there; counts networks.

    Returns
    -------
    EnsembleNtk
        A named tuple ``(mean, variance)`` of float64 arrays.

    Raises
    ------
    ValueError, TypeError, MemoryError
        If an argument is out of its domain, or the result does not fit.

    Notes
    -----
    Each network runs on one thread, all threads side by side. Each holds a network, a copy of the inputs, their
    activations, and a few kernels.
    Drawing numbers takes most of the time where n_0 is large. A first layer of normal weights is seen through X W
    alone, which has the law of R W' for any R with R Rᵀ = X Xᵀ, N × N: with ``draws="law"`` networks have R for inputs,
    from a QR decomposition of Xᵀ, and no cost depends on n_0.

    As the width n grows the variance falls like 1/n, and the mean approaches ``arch.kernel()``.

    References
    ----------
    Jacot, Gabriel, Hongler (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import ntkrs
    >>> arch, X = ntkrs.mlp(depth=1, width=4, outputs=1), np.eye(2)
    >>> moments = ntkrs.ensemble_ntk(arch, X, seeds=[0, 1])
    >>> kernels = [arch.init(2, rng=seed).ntk(X) for seed in (0, 1)]
    >>> bool(np.allclose(moments.mean, np.mean(kernels, axis=0)))
    True
    """
    check_architecture(arch)
    arch = arch if width is None else arch.with_width(width)
    x = _float64(X, "X")
    z = None if Z is None else _float64(Z, "Z")
    if x.shape[1] < 1:
        raise ValueError("X has 0 features, but a network has at least 1 input")
    if z is not None and z.shape[1] != x.shape[1]:
        raise ValueError(f"Z has {z.shape[1]} features, but X has {x.shape[1]} (both must be n_0)")
    # Of the layers before the inputs are made narrower.
    scales = [dense.sigma_w / n**0.5 for dense, n in zip(arch.dense, layer_inputs(arch, x.shape[1]), strict=True)]
    if numbers.choice(draws, "draws", ("parameters", "law")) == "law":
        x, z = _triangular(x, z)
    core = _core_network(arch)
    selection, drawn = numbers.selection(outputs, arch.outputs), _seeds(seeds)
    report = reporter(progress)
    pairs, count = (len(x), len(x if z is None else z)), arch.outputs
    planes, block = count if selection == "diagonal" else 1, count if selection == "full" else 1
    shape = (planes, pairs[0], block, pairs[1], block)
    threads, sizes = _core.get_num_threads(), [*layer_inputs(arch, x.shape[1]), arch.outputs]
    parameters = sum((n + 1) * m for n, m in pairwise(sizes))
    # Of each thread: its kernels, its network and the rows of it that are drawn, its inputs, activations and deltas.
    layers = sum(pairs) * (sizes[0] + (2 + block) * sum(sizes[1:]))
    count = (2 + 3 * threads) * math.prod(shape) + threads * (2 * parameters + layers)
    memory.require(8 * count, f"an ensemble of kernels {shape} of networks of {parameters} parameters")
    mean, variance = np.empty(math.prod(shape)), np.empty(math.prod(shape))
    _core.ensemble_ntk(core, (sizes, scales), (x, z), (mean, variance), shape, drawn, selection, report)
    return EnsembleNtk(*(_shaped(values.reshape(shape), selection) for values in (mean, variance)))


def _triangular(x: Array, z: Array | None) -> tuple[Array, Array | None]:
    """Return rows with the inner products of these, of no more features than there are rows."""
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
    """From planes (planes, N, S, M, S) to the shape of ``Network.ntk``."""
    if selection == "full":
        return np.ascontiguousarray(values[0].transpose(0, 2, 1, 3))
    if selection == "diagonal":
        return np.ascontiguousarray(values[:, :, 0, :, 0].transpose(1, 2, 0))
    return values[0, :, 0, :, 0]


def _float64(values: ArrayLike, name: str) -> Array:
    return arrays.batch(values, name).astype(np.float64, copy=False)


def _core_network(arch: Architecture) -> _core.Network:
    """Return the core's network of these activations and biases, as narrow as can be: its parameters are not read."""
    arch = arch.with_width(1)
    sizes = [1, *(dense.width for dense in arch.dense)]
    weights = [np.zeros(shape) for shape in pairwise(sizes)]
    biases = [np.zeros(dense.width) if dense.has_bias else None for dense in arch.dense]
    scales = layer_scales(arch, 1, unit_biases=True)
    return _core.Network((weights, biases), scales, [activation.spec() for activation in arch.activations])


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    given = [seeds] if np.ndim(seeds) == 0 else arrays.sequence(seeds, "seeds")
    checked = [numbers.integer(seed, "seeds") for seed in given]
    values = list(range(checked[0])) if np.ndim(seeds) == 0 else checked
    if len(values) < 2:
        raise ValueError(f"seeds is {seeds!r}, but a variance needs at least 2 networks")
    if min(values) < 0:
        raise ValueError(f"seeds holds {min(values)}, but seeds are >= 0")
    return values
