"""Integers that ask for more than a machine has are refused before any work, by name and with the bytes they need."""

import os
import subprocess
import sys

import numpy as np
import pytest

import ntkrs
from ntkrs import _core, diagnostics, mlp, predict
from ntkrs._checks import memory

NET = mlp(1, 8, 1, "erf").init(3)
X, Y = np.eye(3), np.zeros(3)
MOST = _core.max_num_threads()


class TestThreads:
    """At most 64 threads, or four for each processor."""

    def test_the_limit_is_above_any_use(self):
        assert max(64, 4 * os.cpu_count()) >= MOST >= 64
        with ntkrs.threads(MOST):
            assert ntkrs.get_num_threads() == MOST

    @pytest.mark.parametrize("count", [MOST + 1, 10**6, sys.maxsize])
    def test_more_are_refused(self, count):
        before = ntkrs.get_num_threads()
        for call in (ntkrs.set_num_threads, lambda n: ntkrs.threads(n).__enter__()):
            with pytest.raises(ValueError, match=rf"n is {count}, but at most {MOST} threads .* faster"):
                call(count)
        with pytest.raises(ValueError, match=f"the number of threads is {count}, but at most {MOST}"):
            _core.set_num_threads(count)
        assert ntkrs.get_num_threads() == before

    @pytest.mark.parametrize("variable", ["NTKRS_NUM_THREADS", "RAYON_NUM_THREADS"])
    def test_environment_variables_are_named(self, variable):
        code = "import ntkrs\ntry: ntkrs.get_num_threads()\nexcept ValueError as error: print(error)"
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {variable: "1000000"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert f"the environment variable {variable} is 1000000, but at most {MOST}" in run.stdout

    def test_a_limit_for_all_libraries_may_be_higher(self):
        threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is absent")
        NET(X)
        with threadpoolctl.threadpool_limits(10**6, user_api="ntkrs"):
            assert ntkrs.get_num_threads() == MOST


class TestSizes:
    """Depths, widths, numbers of records, networks and times."""

    def test_depths(self):
        with pytest.raises(ValueError, match="depth is 1000000000, but mlp makes at most 100000 hidden layers"):
            mlp(10**9, 8, 1)
        assert len(mlp(100_000, 1, 1).dense) == 100_001

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: NET.train(X, Y, 0.1, 10**15, record_every=1), "history of 1000000000000001 .* record_every"),
            (
                lambda: NET.train(X, Y, 0.1, sys.maxsize, record_every=1),
                "history of 9223372036854775808 .* record_every",
            ),
            (lambda: NET.train(X, Y, 0.1, 10**15, record_every=100, record=["outputs"]), r"history of 10000000000001"),
            (lambda: mlp(1, 10**13, 1).init(3), "a network of 40000000000000 parameters .* narrower"),
            (lambda: mlp(1, 8, 10**13).init(3), "a network of 80000000000024 parameters"),
            (lambda: mlp(1, 8, 1).init(10**13), "a network of 80000000000008 parameters"),
            (lambda: ntkrs.ensemble_ntk(mlp(1, 8, 1), X, seeds=10**15), "1000000000000000 networks .* fewer seeds"),
            (lambda: ntkrs.ensemble_ntk(mlp(1, 8, 1), X, width=10**13), "ensemble of kernels .* a smaller width"),
            (lambda: ntkrs.ensemble_ntk(mlp(1, 8, 10**9), X), "ensemble of kernels .* fewer outputs"),
            (lambda: diagnostics.width_convergence(mlp(1, 8, 1), X, widths=[10**13], seeds=2), "narrower|width"),
        ],
    )
    def test_what_cannot_fit_is_refused_before_any_work(self, call, message):
        with pytest.raises(MemoryError, match=message) as refused:
            call()
        assert "bytes" in str(refused.value)
        assert "available" in str(refused.value)

    def test_times(self, limit_memory):
        """Each takes two weights of all modes, and three arrays of results of all columns."""
        dynamics = predict.gradient_descent_mse(np.eye(3), np.zeros((3, 2)))
        limit_memory(8 * 1000 * 3 * (2 + 3 * 2))
        for call in (dynamics, dynamics.coefficients):
            call(np.arange(1000.0))
            with pytest.raises(MemoryError, match=r"3 samples at 1001 times t needs 192192 bytes .* fewer times t"):
                call(np.arange(1001.0))

    def test_covariances(self, limit_memory):
        ensemble = predict.gradient_descent_mse_ensemble(mlp(1, 1, 1).kernel(), np.eye(3), np.zeros(3))
        ensemble(np.arange(1000.0))
        limit_memory(16 * 1000 * 3**2)
        with pytest.raises(
            MemoryError, match=r"covariance of 3 points at 1001 times t needs 144144 bytes .* compute_cov"
        ):
            ensemble(np.arange(1001.0))

    def test_schedules_are_not_stored(self):
        """A long training that records seldom needs no memory for its steps."""
        calls = []

        def stop(done, total):
            calls.append((done, total))
            raise InterruptedError("enough")

        with pytest.raises(InterruptedError, match="enough"):
            NET.train(X, Y, 1e-9, 10**15, record_every=10**14, progress=stop)
        assert calls[0][1] == 10**15

    @pytest.mark.parametrize(("steps", "every"), [(0, None), (1, 1), (7, 3), (6, 3), (5, None), (5, 9)])
    def test_records_are_made_as_before(self, steps, every):
        _, history = NET.train(X, Y + 1, 0.1, steps, record_every=every)
        assert history.step.tolist() == [*range(0, steps, every or max(steps, 1)), steps]
        assert history.step.dtype == np.int64
        assert len(history.loss) == len(history.step)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of this process is read from /proc/self/statm")
