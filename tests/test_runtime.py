"""Behaviour in a Python process: threads, interrupts, callbacks, forks, builds."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import ntkrs

KERNEL = ntkrs.mlp(3, 1, 1, "relu", 1.4, 0.1).kernel()
X = np.random.default_rng(0).standard_normal((300, 20))

SLOW_X = np.random.default_rng(0).standard_normal((1500, 20))


def slow(x, progress=None):
    """A call that takes many ticks of 50 ms on any number of processors."""
    with ntkrs.threads(2):
        return ntkrs.mlp(200, 1, 1, "erf", 1.4, 0.1).kernel()(x, progress=progress)


def python(code, **environment):
    """Run code in a fresh interpreter, which must exit with status 0, and return its output."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


class TestThreads:
    """The number of threads."""

    def test_they_can_be_set_and_come_back(self):
        before = ntkrs.get_num_threads()
        with ntkrs.threads(3):
            assert ntkrs.get_num_threads() == 3
        assert ntkrs.get_num_threads() == before
        with pytest.raises(RuntimeError, match="inside"), ntkrs.threads(5):
            raise RuntimeError("inside")
        assert ntkrs.get_num_threads() == before

    @pytest.mark.parametrize(
        ("count", "error", "message"),
        [
            (0, ValueError, "n is 0"),
            (-1, ValueError, "n is -1"),
            (2**70, ValueError, "n is beyond"),
            (1.5, TypeError, "n is 1.5, but an integer"),
            ("2", TypeError, "n is '2', but an integer"),
            (True, TypeError, "n is True, but an integer"),
        ],
    )
    def test_nonsense_is_refused(self, count, error, message):
        with pytest.raises(error, match=message):
            ntkrs.set_num_threads(count)

    def test_the_environment_counts(self):
        code = "import ntkrs; print(ntkrs.get_num_threads())"
        assert python(code, NTKRS_NUM_THREADS="5", RAYON_NUM_THREADS="7") == "5"
        assert python(code, NTKRS_NUM_THREADS="", RAYON_NUM_THREADS="7") == "7"
        affinity = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + code
        if hasattr(os, "sched_setaffinity"):
            assert python(affinity, NTKRS_NUM_THREADS="", RAYON_NUM_THREADS="0") == "1"

    def test_an_environment_that_is_no_number_is_an_error(self):
        code = "import ntkrs\ntry: ntkrs.get_num_threads()\nexcept ValueError as error: print(error)"
        assert 'NTKRS_NUM_THREADS is "two"' in python(code, NTKRS_NUM_THREADS="two")


def test_many_python_threads_get_the_same_bits():
    expected = KERNEL(X)
    with ThreadPoolExecutor(16) as executor:
        assert all(np.array_equal(result, expected) for result in executor.map(lambda _: KERNEL(X), range(64)))


class TestProgress:
    """The progress callback."""

    def test_it_hears_of_the_end(self):
        net = ntkrs.mlp(2, 32, 2).init(20)
        for call in (KERNEL, net.ntk):
            heard = []
            call(X, progress=lambda done, total, heard=heard: heard.append((done, total)))
            assert heard
            assert all(0 <= done <= total for done, total in heard)
            assert heard[-1][0] == heard[-1][1]

    def test_it_hears_of_the_way(self):
        heard = []
        slow(SLOW_X, progress=lambda done, total: heard.append((done, total)))
        assert any(0 <= done < total for done, total in heard)
        assert heard == sorted(heard)
        assert len({done for done, _ in heard}) > 4  # there are reports within the stages, too

    def test_what_it_raises_ends_the_call(self):
        heard = []

        def stop(done, total):
            heard.append((done, total))
            raise LookupError(f"at {done} of {total}")

        with pytest.raises(LookupError, match=r"at \d+ of \d+"):
            slow(SLOW_X, progress=stop)
        ((done, total),) = heard
        assert 0 <= done < total
        assert np.array_equal(KERNEL(X), KERNEL(X, X))

    def test_what_it_raises_ends_many_short_loops(self):
        """Each step takes some microseconds, so no loop lasts until a report. All steps would take a minute or more."""

        def stop(_done, _total):
            raise LookupError

        net, start = ntkrs.mlp(1, 2, 1).init(1), time.perf_counter()
        with pytest.raises(LookupError):
            net.train([[1.0], [2.0]], [1.0, -1.0], 1e-3, 10**8, progress=stop)
        assert time.perf_counter() - start < 20

    def test_it_may_call_ntkrs_again(self):
        inner = []

        def again(done, total):
            inner.append((done < total, KERNEL(X[:5])))

        slow(SLOW_X, progress=again)
        assert any(under_way for under_way, _ in inner)
        assert all(np.array_equal(result, KERNEL(X)[:5, :5]) for _, result in inner)

    def test_it_must_be_callable(self):
        with pytest.raises(TypeError, match="a callable"):
            KERNEL(X, progress="yes")


