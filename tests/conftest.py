"""Fixtures that several test files share."""

import signal
from pathlib import Path

import numpy as np
import pytest

import ntkrs
from ntkrs._checks import memory

#: Real data sets, if they stand beside the checkout.
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_report_header():
    state = "present" if SHARED_DATA.is_dir() else "absent: the tests on real data are skipped, and say so"
    return f"real data in ../shared/data: {state}"


@pytest.fixture
def uci():
    """Return a function from the name of a UCI data set to its (N, d) features."""

    def load(name):
        path = SHARED_DATA / "uci" / name / f"{name}_R.dat"
        if not path.is_file():
            pytest.skip(f"real data are absent: ../shared/data/uci/{name}")
        return np.loadtxt(path, skiprows=1)[:, 1:-1]

    return load


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard():
    """Let SIGINT raise KeyboardInterrupt, here and in child processes, even if the tests were started with it ignored.

    Shells do so for jobs in the background, and children inherit it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _same_threads_after():
    """Restore the number of threads after the test."""
    before = ntkrs.get_num_threads()
    yield
    ntkrs.set_num_threads(before)


@pytest.fixture
def limit_memory(monkeypatch):
    """Return a function that sets the number of bytes available, which small arrays are checked against too."""

    def to(count):
        monkeypatch.setattr(memory, "available", lambda: count)
        monkeypatch.setattr(memory, "_SMALL", 0)

    return to


@pytest.fixture
def poisoned():
    """Return a function that makes output arrays full of NaN."""
    return lambda shape, dtype=np.float64: np.full(shape, np.nan, dtype)
