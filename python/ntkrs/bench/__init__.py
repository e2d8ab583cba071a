"""Benchmarks against rival libraries and the limit of the machine: ``python -m ntkrs.bench``.

Every measurement, ours and each rival's, runs in a process of its own. It is compared with the limit of the machine,
which is the longer of two times: the time of its floating-point operations at the rate of a loop of multiply-adds in
registers, and the time to store its results to fresh memory. Both rates are measured in the same run.

The NumPy code is written by hand and tuned as far as NumPy allows: structured formulas, in-place operations, BLAS on
all threads. JAX and torch are measured if they are installed (benches/requirements-rivals.txt). All sides use the same
number of threads, and a sample of each rival's results is compared with ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs import _core
from ntkrs._checks import paths
from ntkrs._runtime import console
from ntkrs._runtime.files import replaced
from ntkrs._runtime.versions import versions
from ntkrs.bench import measure as measuring
from ntkrs.bench.cases import OPTIONAL, Case, benchmarks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OPTIONAL", "SIDES", "add_arguments", "main", "parser", "run", "run_command"]

#: The sides of each benchmark, and their names in the output. The first two always run.
SIDES = {"ntkrs": "ntkrs", "numpy": "NumPy", "jax": "JAX", "torch": "torch"}

#: An optional side is given up if it takes longer than this, warm-up included.
_PATIENCE_SECONDS = 300

#: The return code of a process that was ended by SIGKILL. Windows does not know this name, so it is a number.
_KILLED = -9


def run(
    *, quick: bool, repeats: int, only: Sequence[str] = (), rivals: Sequence[str] = OPTIONAL, dtype: str | None = None
) -> dict[str, Any]:
    """Run the benchmarks, each side of each in a process of its own, and print the results as they come.

    Parameters
    ----------
    quick : bool
        Tiny sizes, to check that everything runs.
    repeats : int
        Timed calls of each side.
    only : sequence of str
        Parts of names. If there are any, only benchmarks run whose name contains one of them.
    rivals : sequence of str
        The optional sides to measure, those of :data:`OPTIONAL` by default. Sides that are not installed are left out.
    dtype : "float64" or "float32", optional
        The dtype to measure. By default both are measured.

    Returns
    -------
    dict
        ``"rows"``, one for each benchmark and dtype, beside ``"versions"``, ``"cpu"`` and ``"repeats"``. It can be
        written as JSON.

    Raises
    ------
    RuntimeError
        If this ntkrs is not a release build, or a rival returns results of another shape.
    """
    if _core.PROFILE != "release":
        raise RuntimeError(
            f"this ntkrs is a {_core.PROFILE} build: benchmarks of it mean nothing. Use a release build."
        )
    installed = [side for side in rivals if find_spec(side) is not None]
    for side in set(rivals) - set(installed):
        print(f"{SIDES[side]} is not installed: its column stays empty (see benches/requirements-rivals.txt)")
    chosen = [
        (index, case)
        for index, case in enumerate(benchmarks(quick=quick))
        if not only or any(part in case.name for part in only)
    ]
    kinds = ("float64", "float32") if dtype is None else (dtype,)
    print(_plan(installed, rivals, f"{len(chosen)} benchmarks in {' and '.join(kinds)}"), flush=True)
    rows = []
    machine = _in_a_process("--rates")
    for kind in kinds:
        for index, case in chosen:
            shared = ["--case", str(index), "--dtype", kind, "--repeats", str(repeats)]
            shared += ["--quick"] if quick else []
            sides = ["ntkrs", "numpy", *(installed if case.work else [])]
            figures = {side: _side_in_a_process(side, shared) for side in sides}
            rows.append(row := _row(case, kind, machine, figures))
            print(_lines(row), flush=True)
    return {"versions": versions() | _versions(installed), "cpu": measuring.cpu(), "repeats": repeats, "rows": rows}


def _plan(installed: Sequence[str], rivals: Sequence[str], benches: str) -> str:
    """Return what will run: the sides, the rivals that were not asked for, and so many benchmarks."""
    lines = [f"measured: {', '.join(SIDES[side] for side in ('ntkrs', 'numpy', *installed))}; {benches}"]
    others = [side for side in OPTIONAL if side not in rivals]
    if others:
        names = ", ".join(SIDES[side] for side in others)
        lines.append(
            f"not measured: {names}. Name them: --rivals {' '.join(OPTIONAL)}; without --rivals all are measured."
        )
    return "\n".join(lines)


def _versions(sides: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages of these sides."""
    return {side: metadata.version(side) for side in sides}


