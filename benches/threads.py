"""Measure how the benchmarks of ``python -m ntkrs.bench`` scale with the number of threads.

    python benches/threads.py [--only PART ...] [--dtype DTYPE] [--repeats N] [--json FILE]
    python benches/threads.py --table FILE

Every benchmark is run with 1, 2, 4, … threads, up to the number of processors. FILE gets all seconds, the name of the
processor, and the rate of multiply-adds in registers with each number of threads. That rate bounds what threads can
gain, because processors lower their clock when more cores are busy. The table has the median seconds with one thread
and with all, and the gain at each number of threads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import ntkrs
from ntkrs import _core
from ntkrs._runtime.versions import versions
from ntkrs.bench.cases import Case, benchmarks
from ntkrs.bench.measure import cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PEAK = "multiply-adds in registers"
TRIES = 5


def counts(most: int) -> list[int]:
    """Return 1, 2, 4, … and the largest number of threads."""
    return sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})


def repeated(call: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of some calls, after one that is not timed."""
    call()
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return seconds


def scaling(case: Case, dtype: str, repeats: int) -> dict[int, list[float]]:
    """Return the seconds of one benchmark by the number of threads."""
    call = case.ours(np.dtype(dtype))
    found = {}
    for threads in counts(ntkrs.get_num_threads()):
        with ntkrs.threads(threads):
            found[threads] = repeated(call, repeats)
    return found


def peak(dtype: str) -> dict[int, list[float]]:
    """Return the seconds of 10¹² operations in registers by the number of threads."""
    found = {}
    for threads in counts(ntkrs.get_num_threads()):
        with ntkrs.threads(threads):
            found[threads] = [1e12 / max(_core.peak_flops(dtype == "float32") for _ in range(TRIES))]
    return found


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the figures of each benchmark."""
    dtypes = [options.dtype] if options.dtype else ["float64", "float32"]
    parts = options.only or [""]
    cases = [case for case in benchmarks(quick=options.quick) if any(part in case.name for part in parts)]
    for dtype in dtypes:
        yield {"work": PEAK, "dtype": dtype, "seconds": peak(dtype)}
        for case in cases:
            yield {"work": case.name, "dtype": dtype, "seconds": scaling(case, dtype, options.repeats)}


def table(results: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of one file."""
    rows = results["rows"]
    columns = list(rows[0]["seconds"])
    titles = ["work", "dtype", "1 thread", f"{columns[-1]} threads", *(f"gain of {count}" for count in columns[1:])]
    yield f"{results['cpu']}, {results['versions']['instructions']}.\n"
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join(['---'] * len(titles))} |"
    for row in rows:
        seconds = {count: median(values) for count, values in row["seconds"].items()}
        one, most = seconds[columns[0]], seconds[columns[-1]]
        gains = [f"{one / seconds[count]:.1f} ×" for count in columns[1:]]
        times = ["", ""] if row["work"] == PEAK else [f"{one:.3g} s", f"{most:.3g} s"]
        yield f"| {' | '.join([row['work'], row['dtype'], *times, *gains])} |"


def main() -> None:
    """Measure, or print the table of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="only run benchmarks whose name contains this")
    parser.add_argument("--dtype", choices=("float64", "float32"), help="one dtype (default: both)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls with each number of threads (default: 3)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that everything runs")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--table", type=Path, help="print the table of this file, and measure nothing")
    options = parser.parse_args()
    if options.table:
        print("\n".join(table(json.loads(options.table.read_text(encoding="utf-8")))))
        return
    results: dict[str, Any] = {"cpu": cpu(), "versions": versions(), "rows": []}
    for row in measured(options):
        print(json.dumps(row), flush=True)
        results["rows"].append(row)
        if options.json:  # after each row, so that an interrupted run keeps what it has
            options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print("\n".join(table(json.loads(json.dumps(results)))))


if __name__ == "__main__":
    main()