TANH, RELU = "mlp(3, 1, 1, 'tanh', 1.4, 0.1).kernel()", "mlp(1, 1, 1, 'relu').kernel()"
PASSES, WIDE = "mlp(8, 256, 3, 'tanh').init(20)", "mlp(2, 2000, 1, 'tanh').init(5)"

#: Calls of some tenths of a second or more on one thread, most of which pass in the stage named, and at most 1.1 GB:
#: (object, shape of the inputs, call).
LONG = {
    "kernel": ("mlp(20, 1, 1, 'erf', 1.4, 0.1).kernel()", (2500, 20), "f(x, progress=progress)"),
    "describing rows": (TANH, (40000, 5), "f(x, x[:2], progress=progress)"),
    "closed form": ("mlp(20, 1, 1, 'gelu', 1.4, 0.1).kernel()", (60000, 5), "f(x, x[:2], progress=progress)"),
    "diag": (TANH, (40000, 5), "f.diag(x)"),
    "error_bound": (TANH, (40000, 5), "f.error_bound(x)"),
    "gradient": (TANH, (20000, 5), "f.gradient(x, x[:2], progress=progress)"),
    "scalar": ("mlp(3, 1, 1, 'erf').kernel()", (10**6,), "f.scalar(numpy.tanh(x))"),
    "packing": (RELU, (30, 10**6), "f(x, x[:1], progress=progress)"),
    "converting": (RELU, (30, 10**6), "f.diag(x > 0)"),
    "forward pass": (PASSES, (10000, 20), "f(x)"),
    "both passes": (PASSES, (4000, 20), "f.ntk(x, x[:2], outputs='trace', progress=progress)"),
    "ntk": ("mlp(8, 256, 1, 'tanh').init(20)", (5000, 20), "f.ntk(x, outputs='trace', progress=progress)"),
    "heads": ("mlp(1, 512, 1000, 'relu').init(5)", (1, 5), "f.ntk(x, progress=progress)"),
    "jacobian": ("mlp(2, 64, 10, 'tanh').init(5)", (2700, 5), "f.jacobian(x)"),
    "jvp": (WIDE, (300, 5), "f.jvp(x, f.parameters)"),
    "vjp": (WIDE, (300, 5), "f.vjp(x, x[:, :1])"),
    "linearize": (WIDE, (300, 5), "f.linearize()(x, 2 * f.parameters)"),
    "init": ("mlp(2, 3000, 1, 'tanh')", (5,), "f.init(1000)"),
    "with_parameters": ("mlp(2, 5000, 1, 'tanh').init(5)", (5,), "f.with_parameters(f.parameters)"),
    "training": ("mlp(3, 512, 1).init(5)", (500, 5), "f.train(x, x[:, :1], 1e-3, 10, progress=progress)"),
    "convolutions": (
        "Sequential(*[Conv(1, 3), Relu()] * 20, GlobalAvgPool(), Dense(1)).kernel()",
        (2, 32, 32, 3),
        "f(x)",
    ),
    "pools": (
        "Sequential(*[Conv(1, 3), Relu(), Conv(1, 3), Relu(), AvgPool(2)] * 3, GlobalAvgPool(), Dense(1)).kernel()",
        (4, 32, 32, 3),
        "f(x)",
    ),
    "ensemble": ("mlp(2, 256, 1)", (600, 5), "ensemble_ntk(f, x, seeds=20, outputs='trace', progress=progress)"),
}