def _in_a_process(*options: str, timeout: float | None = None) -> dict[str, Any]:
    """Run this module with these options in a new process, and return the JSON that it prints."""
    command = [sys.executable, "-m", "ntkrs.bench", *options]
    done = subprocess.run(  # noqa: S603 this very module
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout, env=measuring.environment()
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _side_in_a_process(side: str, options: Sequence[str]) -> dict[str, Any]:
    """Measure one side in a new process.

    The result of a rival may be ``"refused"`` with a reason: it took too long, or it was killed, as Linux does when
    memory runs out.
    """
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
    """Measure one side in this process.

    The result of a rival may be ``"refused"`` with a reason: the Jacobians of torch may not fit into memory.
    """
    try:
        return measuring.measure(lambda: case.prepare(side, np.dtype(dtype)), repeats)
    except MemoryError as error:
        if side not in OPTIONAL:
            raise
        return {"refused": str(error)}


def _row(case: Case, dtype: str, machine: dict[str, float], figures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one benchmark: ours against the limit of the machine, and each rival's against ours."""
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
    """Return a row as text, one line for each side."""
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
    """Return the parser of the command line.

    Examples
    --------
    >>> from ntkrs import bench
    >>> bench.parser().parse_args(["--quick"]).repeats
    5
    """
    result = argparse.ArgumentParser(prog="python -m ntkrs.bench", description="ntkrs against rivals and the machine.")
    add_arguments(result)
    return result


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of the benchmarks to the parser of a command.

    Examples
    --------
    >>> import argparse
    >>> from ntkrs import bench
    >>> command = argparse.ArgumentParser()
    >>> bench.add_arguments(command)
    >>> command.parse_args(["--dtype", "float32"]).dtype
    'float32'
    """
    command.add_argument("--quick", action="store_true", help="tiny sizes, to check that everything runs")
    command.add_argument("--repeats", type=int, default=5, help="timed calls of each side (default: 5)")
    command.add_argument("--list", action="store_true", help="only print the names of the benchmarks")
    command.add_argument("--only", action="append", default=[], help="only run benchmarks whose name contains this")
    command.add_argument("--dtype", choices=("float64", "float32"), help="one dtype (default: both)")
    command.add_argument(
        "--rivals",
        nargs="*",
        metavar="RIVAL",
        choices=OPTIONAL,
        default=OPTIONAL,
        help=f"the sides beyond ntkrs and NumPy, of {', '.join(OPTIONAL)} (default: all that are installed; "
        "without names: none, and it tells their names)",
    )
    command.add_argument("--json", type=Path, help="write all figures to this file")
    command.add_argument("--rates", action="store_true", help="only print the rates of the machine")
    for name in ("--case", "--side"):
        command.add_argument(name, help=argparse.SUPPRESS)  # passed to the process that measures one side


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks that the command line asks for. A process started by :func:`run` measures one side of one.

    Parameters
    ----------
    arguments : list of str, optional
        The command line, by default that of the process.

    Examples
    --------
    >>> from ntkrs import bench
    >>> bench.main(["--quick", "--list"])  # doctest: +ELLIPSIS
    linear Gram, N=500 d=100
    infinite NNGP+NTK, ReLU, 3 hidden, N=500 d=100
    ...
    """
    run_command(parser().parse_args(arguments))


def run_command(options: argparse.Namespace) -> None:
    """Run what parsed options of :func:`add_arguments` ask for.

    Examples
    --------
    >>> from ntkrs import bench
    >>> bench.run_command(bench.parser().parse_args(["--quick", "--list"]))  # doctest: +ELLIPSIS
    linear Gram, N=500 d=100
    ...
    """
    if options.rates:
        print(json.dumps(measuring.rates()))
    elif options.list:
        print("\n".join(case.name for case in benchmarks(quick=options.quick)))
    elif options.case is not None:
        measuring.pin()
        case = benchmarks(quick=options.quick)[int(options.case)]
        print(json.dumps(_side(case, options.side, options.dtype, options.repeats)))
    else:
        console.check_environment()
        file = None if options.json is None else paths.new_file(options.json, "--json")
        results = run(
            quick=options.quick,
            repeats=options.repeats,
            only=options.only,
            rivals=options.rivals,
            dtype=options.dtype,
        )
        if file is not None:
            with replaced(file) as opened:
                opened.write(f"{json.dumps(results, indent=2)}\n".encode())
