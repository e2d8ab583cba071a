"""Benchmarks against rivals and the limits of the machine: ``python -m ntkrs.bench``.

Every measurement runs in a process of its own, ours and each rival's in turn, and is held against the limit of the
machine: the time that its flops need at the rate of a loop of multiply-adds in registers, or its results at the rate of
storing to fresh memory, whichever is longer, both measured in the same run. The NumPy sides are written by hand
and as good as NumPy allows: structured formulas, in-place operations, BLAS on all threads. JAX and torch are measured
where they are installed (benches/requirements-rivals.txt). All have the same number of threads, and a sample of each
rival's results is compared with ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import ntkrs
from ntkrs import _bench_measure as measuring
from ntkrs import _bench_numpy as rival
from ntkrs import _core
from ntkrs._checks import arrays
from ntkrs._runtime.versions import versions

#: Makes the arguments of a benchmark, and returns what is timed.
Setup: TypeAlias = Callable[[np.dtype[Any]], Callable[[], object]]

#: The sides of each benchmark, and what a reader calls them. The first two always run.
SIDES = {"ntkrs": "ntkrs", "numpy": "NumPy", "jax": "JAX", "torch": "torch"}

#: The sides that run where they are installed; each has a module ``_bench_{side}``.
OPTIONAL = ("jax", "torch")

#: An optional side that takes longer than this, with its warm-up, is given up.
_PATIENCE_SECONDS = 300

#: What a process returns that got SIGKILL, by number: Windows does not know the name.
_KILLED = -9


@dataclass(frozen=True)
class Case:
    """A piece of work, done by all sides.

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
    work : str
        The function of ``_bench_jax`` and ``_bench_torch`` that prepares the same; empty if there is none.
    arguments : callable
        From a dtype to its arguments.
    """

    name: str
    flops: float
    items: float
    ours: Setup
    numpy: Setup
    work: str = ""
    arguments: Callable[[np.dtype[Any]], tuple[Any, ...]] = lambda _: ()

    def prepare(self, side: str, dtype: np.dtype[Any]) -> measuring.Prepared:
        """What is timed of one side, and what makes arrays of its result."""
        if side in OPTIONAL:
            prepared: measuring.Prepared = getattr(import_module(f"ntkrs._bench_{side}"), self.work)(
                *self.arguments(dtype)
            )
            return prepared
        return (self.ours if side == "ntkrs" else self.numpy)(dtype), lambda result: result


def inputs(n: int, d: int, dtype: np.dtype[Any]) -> Any:
    """Random inputs, (n, d)."""
    return np.random.default_rng(0).standard_normal((n, d)).astype(dtype)


def linear(n: int, d: int) -> Case:
    """The Gram matrix X Xᵀ."""

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)

        def call() -> object:
            out = arrays.empty((n, 1, n, 1), dtype)
            _core.linear_gram((x, [out]))
            return out[:, 0, :, 0]

        return call

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: x @ x.T

    name = f"linear Gram, N={n} d={d}"
    return Case(name, n * (n + 1.0) * d, float(n * n), ours, numpy, "linear", lambda dtype: (inputs(n, d, dtype),))


def infinite(n: int, d: int, depth: int, activation: str = "relu", sigma_b: float = 0.1) -> Case:
    """NNGP and NTK of an infinitely wide network."""
    kernel = ntkrs.mlp(depth, 1, 1, activation, 2**0.5, sigma_b).kernel()
    by_hand = {"relu": rival.infinite_relu, "erf": rival.infinite_erf, "gelu": rival.infinite_gelu}[activation]

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return inputs(n, d, dtype), depth, 2**0.5, sigma_b

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: kernel(x, get=("nngp", "ntk"))

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(by_hand, *arguments(dtype))

    label = {"relu": "ReLU", "gelu": "GELU"}.get(activation, activation)
    biases = "" if sigma_b else ", no biases"
    name = f"infinite NNGP+NTK, {label}, {depth} hidden{biases}, N={n} d={d}"
    flops, items = n * (n + 1.0) * d, 2.0 * n * n
    work = "" if activation == "gelu" else "infinite"
    return Case(name, flops, items, ours, numpy, work, lambda dtype: (*arguments(dtype), activation))


def test_train(m: int, n: int, d: int, depth: int) -> Case:
    """NNGP and NTK of an infinitely wide ReLU network between m test and n training inputs."""
    kernel = ntkrs.mlp(depth, 1, 1, "relu", 2**0.5, 0.1).kernel()

    def batches(dtype: np.dtype[Any]) -> tuple[Any, Any]:
        x = inputs(m + n, d, dtype)
        return x[:m], x[m:]

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        test, train = batches(dtype)
        return lambda: kernel(test, train, get=("nngp", "ntk"))

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        test, train = batches(dtype)
        return partial(rival.infinite_relu, test, depth, 2**0.5, 0.1, train)

    name = f"infinite NNGP+NTK, ReLU, {depth} hidden, {m} × {n} d={d}"
    return Case(name, 2.0 * m * n * d, 2.0 * m * n, ours, numpy)


def _finite(
    n: int, d: int, width: int, outputs: int, dtype: np.dtype[Any]
) -> tuple[ntkrs.Network, tuple[Any, Any, float, float, Any]]:
    """A ReLU network with three hidden layers, and the same with inputs as the rivals take it."""
    net = ntkrs.mlp(3, width, outputs, "relu", 2**0.5, 0.1).init(d, rng=0, dtype=dtype)
    return net, (net.weights, net.biases, 2**0.5, 0.1, inputs(n, d, dtype))


def empirical(n: int, d: int, width: int, outputs: int, form: str) -> Case:
    """The empirical NTK of a finite ReLU network with three hidden layers."""
    sizes = [d, width, width, width, outputs]
    forward = 2.0 * n * sum(a * b for a, b in pairwise(sizes))
    backward = 2.0 * n * outputs * sum(a * b for a, b in pairwise(sizes[1:4]))
    rows = n * outputs if form == "full" else n
    # The trace collapses at the last hidden layer.
    deltas = sum(sizes[1:4]) if form == "full" else outputs * sum(sizes[1:3]) + sizes[3]
    gram = n * (n + 1.0) * sum(sizes[:4]) + rows * (rows + 1.0) * deltas

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return *_finite(n, d, width, outputs, dtype)[1], form

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, (*_, x) = _finite(n, d, width, outputs, dtype)
        return lambda: net.ntk(x, outputs=form)  # type: ignore[arg-type]  # "full" or "trace"

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(rival.empirical_relu, *arguments(dtype))

    name = f"empirical NTK, {form}, {d}-{width}³-{outputs}, N={n}"
    return Case(name, forward + backward + gram, float(rows * rows), ours, numpy, "empirical", arguments)


def jacobian(n: int, d: int, width: int, outputs: int) -> Case:
    """Per-sample Jacobians of a finite ReLU network with three hidden layers."""

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return _finite(n, d, width, outputs, dtype)[1]

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, (*_, x) = _finite(n, d, width, outputs, dtype)
        return lambda: net.jacobian(x)

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(rival.jacobian_relu, *arguments(dtype))

    items = float(n * outputs * _parameters(d, width, outputs))
    return Case(f"Jacobian, {d}-{width}³-{outputs}, N={n}", items, items, ours, numpy, "jacobian", arguments)


def train(n: int, d: int, width: int, outputs: int, steps: int) -> Case:
    """Full-batch gradient descent of a finite ReLU network with three hidden layers."""
    rate = 0.1

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        y = np.random.default_rng(1).standard_normal((n, outputs)).astype(dtype)
        return *_finite(n, d, width, outputs, dtype)[1], y, rate, steps

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, *_ = _finite(n, d, width, outputs, dtype)
        *_, x, y, _, _ = arguments(dtype)
        return lambda: net.train(x, y, rate, steps)[0].parameters

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(rival.train_relu, *arguments(dtype))

    items = float(_parameters(d, width, outputs))
    name = f"training, {steps} steps, {d}-{width}³-{outputs}, N={n}"
    return Case(name, 6.0 * n * items * steps, items, ours, numpy, "train", arguments)


def _parameters(d: int, width: int, outputs: int) -> int:
    return sum((a + 1) * b for a, b in pairwise([d, width, width, width, outputs]))


def cases(*, quick: bool) -> list[Case]:
    """All benchmarks; with ``quick`` small enough for a few seconds in all."""
    if quick:
        return [
            linear(500, 100),
            infinite(500, 100, 3),
            infinite(500, 100, 3, "erf"),
            test_train(50, 500, 100, 3),
            empirical(200, 50, 64, 1, "trace"),
            empirical(50, 50, 64, 3, "full"),
            jacobian(20, 50, 64, 2),
            train(30, 50, 64, 2, 10),
        ]
    return [
        linear(8000, 784),
        infinite(8000, 784, 3),
        test_train(1000, 8000, 784, 3),
        infinite(8000, 784, 20),
        infinite(8000, 784, 20, sigma_b=0.0),
        infinite(8000, 784, 3, "erf"),
        infinite(8000, 784, 3, "gelu"),
        empirical(2000, 784, 1024, 1, "trace"),
        empirical(1000, 784, 512, 1, "trace"),
        empirical(500, 784, 512, 10, "full"),
        empirical(500, 784, 512, 10, "trace"),
        jacobian(64, 784, 512, 10),
        train(256, 784, 512, 1, 1000),
    ]


def run(
    *, quick: bool, repeats: int, only: Sequence[str] = (), rivals: Sequence[str] = OPTIONAL, dtype: str | None = None
) -> dict[str, Any]:
    """Run the benchmarks whose names contain one of ``only``, each side of each in a process of its own."""
    if _core.PROFILE != "release":
        raise RuntimeError(
            f"this ntkrs is a {_core.PROFILE} build: benchmarks of it mean nothing. Use a release build."
        )
    installed = [side for side in rivals if find_spec(side) is not None]
    for side in set(rivals) - set(installed):
        print(f"{SIDES[side]} is not installed: its column stays empty (see benches/requirements-rivals.txt)")
    rows = []
    machine = _in_a_process("--rates")
    for kind in ("float64", "float32") if dtype is None else (dtype,):
        for index, case in enumerate(cases(quick=quick)):
            if only and not any(part in case.name for part in only):
                continue
            shared = ["--case", str(index), "--dtype", kind, "--repeats", str(repeats)]
            shared += ["--quick"] if quick else []
            sides = ["ntkrs", "numpy", *(installed if case.work else [])]
            figures = {side: _side_in_a_process(side, shared) for side in sides}
            rows.append(row := _row(case, kind, machine, figures))
            print(_lines(row), flush=True)
    return {"versions": versions() | _versions(installed), "cpu": measuring.cpu(), "repeats": repeats, "rows": rows}


def _versions(sides: Sequence[str]) -> dict[str, str]:
    return {side: metadata.version(side) for side in sides}


def _in_a_process(*options: str, timeout: float | None = None) -> dict[str, Any]:
    """What this module prints with these options."""
    command = [sys.executable, "-m", "ntkrs.bench", *options]
    done = subprocess.run(  # noqa: S603 this very module
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout, env=measuring.environment()
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _side_in_a_process(side: str, options: Sequence[str]) -> dict[str, Any]:
    """What one side measures, or that a rival was killed, as Linux does when memory runs out, or took too long."""
    if side not in OPTIONAL:
        return _in_a_process(*options, "--side", side)
    try:
        return _in_a_process(*options, "--side", side, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return {"refused": f"given up after {_PATIENCE_SECONDS} s"}
    except subprocess.CalledProcessError as error:
        if error.returncode != _KILLED:
            raise
        return {"refused": "killed by the system, most likely because memory ran out"}


def _side(case: Case, side: str, dtype: str, repeats: int) -> dict[str, Any]:
    """What one side measures, or why a rival cannot: torch's Jacobians may not fit."""
    try:
        return measuring.measure(lambda: case.prepare(side, np.dtype(dtype)), repeats)
    except MemoryError as error:
        if side not in OPTIONAL:
            raise
        return {"refused": str(error)}