INTERRUPTED = """
import signal, time, numpy
from ntkrs import AvgPool, Conv, Dense, GlobalAvgPool, Relu, Sequential, ensemble_ntk, mlp, threads

f, x, progress = {f}, numpy.random.default_rng(0).standard_normal({shape}), None
# An alarm, whose handler is that of Ctrl-C: a thread would wait for the interpreter, which some stages hold.
signal.signal(signal.SIGALRM, signal.default_int_handler)
with threads(1):
    for _ in range(2):  # the first call finds no pages and no tables
        start = time.perf_counter()
        {call}
        whole = time.perf_counter() - start
    alarm = time.perf_counter() + whole / 10
    signal.setitimer(signal.ITIMER_REAL, whole / 10)
    try:
        {call}
    except KeyboardInterrupt:
        print(time.perf_counter() - alarm, whole)
small, x = mlp(1, 1, 1).kernel(), numpy.eye(9)
assert numpy.array_equal(small(x), small(x, x))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal to send to oneself")
@pytest.mark.parametrize(("f", "shape", "call"), LONG.values(), ids=LONG)
def test_ctrl_c_ends_a_long_call(f, shape, call):
    """Interrupted after a tenth of its time. 0.2 s is the promise, which benchmarks check; a busy machine has more."""
    delay, whole = map(float, python(INTERRUPTED.format(f=f, shape=shape, call=call)).split())
    assert delay < max(0.4, whole / 4)


LISTENED = """
import time, numpy
from ntkrs import ensemble_ntk, mlp, threads

f, x = {f}, numpy.random.default_rng(0).standard_normal({shape})
heard, times = [], []

def progress(done, total):
    times.append(time.perf_counter())
    heard.append(done / total)

with threads(1):
    times.append(time.perf_counter())
    {call}
    times.append(time.perf_counter())
assert heard == sorted(heard) and heard[-1] == 1.0
print(max(b - a for a, b in zip(times, times[1:])), times[-1] - times[0])
"""

#: The long calls that report progress.
REPORTING = {name: case for name, case in LONG.items() if "progress" in case[2]}


@pytest.mark.parametrize(("f", "shape", "call"), REPORTING.values(), ids=REPORTING)
def test_progress_rises_and_is_never_silent_for_long(f, shape, call):
    """From the start of a call to its end. 0.1 s is the promise, which benchmarks check; a busy machine has more.

    A stage that does not report is silent in every try; another process that takes the processors is not.
    """
    for _ in range(3):
        silence, whole = map(float, python(LISTENED.format(f=f, shape=shape, call=call)).split())
        if silence < max(0.4, whole / 4):
            return
    pytest.fail(f"silent for {silence:.2f} of {whole:.2f} s, three times")


def test_the_result_is_that_of_the_inputs_at_entry():
    """Inputs are packed before anything runs, so changes made by the callback have no effect."""
    x, early = SLOW_X.copy(), []

    def overwrite(done, total):
        early.append(done < total)
        x[:] = 0.0

    assert np.array_equal(slow(x, progress=overwrite), slow(SLOW_X))
    assert early[0]
    assert not x.any()


@contextmanager
def computing():
    """Run a long call in another thread, and yield its future once it is under way."""
    under_way = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(slow, SLOW_X, progress=lambda _done, _total: under_way.set())
        assert under_way.wait(60)
        yield future
        assert np.array_equal(future.result(60), slow(SLOW_X))


def test_a_small_call_does_not_wait_for_a_large_one():
    with computing() as future:
        result = KERNEL(X[:5])
        assert not future.done()
    assert np.array_equal(result, KERNEL(X)[:5, :5])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_a_thread_computes():
    expected = KERNEL(X).tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with computing() as future:
        process = context.Process(target=child, args=(queue,))
        process.start()
        assert not future.done()
        try:
            assert queue.get(timeout=60) == expected
        finally:
            process.join(timeout=5)
            process.kill()
    assert process.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_threads_of_other_numbers_end():
    code = """
import os, time, numpy, ntkrs
kernel, x = ntkrs.mlp(1, 1, 1).kernel(), numpy.eye(300)
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
for n in 3 * [*range(1, 13)] + [1]:
    with ntkrs.threads(n):
        kernel(x)
deadline = time.monotonic() + 10  # an ended thread leaves a moment later
while count() > before + 2 and time.monotonic() < deadline:
    time.sleep(0.01)
