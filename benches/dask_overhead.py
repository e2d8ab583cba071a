"""Measure what Dask costs: a kernel and its product on two worker processes of this machine, against one process.

    python benches/dask_overhead.py [--rows 8000]

Seconds are processor seconds: of both workers and the client together, and of one process with two threads. The ratio
is what Dask adds: tasks, pickles, copies, and blocks below the diagonal.
"""

from __future__ import annotations

import argparse
import json
from time import process_time
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import ntkrs
import ntkrs.dask

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES, COLUMNS = 784, 10
CHUNKS = (500, 1000, 2000)


def main() -> None:
    """Print one JSON line for each size of chunks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8000, help="rows of X (default: %(default)s)")
    rows = parser.parse_args().rows
    kernel = ntkrs.mlp(3, 1, 1, "relu", sigma_w=2**0.5).kernel()
    x = np.random.default_rng(0).standard_normal((rows, FEATURES)).astype(np.float32)
    v = np.random.default_rng(1).standard_normal((rows, COLUMNS))
    with ntkrs.threads(2):
        alone = {"gram": best(lambda: kernel(x)), "product": best(lambda: kernel.operator(x) @ v)}
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0)
    with cluster, Client(cluster) as client:
        for chunk in CHUNKS:
            blocks = client.persist(da.from_array(x, chunks=(chunk, -1)))
            graphs = {"gram": ntkrs.dask.gram(kernel, blocks), "product": ntkrs.dask.product(kernel, blocks, v)}
            for name, graph in graphs.items():
                seconds = best(lambda graph=graph: finish(client, graph), lambda: everywhere(client))
                figures = {"seconds": round(seconds, 2), "one process": round(alone[name], 2)}
                print(json.dumps({"call": name, "chunk": chunk, **figures, "ratio": round(seconds / alone[name], 2)}))


def finish(client: Client, graph: da.Array) -> None:
    """Compute a graph, and leave its blocks on the workers."""
    done = client.persist(graph)
    client.gather(client.compute(done.sum()))


def everywhere(client: Client) -> float:
    """Return the processor seconds of all workers and of this process."""
    return sum(client.run(process_time).values()) + process_time()


def best(work: Callable[[], object], clock: Callable[[], float] = process_time) -> float:
    """Return the least processor seconds of three runs."""
    seconds = []
    for _ in range(3):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
