"""Handlers of signals run during calls of the core. One that raises ends the call, and nothing is lost."""

import signal
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

import ntkrs

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timers that send signals"),
    # Python drops an exception that comes while it deletes an object, such as a file that an import has read.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

#: Seconds in which any call below ends, however busy the machine is.
WATCHDOG_S = 60

X = np.random.default_rng(0).standard_normal((700, 20))
KERNEL = ntkrs.mlp(4, 1, 1, "tanh").kernel()


class AlarmError(Exception):
    """The exception of a handler."""


def fail(*_):
    raise AlarmError


@contextmanager
def timer(seconds, handler, kind=signal.SIGALRM, again=0.0):
    """Send a signal within a ``with`` block, after some seconds and then ``again`` and again."""
    which = {signal.SIGALRM: signal.ITIMER_REAL, signal.SIGPROF: signal.ITIMER_PROF}[kind]
    before = signal.signal(kind, handler)
    signal.setitimer(which, seconds, again)
    try:
        yield
    finally:
        signal.setitimer(which, 0)
        signal.signal(kind, before)


@pytest.mark.parametrize("kind", [signal.SIGALRM, signal.SIGPROF])
def test_a_handler_that_returns_changes_nothing(kind):
    heard, expected = [], KERNEL(X)
    with timer(0.002, lambda *_: heard.append(time.monotonic()), kind, again=0.002):
        end = time.monotonic() + WATCHDOG_S
        while len(heard) < 3 and time.monotonic() < end:
            assert np.array_equal(KERNEL(X), expected)
    assert len(heard) >= 3


CALLS = {
    "kernel": lambda: KERNEL(X),
    "gradient": lambda: KERNEL.gradient(X, weights=np.ones((700, 700))),
    "product": lambda: KERNEL.operator(X) @ np.ones(700),
    "ntk": lambda: ntkrs.mlp(2, 512, 4).init(20, rng=0).ntk(X),
    "training": lambda: ntkrs.mlp(2, 256, 1).init(20, rng=0).train(X, X[:, :1], 1e-3, 100_000),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_handler_that_raises_ends_the_call(call):
    def again():
        begin = time.monotonic()
        while time.monotonic() < begin + WATCHDOG_S:
            call()

    with timer(0.01, fail), pytest.raises(AlarmError):
        again()
    assert np.array_equal(KERNEL(X[:9]), KERNEL(X)[:9, :9])  # the next call works


def until_done(call):
    """Call again and again, each time for a little longer, until a call ends before its signal. Count the calls."""
    for attempt in range(100):
        try:
            with timer(0.01 * 1.3**attempt, fail):
                return call(), attempt
        except AlarmError:
            pass
    pytest.fail("it never ends")


def test_a_matrix_in_a_file_is_continued(tmp_path):
    path = tmp_path / "K.npy"
    ntkrs.gram(KERNEL, X, tmp_path / "first.npy")  # with all imports
    found, stopped = until_done(lambda: ntkrs.gram(KERNEL, X, path, band_bytes=2**18))
    assert stopped > 0
    assert np.array_equal(np.asarray(found), KERNEL(X))
    assert sorted(file.name for file in tmp_path.iterdir()) == [*("K.npy", "K.npy.json", "first.npy", "first.npy.json")]


def test_a_solution_is_continued_from_its_checkpoint(tmp_path):
    matrix, y = KERNEL(X), np.sin(X[:, 0])
    options = {"method": "pcg", "diag_reg": 1e-6, "rank": 5, "tolerance": 1e-9}
    expected = ntkrs.solve(matrix, y, **options)
    found, stopped = until_done(lambda: ntkrs.solve(matrix, y, **options, checkpoint=tmp_path / "solution"))
    assert stopped > 0
    assert np.array_equal(found.alpha, expected.alpha)