print(count() - before)
"""
    # One idle pool is kept, and one more for a call from within a callback.
    assert int(python(code)) <= 2


def child(queue):
    queue.put(KERNEL(X).tobytes())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_children_compute_the_same_bits(method):
    expected = KERNEL(X).tobytes()  # the parent's pool is running now
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join(timeout=60)
    assert process.exitcode == 0
    assert KERNEL(X).tobytes() == expected


class TestImport:
    """The cost and the effects of importing."""

    def test_it_starts_no_thread_and_loads_no_scipy(self):
        code = (
            "import sys, threading, ntkrs; print('scipy' in sys.modules, threading.active_count(), "
            "len(__import__('os').listdir('/proc/self/task')) if sys.platform == 'linux' else 1)"
        )
        before = "import sys, numpy, os; print(len(os.listdir('/proc/self/task')) if sys.platform == 'linux' else 1)"
        assert python(code) == f"False 1 {python(before)}"

    def test_it_loads_little_beyond_numpy(self):
        code = (
            "import sys, numpy; before = set(sys.modules); import ntkrs; new = set(sys.modules) - before; "
            "print(*sorted(name for name in new if not name.startswith('ntkrs')))"
        )
        # Slow or optional modules are loaded where they are used.
        slow = {
            "concurrent.futures",
            "dask",
            "html",
            "importlib.metadata",
            "json",
            "matplotlib",
            "numpy.typing",
            "pathlib",
        }
        slow |= {"platform", "scipy", "sklearn", "subprocess", "torch", "tqdm"}
        assert not slow & set(python(code).split())

    def test_it_loads_modules_of_its_own_when_they_are_used(self):
        code = (
            "import sys, ntkrs\n"
            "own = lambda: {name.split('.')[1] for name in sys.modules if name.startswith('ntkrs.')}\n"
            "print(*sorted(own())); ntkrs.mlp; print(*sorted(own()))"
        )
        first, later = (set(line.split()) for line in python(code).split("\n"))
        moved = {"_get", "_gradient", "_training"}  # places that pickles of earlier versions name
        assert first == {"_checks", "_core", "_public", "_runtime"} | moved
        assert later - first >= {"activations", "kernel", "layers", "network"}

    def test_names_are_there_before_they_are_used(self):
        code = (
            "import ntkrs; print(*sorted({*ntkrs.__all__} - {*dir(ntkrs)}), 'Relu' in vars(ntkrs))\n"
            "from ntkrs import *; print(Relu is ntkrs.Relu, Relu is ntkrs.activations.Relu, show_versions.__module__)"
        )
        assert python(code) == "False\nTrue True ntkrs"

    def test_a_debug_build_warns(self):
        code = (
            "import ntkrs._core as core, sys, warnings\n"
            "del sys.modules['ntkrs']; core.PROFILE = 'debug'\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always'); import ntkrs\n"
            "print(*(f'{w.category.__name__}: {w.message}' for w in caught))"
        )
        assert python(code).startswith("PerformanceWarning: this ntkrs is a debug build, many times slower")

    def test_this_is_a_release_build(self):
        assert ntkrs._core.PROFILE == "release"

    def test_the_instruction_set_can_be_pinned(self):
        code = "import ntkrs._core as core; print(core.isa())"
        assert python(code, NTKRS_ISA="portable") == "portable"
        call = "import ntkrs, numpy\ntry: ntkrs.mlp(1, 1, 1).kernel()(numpy.eye(2))\nexcept ValueError as e: print(e)"
        assert 'NTKRS_ISA is "avx1024", but this machine has: portable' in python(call, NTKRS_ISA="avx1024")

    def test_versions_are_told(self, capsys):
        ntkrs.show_versions()
        told = capsys.readouterr().out
        assert f"ntkrs: {ntkrs.__version__} (release build)" in told
        assert f"numpy: {np.__version__}" in told


def test_threadpoolctl_sets_the_number_of_threads():
    from threadpoolctl import threadpool_info, threadpool_limits

    with ntkrs.threads(3):
        with threadpool_limits(2, user_api="ntkrs"):
            assert ntkrs.get_num_threads() == 2
            assert [info["num_threads"] for info in threadpool_info() if info["user_api"] == "ntkrs"] == [2]
        assert ntkrs.get_num_threads() == 3
