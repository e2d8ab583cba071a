"""Measure what Dask costs: a kernel and its product as graphs, against one call.

    OMP_NUM_THREADS=1 NTKRS_NUM_THREADS=1 python benches/dask_overhead.py [--rows 8000]

Seconds are processor seconds: of one call, of the graph on the synchronous scheduler of this process, and of the graph
on two worker processes, with those of the client. The first ratio is that of the tasks themselves, the second one adds
messages between processes and the event loops of distributed.
"""

from __future__ import annotations

import argparse
import json
from time import process_time
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

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
    alone = {"gram": best(lambda: kernel(x)), "product": best(lambda: kernel.operator(x) @ v)}
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0)
    with cluster, Client(cluster) as client:
        for chunk in CHUNKS:
            here = da.from_array(x, chunks=(chunk, -1)).persist(scheduler="synchronous")
            there = client.persist(da.from_array(x, chunks=(chunk, -1)))
            for name in ("gram", "product"):
                local = best(lambda name=name, rows=here: graph(name, kernel, rows, v).persist(scheduler="synchronous"))
                remote = best(
                    lambda name=name, rows=there: wait(client.persist(graph(name, kernel, rows, v))),
                    lambda: everywhere(client),
                )
                seconds = {"call": alone[name], "graph": local, "cluster": remote}
                ratios = {f"{key} ratio": round(seconds[key] / alone[name], 2) for key in ("graph", "cluster")}
                print(
                    json.dumps({"name": name, "chunk": chunk, **{k: round(s, 3) for k, s in seconds.items()}, **ratios})
                )


def graph(name: str, kernel: ntkrs.Kernel, rows: da.Array, v: np.ndarray) -> da.Array:
    """Return the graph of a kernel, or of its product."""
    return ntkrs.dask.gram(kernel, rows) if name == "gram" else ntkrs.dask.product(kernel, rows, v)


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
