"""Benchmarks against NumPy and the limits of the machine: ``python -m ntkrs.bench``.

Every measurement runs in a process of its own, ours and NumPy's in turn, and is held against the limit of the machine:
the time that its flops need at the rate of a loop of multiply-adds in registers, or its results at the rate of storing
to fresh memory, whichever is longer, both measured in the same run. The NumPy sides are written by hand
and as good as NumPy allows: structured formulas, in-place operations, BLAS on all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

import ntkrs
from ntkrs import _bench_numpy as rival
from ntkrs import _core
from ntkrs._versions import versions

#: Makes the arguments of a benchmark, and returns what is timed.
Setup: TypeAlias = Callable[[np.dtype[Any]], Callable[[], object]]

#: The sides of each benchmark.
SIDES = ("ntkrs", "numpy")


@dataclass(frozen=True)
class Case:
    """A piece of work, done by both sides.

    Attributes
    ----------
    name : str
        What it is.
    flops : float
        What its products need, a symmetric half counted once.
    items : float
        How many numbers its result holds.
    ours, numpy : callable
        From a dtype to a function to be timed.
    """

    name: str
    flops: float
    items: float
    ours: Setup
    numpy: Setup


def inputs(n: int, d: int, dtype: np.dtype[Any]) -> Any:
    """Random inputs, (n, d)."""
    return np.random.default_rng(0).standard_normal((n, d)).astype(dtype)


def linear(n: int, d: int) -> Case:
    """The Gram matrix X Xᵀ."""

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: _core.linear_gram((x, [np.empty((n, 1, n, 1), dtype)]))

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: x @ x.T

    return Case(f"linear Gram, N={n} d={d}", n * (n + 1.0) * d, float(n * n), ours, numpy)


def infinite(n: int, d: int, depth: int) -> Case:
    """NNGP and NTK of an infinitely wide ReLU network."""
    kernel = ntkrs.mlp(depth, 1, 1, "relu", 2**0.5, 0.1).kernel()

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: kernel(x, get=("nngp", "ntk"))

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: rival.infinite_relu(x, depth, 2**0.5, 0.1)

    name = f"infinite NNGP+NTK, ReLU, {depth} hidden, N={n} d={d}"
    return Case(name, n * (n + 1.0) * d, 2.0 * n * n, ours, numpy)


def empirical(n: int, d: int, width: int, outputs: int, form: str) -> Case:
    """The empirical NTK of a finite ReLU network with three hidden layers."""
    arch = ntkrs.mlp(3, width, outputs, "relu", 2**0.5, 0.1)
    sizes = [d, width, width, width, outputs]
    forward = 2.0 * n * sum(a * b for a, b in pairwise(sizes))
    backward = 2.0 * n * outputs * sum(a * b for a, b in pairwise(sizes[1:4]))
    rows = n * outputs if form == "full" else n
    deltas = sum(sizes[1:4]) * (1 if form == "full" else outputs)
    gram = n * (n + 1.0) * sum(sizes[:4]) + rows * (rows + 1.0) * deltas

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, x = arch.init(d, rng=0, dtype=dtype), inputs(n, d, dtype)
        return lambda: net.ntk(x, outputs=form)  # type: ignore[arg-type]  # "full" or "trace"

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, x = arch.init(d, rng=0, dtype=dtype), inputs(n, d, dtype)
        return lambda: rival.empirical_relu(net.weights, net.biases, 2**0.5, 0.1, x, form)

    name = f"empirical NTK, {form}, {d}-{width}³-{outputs}, N={n}"
    return Case(name, forward + backward + gram, float(rows * rows), ours, numpy)


def jacobian(n: int, d: int, width: int, outputs: int) -> Case:
    """Per-sample Jacobians of a finite ReLU network with three hidden layers."""
    arch = ntkrs.mlp(3, width, outputs, "relu", 2**0.5, 0.1)
    parameters = arch.init(d).parameters.size

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, x = arch.init(d, rng=0, dtype=dtype), inputs(n, d, dtype)
        return lambda: net.jacobian(x)

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, x = arch.init(d, rng=0, dtype=dtype), inputs(n, d, dtype)
        return lambda: rival.jacobian_relu(net.weights, net.biases, 2**0.5, 0.1, x)

    items = float(n * outputs * parameters)
    return Case(f"Jacobian, {d}-{width}³-{outputs}, N={n}", items, items, ours, numpy)


def cases(*, quick: bool) -> list[Case]:
    """All benchmarks; with ``quick`` small enough for a few seconds in all."""
    if quick:
        return [linear(500, 100), infinite(500, 100, 3), empirical(200, 50, 64, 1, "trace"), jacobian(20, 50, 64, 2)]
    return [
        linear(8000, 784),
        infinite(8000, 784, 3),
        infinite(2000, 784, 20),
        empirical(2000, 784, 1024, 1, "trace"),
        empirical(1000, 784, 512, 1, "trace"),
        empirical(500, 784, 512, 10, "full"),
        empirical(500, 784, 512, 10, "trace"),
        jacobian(64, 784, 512, 10),
    ]


def measure(case: Case, side: str, dtype: str, repeats: int) -> dict[str, Any]:
    """Seconds of each repeat after one warm-up, and the peak memory above that before the first call."""
    call = (case.ours if side == "ntkrs" else case.numpy)(np.dtype(dtype))
    before = _peak_bytes()
    call()
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return {"seconds": seconds, "peak_bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak * (1 if sys.platform == "darwin" else 1024))


def run(*, quick: bool, repeats: int, only: str = "") -> dict[str, Any]:
    """Run the benchmarks whose name contains ``only``, each side of each in a process of its own."""
    if _core.PROFILE != "release":
        raise RuntimeError(
            f"this ntkrs is a {_core.PROFILE} build: benchmarks of it mean nothing. Use a release build."
        )
    rows = []
    machine = _in_a_process("--rates")
    for dtype in ("float64", "float32"):
        for index, case in enumerate(cases(quick=quick)):
            if only not in case.name:
                continue
            shared = ["--case", str(index), "--dtype", dtype, "--repeats", str(repeats)]
            shared += ["--quick"] if quick else []
            sides = {side: _in_a_process(*shared, "--side", side) for side in SIDES}
            rows.append(row := _row(case, dtype, machine, sides))
            print(_line(row), flush=True)
    return {"versions": versions(), "cpu": _cpu(), "repeats": repeats, "rows": rows}


def _in_a_process(*options: str) -> dict[str, Any]:
    """What this module prints with these options; a process counts its parent's memory, so the parent stays small."""
    command = [sys.executable, "-m", "ntkrs.bench", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 this very module
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _store_rate() -> float:
    """Bytes a second that all threads together store to memory that is new to the process."""
    count = ntkrs.get_num_threads()
    fresh = np.empty((count, 1 << 25))
    start = perf_counter()
    with ThreadPoolExecutor(count) as executor:
        list(executor.map(lambda part: np.copyto(part, 1.0), fresh))
    return fresh.nbytes / (perf_counter() - start)


def rates() -> dict[str, float]:
    """The machine's best of a few tries: flops a second for each dtype, and bytes stored a second."""
    tries = range(5)
    return {
        "float64": max(_core.peak_flops(False) for _ in tries),
        "float32": max(_core.peak_flops(True) for _ in tries),
        "store": max(_store_rate() for _ in tries),
    }


def _row(case: Case, dtype: str, machine: dict[str, float], sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    peak, store = machine[dtype], machine["store"]
    limit = max(case.flops / peak, case.items * np.dtype(dtype).itemsize / store)
    ours, numpy = (statistics.median(sides[side]["seconds"]) for side in SIDES)
    return {
        "work": case.name,
        "dtype": dtype,
        "seconds": ours,
        "gflops": case.flops / ours / 1e9,
        "peak_gflops": peak / 1e9,
        "store_gbytes": store / 1e9,
        "fraction_of_limit": limit / ours,
        "numpy_seconds": numpy,
        "numpy_over_ntkrs": numpy / ours,
        "memory_mb": sides["ntkrs"]["peak_bytes"] / 1e6,
        "numpy_memory_mb": sides["numpy"]["peak_bytes"] / 1e6,
        "all_seconds": {side: sides[side]["seconds"] for side in SIDES},
    }


def _line(row: dict[str, Any]) -> str:
    ours = f"{row['seconds']:7.4f} s {row['gflops']:5.0f} GF/s {row['fraction_of_limit']:4.0%} of the limit"
    theirs = f"NumPy {row['numpy_seconds']:7.4f} s {row['numpy_memory_mb']:5.0f} MB"
    ratio = f"{row['numpy_over_ntkrs']:5.2f} x"
    return f"{row['work']:50} {row['dtype']:8} {ours} {row['memory_mb']:5.0f} MB  {theirs}  {ratio}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m ntkrs.bench", description="ntkrs against NumPy and the machine.")
    result.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how fast")
    result.add_argument("--repeats", type=int, default=5, help="timed calls of each side (default: 5)")
    result.add_argument("--only", default="", help="run only benchmarks whose name contains this")
    result.add_argument("--json", type=Path, help="write all figures to this file")
    result.add_argument("--rates", action="store_true", help="print the rates of the machine alone")
    for name in ("--case", "--side", "--dtype"):
        result.add_argument(name, help=argparse.SUPPRESS)  # what a process of its own is to measure
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks, or in a process of its own one side of one of them."""
    options = parser().parse_args(arguments)
    if options.rates:
        print(json.dumps(rates()))
        return
    if options.case is not None:
        case = cases(quick=options.quick)[int(options.case)]
        print(json.dumps(measure(case, options.side, options.dtype, options.repeats)))
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(ntkrs.get_num_threads()))
    results = run(quick=options.quick, repeats=options.repeats, only=options.only)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