class TestTightLimits:
    """Little memory: the message has the bytes, and the argument to change."""

    def test_a_limit_of_the_address_space_counts(self):
        import resource

        before = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(memory._read("/proc/self/statm").split()[0])
        try:
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, before[1]))
            left = memory.available()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        assert 2**27 < left <= 2**28 + 2**20  # the interpreter may allocate in between
        assert before[0] != resource.RLIM_INFINITY or memory._address_space() is None

    @pytest.mark.parametrize("megabytes", [1, 4, 10, 40])
    @pytest.mark.parametrize(
        ("call", "argument"),
        [
            ("diagnostics.kappa(net, X, y, starts=1)", "rows of X"),
            ("net.train(X, y, 1e-3, 2)", "rows of X"),
            ("net.train(X[:2], y[:2], 1e-3, 10**15, record_every=1)", "record_every"),
        ],
    )
    def test_training_and_kappa_say_what_they_need(self, call, argument, megabytes):
        code = f"""
import resource
import numpy as np, ntkrs
from ntkrs import diagnostics
net = ntkrs.mlp(2, 512, 1, "erf").init(10)
X = np.random.default_rng(0).standard_normal((2000, 10))
y = X[:, 0].copy()
small = ntkrs.mlp(1, 2, 1, "erf").init(10)
diagnostics.kappa(small, X[:3], y[:3], starts=1), small.train(X[:3], y[:3], 0.1, 2)  # modules and threads are there
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20, resource.RLIM_INFINITY))
try:
    {call}
except MemoryError as error:
    print(error)
"""
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | {"NTKRS_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert " needs " in run.stdout
        assert " bytes " in run.stdout
        assert "available" in run.stdout
        assert argument in run.stdout

    def test_an_allocation_that_fails_without_words(self):
        with (
            pytest.raises(MemoryError, match=r"f needs about 5 bytes .* an allocation failed\. Pass less\."),
            memory.required(5, "f", "Pass less."),
        ):
            raise MemoryError
        with (
            pytest.raises(MemoryError, match=r"f needs about 5 bytes .* available: 7 bytes are missing\. Pass less\."),
            memory.required(5, "f", "Pass less."),
        ):
            raise MemoryError("7 bytes are missing.")
