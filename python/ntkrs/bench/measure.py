"""Measurements in one process of a benchmark: seconds, peak memory, a sample of the results, rates of the machine."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntkrs import _core
from ntkrs._runtime.threads import get_num_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: A function to be timed, and a function that converts its result to our layout: an array, or a tuple of arrays.
Prepared: TypeAlias = "tuple[Callable[[], Any], Callable[[Any], Any]]"

#: No more repeats are made after this time, because some rivals need a minute for one.
_BUDGET_SECONDS = 60.0

#: The number of entries of each result that are compared. They are drawn at random.
_COMPARED = 2**14


def environment() -> dict[str, str]:
    """Return environment variables that make every library compute on the CPU, with as many threads as ntkrs."""
    count = str(get_num_threads())
    threads = dict.fromkeys((f"{library}_NUM_THREADS" for library in ("NTKRS", "OPENBLAS", "OMP", "MKL")), count)
    return os.environ | threads | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def pin() -> None:
    """Pin this process to as many processors as there are threads. XLA derives its number of threads from this."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: get_num_threads()])


def measure(prepare: Callable[[], Prepared], repeats: int) -> dict[str, Any]:
    """Measure a function.

    Returns
    -------
    dict
        ``"seconds"`` of each repeat, ``"warm_up_seconds"`` of the preparation and the first call, ``"peak_bytes"`` of
        memory beyond what was in use before the first call, and a ``"sample"`` of the result.
    """
    start = perf_counter()
    call, read = prepare()
    before = _reset_peak()
    call()
    warm_up = perf_counter() - start
    seconds: list[float] = []
    result = None
    while not seconds or (len(seconds) < repeats and sum(seconds) < _BUDGET_SECONDS):
        result = None  # memory may hold only one result at a time
        start = perf_counter()
        result = call()
        seconds.append(perf_counter() - start)
    peak = _peak_bytes() - before
    return {"seconds": seconds, "warm_up_seconds": warm_up, "peak_bytes": peak, "sample": _sample(read(result))}


def _sample(result: Any) -> list[dict[str, Any]]:
    """Return the shape and some entries of each array of a result."""
    samples = []
    for array in map(np.asarray, result if isinstance(result, tuple) else (result,)):
        chosen = np.random.default_rng(0).integers(array.size, size=min(_COMPARED, array.size))
        values = array[np.unravel_index(chosen, array.shape)]
        samples.append({"shape": list(array.shape), "values": values.astype(float).tolist()})
    return samples


def difference(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float:
    """Return the largest difference between two samples, relative to the largest entry of the same array.

    Raises
    ------
    RuntimeError
        If the results have different shapes, which means that the two sides did different work.
    """
    if [array["shape"] for array in ours] != [array["shape"] for array in theirs]:
        raise RuntimeError(f"results differ in shape: {[[a['shape'] for a in side] for side in (ours, theirs)]}")
    pairs = [(np.array(a["values"]), np.array(b["values"])) for a, b in zip(ours, theirs, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def _reset_peak() -> int:
    """Return the memory in use, and make the peak start from it.

    Where the system does not allow this, return the peak so far.
    """
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:  # forbidden in some containers
            return _peak_bytes()
    return _peak_bytes()


def _peak_bytes() -> int:
    """Return the peak memory of this process."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    try:
        import resource
    except ImportError:  # absent on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def rates() -> dict[str, float]:
    """Return the rates of the machine: flops per second for each dtype, and bytes stored per second.

    Each is the best of a few tries.
    """
    tries = range(5)
    return {
        "float64": max(_core.peak_flops(False) for _ in tries),
        "float32": max(_core.peak_flops(True) for _ in tries),
        "store": max(_store_rate() for _ in tries),
    }


def _store_rate() -> float:
    """Return the bytes per second that all threads together store to memory that is new to the process."""
    count = get_num_threads()
    fresh = np.empty((count, 1 << 25))
    start = perf_counter()
    with ThreadPoolExecutor(count) as executor:
        list(executor.map(lambda part: np.copyto(part, 1.0), fresh))
    return fresh.nbytes / (perf_counter() - start)


def cpu() -> str:
    """Return the name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
