"""Forks and Ctrl-C while a kernel matrix is written: children neither hang nor hold the files, and no lock stays."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import ntkrs
from ntkrs.storage import files, writing

#: Seconds after which a child counts as stuck.
WATCHDOG_S = 30

#: A size of bands that makes some ten of them.
BAND_BYTES = 75_000

KERNEL = ntkrs.mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()
X = np.random.default_rng(0).standard_normal((300, 5))

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def gram(path, progress=None):
    return ntkrs.gram(KERNEL, X, path, band_bytes=BAND_BYTES, progress=progress)


def is_right(matrix):
    return np.array_equal(np.asarray(matrix), KERNEL(X))


def forked(work):
    """Return the id of a child whose exit status is what ``work`` returns, or 99 after an exception."""
    child = os.fork()
    if not child:
        status = 99
        try:
            signal.alarm(WATCHDOG_S)
            status = int(work())
        finally:
            os._exit(status)
    return child


def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_does_not_wait_for_a_thread_of_its_parent(tmp_path, monkeypatch):
    """The call was interrupted while a band was written, and a thread of the parent is still closing the files."""
    synchronize = files.synchronize

    def slow(file, **how):
        if how:
            time.sleep(0.5)
        synchronize(file, **how)

    def stop(done, _):
        if done >= 60:
            raise KeyboardInterrupt

    def work():
        with contextlib.suppress(BlockingIOError):
            gram(tmp_path / "K.npy")
        return 7

    monkeypatch.setattr(files, "synchronize", slow)
    with pytest.raises(KeyboardInterrupt):
        gram(tmp_path / "K.npy", progress=stop)
    assert status(forked(work)) == 7
    monkeypatch.undo()
    assert is_right(gram(tmp_path / "K.npy"))


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    children = []

    def fork_and_stop(done, _):
        if done >= 60:
            children.append(forked(lambda: time.sleep(WATCHDOG_S)))
            raise LookupError

    try:
        with pytest.raises(LookupError):
            gram(tmp_path / "K.npy", progress=fork_and_stop)
        end = time.monotonic() + WATCHDOG_S / 2
        while time.monotonic() < end:  # the last band is written in the background
            with contextlib.suppress(BlockingIOError):
                assert is_right(gram(tmp_path / "K.npy"))
                return
        pytest.fail("the child holds the lock")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise ValueError"])
def test_a_child_that_leaves_the_callback_does_no_harm(ending, tmp_path):
    code = f"""
import os, sys, warnings, numpy, ntkrs
warnings.simplefilter("ignore")
from ntkrs.storage import files
X, children = numpy.random.default_rng(0).standard_normal((300, 5)), []
kernel = ntkrs.mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()
def progress(done, total):
    if done >= 60 and not children:
        children.append(os.fork())
        if not children[0]:
            {ending}
        elif children[0]:
            child = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
            print(child, flush=True)
K = ntkrs.gram(kernel, X, sys.argv[1], band_bytes={BAND_BYTES}, progress=progress)
assert numpy.array_equal(numpy.asarray(K), kernel(X))
print("parent")
"""
    command = [sys.executable, "-c", code, str(tmp_path / "K.npy")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WATCHDOG_S, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["3" if "exit" in ending else "1", "parent"]
    assert ("RuntimeError: this process was forked while its parent was writing" in run.stderr) == (ending == "pass")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["K.npy", "K.npy.json"]


class TestCtrlC:
    """Python raises KeyboardInterrupt between any two calls: here after a chosen one."""

    def interrupted(self, path):
        with pytest.raises(KeyboardInterrupt):
            gram(path)

    @pytest.mark.parametrize("index", range(2))
    def test_while_files_are_closed(self, index, tmp_path, monkeypatch):
        """No file is closed twice, and no lock stays."""
        calls = []

        class Interrupted(io.FileIO):
            def close(self):
                if not self.closed:
                    super().close()
                    calls.append(self.name)
                    if len(calls) == index + 1:
                        raise KeyboardInterrupt

        def held(path, flags):
            return Interrupted(path, "r+b", opener=lambda name, _: os.open(name, flags, 0o666))

        with monkeypatch.context() as patch:
            patch.setattr(files, "held", held)
            self.interrupted(tmp_path / "K.npy")
        assert is_right(gram(tmp_path / "K.npy"))
        assert sorted(file.name for file in tmp_path.iterdir()) == ["K.npy", "K.npy.json"]

    def test_while_the_files_of_the_call_before_are_closed(self, tmp_path, monkeypatch):
        """The third call waits for the writing thread of the first one, for which the second one had not the time."""
        write = files.write

        def slow(*arguments):
            time.sleep(0.2)
            write(*arguments)

        def stop(done, _):
            if done >= 60:
                raise KeyboardInterrupt

        def interrupted(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(files, "write", slow)
        with pytest.raises(KeyboardInterrupt):
            gram(tmp_path / "K.npy", stop)
        with monkeypatch.context() as patch:
            patch.setattr(writing, "wait", interrupted)
            self.interrupted(tmp_path / "K.npy")
        monkeypatch.setattr(files, "write", write)
        assert is_right(gram(tmp_path / "K.npy"))

    @pytest.mark.parametrize("index", range(3))
    def test_while_a_band_is_given_to_the_writing_thread(self, index, tmp_path, monkeypatch):
        """The file is not closed before the band is written: another file may have got its number by then."""
        write, failures, calls = files.write, [], []

        def slow(*arguments):
            time.sleep(0.1)
            try:
                write(*arguments)
            except OSError as error:
                failures.append(error)

        class Interrupted(writing.ThreadPoolExecutor):
            def submit(self, *arguments):
                super().submit(*arguments)
                calls.append(arguments)
                if len(calls) == index + 1:
                    raise KeyboardInterrupt
                return super().submit(int)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write", slow)
            patch.setattr(writing, "ThreadPoolExecutor", Interrupted)
            self.interrupted(tmp_path / "K.npy")
            time.sleep(0.5)
        assert failures == []
        assert is_right(gram(tmp_path / "K.npy"))
