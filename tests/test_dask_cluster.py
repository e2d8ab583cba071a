"""Graphs on a cluster of two processes on this machine: the bits of one process, whichever worker dies."""

import os
import signal
import time

import numpy as np
import pytest

from ntkrs import mlp

pytest.importorskip("distributed", reason="a cluster needs distributed")

import dask
import dask.array as da
from distributed import Client, LocalCluster

import ntkrs.dask

#: Deep, so that a block takes some hundredths of a second, and workers die in the middle of one.
KERNEL = mlp(100, 1, 1, "erf", sigma_w=1.4, sigma_b=0.1).kernel()


def inputs(count, length, seed=0):
    """Return rows, and a dask array of them in chunks of this length."""
    x = np.random.default_rng(seed).standard_normal((count, 8))
    return x, da.from_array(x, chunks=(length, -1))


@pytest.fixture(scope="module")
def client():
    """A client of two workers of one thread each, which are started again when they die."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def in_memory(client):
    """Return the number of finished tasks whose results workers hold."""
    return client.run_on_scheduler(
        lambda dask_scheduler: sum(task.state == "memory" for task in dask_scheduler.tasks.values())
    )


def kill_one_worker(client, after):
    """Kill a worker once so many tasks are done. These are tasks of a graph that is running."""
    deadline = time.monotonic() + 60
    while in_memory(client) < after:
        assert time.monotonic() < deadline, "the graph does not run"
        time.sleep(0.01)
    address, process = next(iter(client.run(os.getpid).items()))
    assert process != os.getpid()
    os.kill(process, signal.SIGKILL)
    return address


def test_bits_are_those_of_one_process(client):
    (x, blocks), (z, others) = inputs(130, 40), inputs(50, 30, seed=1)
    v = np.random.default_rng(2).standard_normal((130, 3))
    assert np.array_equal(client.compute(ntkrs.dask.gram(KERNEL, blocks)).result(timeout=60), KERNEL(x))
    assert np.array_equal(client.compute(ntkrs.dask.gram(KERNEL, others, blocks)).result(timeout=60), KERNEL(z, x))
    for graph in (ntkrs.dask.product(KERNEL, blocks, v), ntkrs.dask.predict(KERNEL, others, blocks, v)):
        assert np.array_equal(client.compute(graph).result(timeout=60), graph.compute(scheduler="synchronous"))


def test_a_worker_that_dies_in_a_gram_costs_no_bit(client):
    x, blocks = inputs(600, 50)
    future = client.compute(ntkrs.dask.gram(KERNEL, blocks))
    killed = kill_one_worker(client, after=20)
    result = future.result(timeout=60)
    assert np.array_equal(result, KERNEL(x))
    assert killed not in client.scheduler_info()["workers"]  # it died, and another one came in its place


def test_a_worker_that_dies_in_a_product_costs_no_bit(client):
    _, blocks = inputs(600, 50)
    v = np.random.default_rng(2).standard_normal((600, 3))
    graph = ntkrs.dask.product(KERNEL, blocks, v)
    future = client.compute(graph)
    kill_one_worker(client, after=30)
    assert np.array_equal(future.result(timeout=60), graph.compute(scheduler="synchronous"))


def test_a_worker_that_dies_in_a_solution_costs_no_bit(client):
    """It is killed from within: by the report of an iteration."""
    _, blocks = inputs(120, 40)
    y = np.random.default_rng(2).standard_normal((120, 2))
    kernel = mlp(20, 1, 1, "erf", sigma_w=1.4, sigma_b=0.1).kernel()
    with dask.config.set(scheduler="synchronous"):
        expected = ntkrs.dask.solve(kernel, blocks, y, 1e-3, rank=10)
    killed = []

    def kill(done, _most):
        if done == 2 and not killed:
            killed.append(kill_one_worker(client, after=0))

    found = ntkrs.dask.solve(kernel, blocks, y, 1e-3, rank=10, progress=kill)
    assert killed
    assert found.iterations > 3
    assert np.array_equal(found.alpha, expected.alpha)
