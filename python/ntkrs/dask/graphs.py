"""Graphs of kernels and of their products with vectors."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ntkrs._runtime.warning import warn
from ntkrs.dask import inputs, tasks
from ntkrs.errors import PerformanceWarning
from ntkrs.solvers import thin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, KernelName
    from ntkrs.dask.inputs import AnyKernel
    from ntkrs.kernel import Kernel
    from ntkrs.network import Network

#: Schedulers take about a millisecond for each task.
_MANY_TASKS = 10**5


def gram(
    kernel: Kernel | Network,
    X: da.Array,
    Z: da.Array | None = None,
    get: KernelName = "ntk",
    *,
    outputs: str | int | None = None,
) -> da.Array:
    """Return the kernel between all rows of X and all rows of Z as a dask array, which any scheduler computes.

    Parameters
    ----------
    kernel : Kernel or Network
        ``arch.kernel()``, or a network, whose empirical NTK is taken.
    X : (N, n_0) dask array
        Inputs, in chunks of whole rows. 2000 to 4000 rows are a good size.
    Z : (M, n_0) dask array, optional
        Other inputs; by default X, at half the cost.
    get : "ntk" or "nngp"
        The kernel at infinite width.
    outputs : "mean", "trace", "sum" or int, optional
        For networks: the form of the empirical NTK, by default "mean".

    Returns
    -------
    (N, M) dask array
        In the chunks of the rows of X and Z. Its bits are those of ``kernel(X, Z)``, or ``net.ntk(X, Z, outputs=...)``.

    Raises
    ------
    TypeError, ValueError
        If X or Z is not a two-dimensional dask array of real numbers in chunks of whole rows and known lengths. Entries
        are checked when a block is computed.

    Warns
    -----
    ntkrs.PerformanceWarning
        If the graph has more than 100 000 tasks.

    Notes
    -----
    There is a task for each block on or above the diagonal, on one thread, and a transpose for each block below it. If
    a worker dies, its blocks are computed again, to the same bits.

    Examples
    --------
    >>> import dask.array as da, numpy as np, ntkrs, ntkrs.dask
    >>> kernel, X = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu").kernel(), np.eye(5)
    >>> K = ntkrs.dask.gram(kernel, da.from_array(X, chunks=(2, -1)))
    >>> K.chunks
    ((2, 2, 1), (2, 2, 1))
    >>> np.array_equal(K.compute(scheduler="synchronous"), kernel(X))
    True
    """
    chosen, get = inputs.kernel_and_name(kernel, get, outputs)
    x, z = inputs.pair(X, Z)
    chunks = x.chunks[0], (x if z is None else z).chunks[0]
    name = f"ntkrs-gram-{tokenize(chosen, x, z, get)}"
    graph: dict[Any, Any] = {}
    for i, j, where, keys in _blocks(x, z):
        graph[name, i, j] = (partial(tasks.block, kernel=chosen, get=get, where=where), *keys)
        if z is None and i < j:
            graph[name, j, i] = (np.transpose, (name, i, j))
    _warn_of_many(len(graph), "gram", "Use larger chunks, or ntkrs.dask.product, which never forms the kernel.")
    return _array(graph, name, chunks, inputs.result_dtype(chosen, x, z), [x] if z is None else [x, z])


def product(
    kernel: Kernel | Network,
    X: da.Array,
    V: ArrayLike,
    Z: da.Array | None = None,
    get: KernelName = "ntk",
    *,
    outputs: str | int | None = None,
) -> da.Array:
    """Return ``K(X, Z) V`` as a dask array. Blocks of the kernel exist within tasks only, and are never sent.

    Parameters
    ----------
    kernel, X, Z, get, outputs
        As for :func:`gram`.
    V : (M,) or (M, r) array_like
        Vectors.

    Returns
    -------
    (N,) or (N, r) dask array of float64
        In the chunks of the rows of X. Its bits depend on the chunks alone, not on workers, threads or schedulers.

    Raises
    ------
    TypeError, ValueError
        As for :func:`gram`, or if V has another shape, or is not finite.

    Warns
    -----
    ntkrs.PerformanceWarning
        If the graph has more than 100 000 tasks.

    Notes
    -----
    Without Z, a task computes a block on or above the diagonal, and its products with two slices of V, so that each
    block is computed once. Then there is one sum for each chunk of rows, in the order of the chunks.

    Examples
    --------
    >>> import dask.array as da, numpy as np, ntkrs, ntkrs.dask
    >>> kernel, X = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu").kernel(), np.eye(5)
    >>> V = np.arange(10.0).reshape(5, 2)
    >>> KV = ntkrs.dask.product(kernel, da.from_array(X, chunks=(2, -1)), V).compute(scheduler="synchronous")
    >>> np.allclose(KV, kernel(X) @ V, rtol=1e-14)
    True
    """
    chosen, get = inputs.kernel_and_name(kernel, get, outputs)
    x, z = inputs.pair(X, Z)
    columns = x if z is None else z
    values = inputs.vectors(V, columns.shape[0], "V", "X" if z is None else "Z")
    flat, values = values.ndim == 1, values[:, None] if values.ndim == 1 else values
    token = tokenize(chosen, x, z, get, values, flat)
    name, parts = f"ntkrs-product-{token}", f"ntkrs-parts-{token}"
    graph, slices = _slices(values, columns.chunks[0], token)
    graph |= _parts(parts, (x, z), slices, kernel=chosen, get=get)
    for i in range(x.numblocks[0]):
        graph |= _sum((name, i), parts, columns.numblocks[0], symmetric=z is None, flat=flat)
    _warn_of_many(len(graph), "product", "Use larger chunks.")
    chunks = (x.chunks[0],) if flat else (x.chunks[0], (values.shape[1],))
    return _array(graph, name, chunks, np.dtype(np.float64), [x] if z is None else [x, z])


def predict(
    kernel: Kernel | Network,
    X_test: da.Array,
    X_train: da.Array,
    alpha: ArrayLike,
    get: KernelName = "ntk",
    *,
    outputs: str | int | None = None,
) -> da.Array:
    """Return the predictions ``K(X_test, X_train) α`` of kernel regression as a dask array.

    Parameters
    ----------
    kernel, get, outputs
        As for :func:`gram`.
    X_test : (M, n_0) dask array
        Test inputs, in chunks of whole rows.
    X_train : (N, n_0) dask array
        Training inputs, in chunks of whole rows.
    alpha : (N,) or (N, O) array_like
        The weights of the training inputs.

    Returns
    -------
    (M,) or (M, O) dask array of float64
        In the chunks of the rows of X_test. The (M, N) kernel is never held.

    Raises
    ------
    TypeError, ValueError
        As for :func:`product`.

    Examples
    --------
    >>> import dask.array as da, numpy as np, ntkrs, ntkrs.dask
    >>> kernel, X, y = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu").kernel(), np.eye(4), np.arange(4.0)
    >>> alpha, rows = np.linalg.solve(kernel(X), y), da.from_array(X, chunks=(2, -1))
    >>> bool(np.allclose(ntkrs.dask.predict(kernel, rows, rows, alpha).compute(scheduler="synchronous"), y))
    True
    """
    test, train = inputs.rows(X_test, "X_test"), inputs.rows(X_train, "X_train")
    if test.shape[1] != train.shape[1]:
        raise ValueError(f"X_test has {test.shape[1]} features, but X_train has {train.shape[1]} (both must be n_0)")
    weights = inputs.vectors(alpha, train.shape[0], "alpha", "X_train")
    return product(kernel, test, weights, train, get, outputs=outputs)


def product_with(gram: da.Array, values: NDArray[np.float64]) -> da.Array:
    """Return ``K V`` (N, r) for a kernel that is a dask array, in the order of sums of :func:`product`."""
    token = tokenize(gram, values)
    graph, slices = _slices(values, gram.chunks[1], token)
    name, parts = f"ntkrs-product-{token}", f"ntkrs-parts-{token}"
    for i in range(gram.numblocks[0]):
        for j in range(gram.numblocks[1]):
            graph[parts, i, j] = (thin.times, (gram.name, i, j), slices[j])
        graph |= _sum((name, i), parts, gram.numblocks[1], symmetric=False, flat=False)
    return _array(graph, name, (gram.chunks[0], (values.shape[1],)), np.dtype(np.float64), [gram])


def columns(kernel: AnyKernel, X: da.Array, rows: Array, get: KernelName) -> da.Array:
    """Return ``K(X, rows)`` (N, m) for rows in memory, in one chunk of columns."""
    name = f"ntkrs-columns-{tokenize(kernel, X, rows, get)}"
    graph: dict[Any, Any] = {(f"{name}-rows", 0): rows}
    for i, where in enumerate(inputs.chunks_of(X, "X")):
        work = partial(tasks.block, kernel=kernel, get=get, where=where)
        graph[name, i, 0] = (work, (X.name, i, 0), (f"{name}-rows", 0))
    return _array(graph, name, (X.chunks[0], (len(rows),)), inputs.result_dtype(kernel, X), [X])


def diagonal(kernel: AnyKernel, X: da.Array, get: KernelName) -> da.Array:
    """Return the diagonal of ``K(X, X)``, (N,)."""
    name = f"ntkrs-diagonal-{tokenize(kernel, X, get)}"
    work = partial(tasks.diagonal, kernel=kernel, get=get)
    places = enumerate(inputs.chunks_of(X, "X"))
    graph = {(name, i): (partial(work, where=where), (X.name, i, 0)) for i, where in places}
    return _array(graph, name, (X.chunks[0],), inputs.result_dtype(kernel, X), [X])


def _slices(
    values: NDArray[np.float64], lengths: tuple[int, ...], token: str
) -> tuple[dict[Any, Any], list[tuple[str, int]]]:
    """Return a graph of the rows of V in chunks, each a value of its own, and their keys."""
    keys = [(f"ntkrs-vectors-{token}", j) for j in range(len(lengths))]
    ends = list(accumulate(lengths))
    return {key: values[end - length : end].copy() for key, end, length in zip(keys, ends, lengths, strict=True)}, keys


def _parts(
    parts: str, pair: tuple[da.Array, da.Array | None], slices: list[tuple[str, int]], **options: Any
) -> dict[Any, Any]:
    """Return the tasks ``parts, i, j`` that compute a block and its products: all of them, or without Z those j ≥ i."""
    graph: dict[Any, Any] = {}
    for i, j, where, keys in _blocks(*pair):
        if pair[1] is not None:
            graph[parts, i, j] = (partial(tasks.product, where=where, **options), *keys, slices[j])
        elif i == j:
            graph[parts, i, i] = (partial(tasks.own_product, where=where, **options), keys[0], slices[i])
        else:
            graph[parts, i, j] = (partial(tasks.two_products, where=where, **options), *keys, slices[i], slices[j])
    return graph


def _blocks(x: da.Array, z: da.Array | None) -> Iterator[tuple[int, int, str, tuple[Any, Any]]]:
    """Yield the blocks that are computed: i, j, their rows as messages call them, and the keys of two chunks.

    Without Z these are the blocks on and above the diagonal; a block on it has one chunk, and None.
    """
    rows, columns = inputs.chunks_of(x, "X"), inputs.chunks_of(x, "X") if z is None else inputs.chunks_of(z, "Z")
    for i, own in enumerate(rows):
        for j in range(0 if z is not None else i, len(columns)):
            if z is None and i == j:
                yield i, j, own, ((x.name, i, 0), None)
            else:
                other = (x if z is None else z).name
                yield i, j, f"{own} and {columns[j]}", ((x.name, i, 0), (other, j, 0))


def _sum(row: tuple[str, int], parts: str, count: int, *, symmetric: bool, flat: bool) -> dict[Any, Any]:
    """Return the task that adds the parts of a chunk of rows, in ascending order of columns.

    In a symmetric product the part (i, j) of a row is the first of a pair for j ≥ i, and otherwise the second of the
    pair (j, i).
    """
    name, i = row
    keys = [(parts, j, i) if symmetric and j < i else (parts, i, j) for j in range(count)]
    picks = [int(j < i) if symmetric else None for j in range(count)]
    return {(name, i) if flat else (name, i, 0): (partial(tasks.total, picks=picks, flat=flat), keys)}


def _array(
    graph: dict[Any, Any], name: str, chunks: tuple[Any, ...], dtype: np.dtype[Any], dependencies: list[da.Array]
) -> da.Array:
    """Return the dask array of a graph."""
    whole = HighLevelGraph.from_collections(name, graph, dependencies=dependencies)
    return da.Array(whole, name, chunks, dtype=dtype)


def _warn_of_many(count: int, what: str, remedy: str) -> None:
    """Warn of a graph that keeps schedulers busy for minutes."""
    if count > _MANY_TASKS:
        warn(
            f"ntkrs.dask.{what} makes a graph of {count} tasks, which schedulers need minutes for. {remedy}",
            PerformanceWarning,
        )
