"""Files that take their name once they are complete: several writers, crashes, links and permissions."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import ntkrs
from ntkrs._runtime import files
from ntkrs._runtime.files import replaced

posix = pytest.mark.skipif(os.name != "posix", reason="locks, links and permissions are those of POSIX")

#: The content of a writer: its number, many times. A file of two writers holds two of them.
LENGTH = 200_000


def write(path, value, pieces=20):
    with replaced(path) as file:
        for _ in range(pieces):
            file.write(bytes([value]) * (LENGTH * (1 + value) // pieces))


def is_whole(content):
    return len(content) == LENGTH * (1 + content[0]) and len(set(content)) == 1


@posix
def test_readers_see_whole_files_while_threads_write(tmp_path):
    path, failures = tmp_path / "file", []

    def work(value):
        try:
            for _ in range(10):
                write(path, value)
        except OSError as error:
            failures.append(error)

    write(path, 0)
    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert is_whole(path.read_bytes())
    assert failures == []
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_readers_see_whole_files_while_processes_write(tmp_path):
    path = tmp_path / "file"
    write(path, 0)
    code = f"""
import pathlib, sys
from ntkrs._runtime.files import replaced
value = int(sys.argv[2])
for _ in range(20):
    with replaced(pathlib.Path(sys.argv[1])) as file:
        file.write(bytes([value]) * ({LENGTH} * (1 + value)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(value)], env=environment) for value in range(3)
    ]
    while any(writer.poll() is None for writer in writers):
        assert is_whole(path.read_bytes())
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_killed_writer_leaves_the_old_file_and_no_obstacle(tmp_path):
    path = tmp_path / "file"
    write(path, 1)
    child = os.fork()
    if not child:
        with replaced(path) as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert is_whole(path.read_bytes())
    write(path, 2)
    assert path.read_bytes()[0] == 2
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_writer_that_does_not_end_is_named(tmp_path, monkeypatch):
    path = tmp_path / "file"
    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    with replaced(path) as file:
        with pytest.raises(BlockingIOError, match=r"another process is writing this file.*file\.new"):
            write(path, 1)
        file.write(b"first")
    assert path.read_bytes() == b"first"


@posix
def test_ctrl_c_ends_the_wait_for_another_writer(tmp_path):
    path = tmp_path / "file"
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with replaced(path), pytest.raises(KeyboardInterrupt):
        write(path, 1)
    assert time.monotonic() - start < 20


@posix
def test_an_error_leaves_the_file_of_the_next_writer(tmp_path, monkeypatch):
    """An exception after the file has its name, when another writer has begun: that one's file stays."""
    path, replace = tmp_path / "file", type(tmp_path).replace

    def interrupted(source, target):
        replace(source, target)
        source.write_bytes(b"of the next writer")
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tmp_path), "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, 1)
    assert is_whole(path.read_bytes())
    assert (tmp_path / "file.new").read_bytes() == b"of the next writer"


def test_an_error_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file"
    write(path, 1)
    with pytest.raises(TypeError), replaced(path) as file:
        file.write("text")
    assert is_whole(path.read_bytes())
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_private_file_stays_private(tmp_path):
    path = tmp_path / "file"
    write(path, 1)
    path.chmod(0o600)
    write(path, 2)
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path):
    """In a folder that others may write to, somebody could lead the writer to any file of its user."""
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "file.new").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"file\.new"):
        write(tmp_path / "file", 1)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_an_unfinished_matrix_is_not_touched(tmp_path):
    """Its name ends in ``.partial``."""
    (tmp_path / "K.npy.partial").write_bytes(b"unfinished")
    write(tmp_path / "K.npy", 1)
    assert (tmp_path / "K.npy.partial").read_bytes() == b"unfinished"


@posix
@pytest.mark.parametrize("required", [True, False])
def test_a_locked_file_is_told(tmp_path, required):
    path = tmp_path / "file"
    with path.open("wb") as first, path.open("wb") as second:
        assert files.lock(first.fileno(), path, required=required)
        assert not files.lock(second.fileno(), path, required=required)
        first.close()
        assert files.lock(second.fileno(), path, required=required)


class TestWithoutLocks:
    """A file system, or a Python, without locks: files are written as they come, and kernel matrices are refused."""

    @pytest.fixture(params=[OSError(errno.ENOLCK, "no locks"), OSError(errno.EINVAL, ""), ImportError()], ids=repr)
    def take_locks(self, request, monkeypatch):
        """Return a function that takes all locks away."""

        def fail(_):
            raise request.param

        return lambda: monkeypatch.setattr(files, "_lock_at_once", fail)

    def test_a_file_is_written(self, tmp_path, take_locks):
        path = tmp_path / "file"
        take_locks()
        write(path, 1)
        assert is_whole(path.read_bytes())
        assert list(tmp_path.iterdir()) == [path]

    def test_a_kernel_matrix_is_refused_and_leaves_nothing(self, tmp_path, take_locks):
        take_locks()
        with pytest.raises(OSError, match=r"the file system has no locks.* choose a path on another one.*K\.npy"):
            ntkrs.gram(ntkrs.mlp(1, 1, 1).kernel(), np.eye(3), tmp_path / "K.npy")
        assert list(tmp_path.iterdir()) == []

    def test_a_finished_matrix_is_read(self, tmp_path, take_locks):
        kernel, path = ntkrs.mlp(1, 1, 1).kernel(), tmp_path / "K.npy"
        whole = np.asarray(ntkrs.gram(kernel, np.eye(3), path))
        (tmp_path / "K.npy.journal").touch()  # of a call that a crash ended, when there were locks
        take_locks()
        assert np.array_equal(np.asarray(ntkrs.gram(kernel, np.eye(3), path)), whole)
