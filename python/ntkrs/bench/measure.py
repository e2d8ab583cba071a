"""What one process of a benchmark measures: seconds, peak memory, some of its results, the rates of the machine."""

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

#: A function to be timed, and what makes arrays of its result, in the layout of ours, one or a tuple of them.
Prepared: TypeAlias = "tuple[Callable[[], Any], Callable[[Any], Any]]"

#: No call is repeated once the repeats took this long: some rivals need a minute for one.
_BUDGET_SECONDS = 60.0

#: Entries of each result that are compared, drawn at random.
_COMPARED = 2**14


def environment() -> dict[str, str]:
    """Variables under which every library computes on the processors, with as many threads as ntkrs."""
    count = str(get_num_threads())
    threads = dict.fromkeys((f"{library}_NUM_THREADS" for library in ("NTKRS", "OPENBLAS", "OMP", "MKL")), count)
    return os.environ | threads | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def pin() -> None:
    """Keep this process to as many processors as there are threads: XLA takes its number of threads from that."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: get_num_threads()])


def measure(prepare: Callable[[], Prepared], repeats: int) -> dict[str, Any]:
    """Seconds of each repeat after one warm-up, memory above that before it, and a sample of the results."""
    start = perf_counter()
    call, read = prepare()
    before = _reset_peak()
    call()
    warm_up = perf_counter() - start
    seconds: list[float] = []
    result = None
    while not seconds or (len(seconds) < repeats and sum(seconds) < _BUDGET_SECONDS):
        result = None  # there is room for one at a time
        start = perf_counter()
        result = call()
        seconds.append(perf_counter() - start)
    peak = _peak_bytes() - before
    return {"seconds": seconds, "warm_up_seconds": warm_up, "peak_bytes": peak, "sample": _sample(read(result))}


def _sample(result: Any) -> list[dict[str, Any]]:
    """Shape and some entries of each array of a result."""
    samples = []
    for array in map(np.asarray, result if isinstance(result, tuple) else (result,)):
        chosen = np.random.default_rng(0).integers(array.size, size=min(_COMPARED, array.size))
        values = array[np.unravel_index(chosen, array.shape)]
        samples.append({"shape": list(array.shape), "values": values.astype(float).tolist()})
    return samples


def difference(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float:
    """The largest difference of two samples, over the largest entry of that array.

    Raises
    ------
    RuntimeError
        If the results have different shapes: then the two sides did different work.
    """
    if [array["shape"] for array in ours] != [array["shape"] for array in theirs]:
        raise RuntimeError(f"results differ in shape: {[[a['shape'] for a in side] for side in (ours, theirs)]}")
    pairs = [(np.array(a["values"]), np.array(b["values"])) for a, b in zip(ours, theirs, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def _reset_peak() -> int:
    """The memory now, and the peak as well from now on where the system allows that."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:  # a container may forbid it: then the peak so far counts
            return _peak_bytes()
    return _peak_bytes()


def _peak_bytes() -> int:
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def rates() -> dict[str, float]:
    """The machine's best of a few tries: flops a second for each dtype, and bytes stored a second."""
    tries = range(5)
    return {
        "float64": max(_core.peak_flops(False) for _ in tries),
        "float32": max(_core.peak_flops(True) for _ in tries),
        "store": max(_store_rate() for _ in tries),
    }


def _store_rate() -> float:
    """Bytes a second that all threads together store to memory that is new to the process."""
    count = get_num_threads()
    fresh = np.empty((count, 1 << 25))
    start = perf_counter()
    with ThreadPoolExecutor(count) as executor:
        list(executor.map(lambda part: np.copyto(part, 1.0), fresh))
    return fresh.nbytes / (perf_counter() - start)


def cpu() -> str:
    """The processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
