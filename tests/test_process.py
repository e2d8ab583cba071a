"""A good citizen of a Python process: threads, interrupts, callbacks, forks, builds."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ntkrs

KERNEL = ntkrs.mlp(3, 1, 1, "relu", 1.4, 0.1).kernel()
X = np.random.default_rng(0).standard_normal((300, 20))
LARGE = np.random.default_rng(0).standard_normal((6000, 400))


def python(code, **environment):
    """Run code in a fresh interpreter and return what it printed; it must end, and end well."""
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
    """How many there are."""

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
        [(0, ValueError, "n is 0"), (-1, ValueError, "n is -1"), (1.5, TypeError, "float"), ("2", TypeError, "str")],
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
    """The callback."""

    def test_it_hears_of_the_end(self):
        net = ntkrs.mlp(2, 32, 2).init(20)
        for call in (KERNEL, net.ntk):
            heard = []
            call(X, progress=lambda done, total, heard=heard: heard.append((done, total)))
            assert heard
            assert all(0 <= done <= total for done, total in heard)
            assert heard[-1][0] == heard[-1][1]

    def test_what_it_raises_ends_the_call(self):
        def stop(done, total):
            raise LookupError(f"at {done} of {total}")

        with pytest.raises(LookupError, match=r"at \d+ of \d+"):
            KERNEL(X, progress=stop)
        assert np.array_equal(KERNEL(X), KERNEL(X, X))

    def test_it_may_call_ntkrs_again(self):
        inner = []
        KERNEL(X, progress=lambda _done, _total: inner.append(KERNEL(X[:5])))
        assert np.array_equal(inner[-1], KERNEL(X)[:5, :5])

    def test_it_must_be_callable(self):
        with pytest.raises(TypeError, match="not callable"):
            KERNEL(X, progress="yes")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal to send to oneself")
def test_ctrl_c_ends_a_long_call():
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        [KERNEL(LARGE) for _ in range(100)]
    timer.join()
    assert np.array_equal(KERNEL(X), KERNEL(X, X))


def test_the_result_is_that_of_the_inputs_at_entry():
    """Inputs are packed before anything runs: what the callback writes to them comes too late."""
    x = X.copy()

    def overwrite(_done, _total):
        x[:] = 0.0

    assert np.array_equal(KERNEL(x, progress=overwrite), KERNEL(X))
    assert not x.any()


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
    """What importing does."""

    def test_it_starts_no_thread_and_loads_no_scipy(self):
        code = (
            "import sys, threading, ntkrs; print('scipy' in sys.modules, threading.active_count(), "
            "len(__import__('os').listdir('/proc/self/task')) if sys.platform == 'linux' else 1)"
        )
        before = "import sys, numpy, os; print(len(os.listdir('/proc/self/task')) if sys.platform == 'linux' else 1)"
        assert python(code) == f"False 1 {python(before)}"

    def test_a_debug_build_warns(self):
        code = (
            "import ntkrs._core as core, sys, warnings\n"
            "del sys.modules['ntkrs']; core.PROFILE = 'debug'\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always'); import ntkrs\n"
            "print(*(f'{w.category.__name__}: {w.message}' for w in caught))"
        )
        assert python(code).startswith("RuntimeWarning: this ntkrs is a debug build, many times slower")

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