def _row(case: Case, dtype: str, machine: dict[str, float], figures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    peak, store = machine[dtype], machine["store"]
    limit = max(case.flops / peak, case.items * np.dtype(dtype).itemsize / store)
    measured = {side: values for side, values in figures.items() if "refused" not in values}
    ours = statistics.median(measured["ntkrs"]["seconds"])
    row: dict[str, Any] = {
        "work": case.name,
        "dtype": dtype,
        "seconds": ours,
        "gflops": case.flops / ours / 1e9,
        "peak_gflops": peak / 1e9,
        "store_gbytes": store / 1e9,
        "fraction_of_limit": limit / ours,
        "memory_mb": measured["ntkrs"]["peak_bytes"] / 1e6,
    }
    for side, values in measured.items():
        if side != "ntkrs":
            seconds = statistics.median(values["seconds"])
            row |= {
                f"{side}_seconds": seconds,
                f"{side}_over_ntkrs": seconds / ours,
                f"{side}_memory_mb": values["peak_bytes"] / 1e6,
                f"{side}_difference": measuring.difference(measured["ntkrs"]["sample"], values["sample"]),
            }
    return row | {
        "refused": {side: values["refused"] for side, values in figures.items() if "refused" in values},
        "all_seconds": {side: values["seconds"] for side, values in measured.items()},
        "warm_up_seconds": {side: values["warm_up_seconds"] for side, values in measured.items()},
    }


def _lines(row: dict[str, Any]) -> str:
    limit = f"{row['gflops']:5.0f} GF/s {row['fraction_of_limit']:4.0%} of the limit"
    lines = [
        f"{row['work']}, {row['dtype']}",
        f"  {'ntkrs':6} {row['seconds']:8.4f} s {row['memory_mb']:6.0f} MB  {limit}",
    ]
    for side, label in SIDES.items():
        if f"{side}_seconds" in row:
            took = f"{row[f'{side}_seconds']:8.4f} s {row[f'{side}_memory_mb']:6.0f} MB"
            ratio = f"{row[f'{side}_over_ntkrs']:6.2f} x   differs by {row[f'{side}_difference']:.0e}"
            lines.append(f"  {label:6} {took}  {ratio}")
        elif side in row["refused"]:
            lines.append(f"  {label:6} {row['refused'][side]}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m ntkrs.bench", description="ntkrs against rivals and the machine.")
    result.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how fast")
    result.add_argument("--repeats", type=int, default=5, help="timed calls of each side (default: 5)")
    result.add_argument("--list", action="store_true", help="print the names of the benchmarks alone")
    result.add_argument("--only", action="append", default=[], help="run only benchmarks whose name contains this")
    result.add_argument("--dtype", choices=("float64", "float32"), help="one dtype (default: both)")
    result.add_argument("--rivals", nargs="*", choices=OPTIONAL, default=OPTIONAL, help="beside NumPy (default: all)")
    result.add_argument("--json", type=Path, help="write all figures to this file")
    result.add_argument("--rates", action="store_true", help="print the rates of the machine alone")
    for name in ("--case", "--side"):
        result.add_argument(name, help=argparse.SUPPRESS)  # what a process of its own is to measure
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks, or in a process of its own one side of one of them."""
    options = parser().parse_args(arguments)
    if options.rates:
        print(json.dumps(measuring.rates()))
    elif options.list:
        print("\n".join(case.name for case in cases(quick=options.quick)))
    elif options.case is not None:
        measuring.pin()
        case = cases(quick=options.quick)[int(options.case)]
        print(json.dumps(_side(case, options.side, options.dtype, options.repeats)))
    else:
        results = run(
            quick=options.quick,
            repeats=options.repeats,
            only=options.only,
            rivals=options.rivals,
            dtype=options.dtype,
        )
        if options.json is not None:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
