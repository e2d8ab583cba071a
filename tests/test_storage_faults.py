"""Faults of files: killed writers, torn journals, damaged files, full disks, two writers, interrupts."""

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import ntkrs
from ntkrs._runtime.files import lock
from ntkrs.storage import files, writing

#: Seconds after which a child process counts as stuck.
WATCHDOG_S = 60

#: The order of the matrices, and a size of bands that makes some ten of them.
N, BAND_BYTES = 300, 75_000

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9, resource limits and signals are those of POSIX")


def kernel_of(depth=2):
    return ntkrs.mlp(depth, 1, 1, "relu", 1.4, 0.1).kernel()


def inputs(n=N):
    return np.random.default_rng(0).standard_normal((n, 5))


def gram(path, **arguments):
    return ntkrs.gram(kernel_of(), inputs(), path, **{"band_bytes": BAND_BYTES, **arguments})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the bytes of the finished file and of the one beside it."""
    path = tmp_path_factory.mktemp("whole") / "K.npy"
    gram(path)
    return contents(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "K.npy"


def contents(path):
    return path.read_bytes(), path.with_name("K.npy.json").read_bytes()


def names(path):
    return sorted(file.name for file in path.parent.iterdir())


def finished(journal):
    """Return the number of rows that the lines of a journal name."""
    *_, last = [line.split() for line in journal.read_text().splitlines()[1:]] or [["0", "0"]]
    return int(last[1])


def child(path, body, *, n=N, limit=""):
    """Start a process that writes the matrix, and calls ``body`` with each report of progress."""
    script = f"""
        import os, resource, signal, sys, time
        import numpy as np, ntkrs
        {limit}
        def report(done, total):
            {body}
        X = np.random.default_rng(0).standard_normal(({n}, 5))
        kernel = ntkrs.mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()
        ntkrs.gram(kernel, X, sys.argv[1], band_bytes={BAND_BYTES}, progress=report)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NTKRS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def interrupted(path, after):
    """Write the file until ``after`` rows are reported, and raise KeyboardInterrupt there."""

    def stop(done, _):
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gram(path, progress=stop)
    wait_for_writer(path)


def wait_for_writer(path):
    """Wait until the thread that writes the last band has closed the files."""
    end = time.monotonic() + WATCHDOG_S
    while time.monotonic() < end:
        with files.opened(path.with_name("K.npy.journal"), files.WRITE) as file:
            if lock(file, path, required=True):
                return
        time.sleep(0.01)
    pytest.fail("the files stay locked")


class TestKilledWriters:
    @pytest.mark.parametrize("after", [1, 80, 149])
    def test_the_next_call_goes_on_and_ends_with_the_same_bytes(self, after, path, whole):
        process = child(path, f"done < {after} or os.kill(os.getpid(), signal.SIGKILL)")
        process.communicate(timeout=WATCHDOG_S)
        assert process.returncode == -signal.SIGKILL
        assert names(path) == ["K.npy.journal", "K.npy.partial"]
        before, heard = finished(path.with_name("K.npy.journal")), []
        assert before >= after
        gram(path, progress=lambda done, _: heard.append(done))
        assert contents(path) == whole
        assert names(path) == ["K.npy", "K.npy.json"]
        # Nothing is done twice, and nothing is reported before a band of this call is finished.
        assert before == 150 or heard[0] > before

    def test_at_any_time(self, path, whole):
        rng = np.random.default_rng(0)
        for _ in range(2):
            process = child(path, "print(done, flush=True); time.sleep(0.01)")
            process.stdout.readline()  # the first band
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
            process.communicate(timeout=WATCHDOG_S)
        gram(path, band_bytes=33_333)
        assert contents(path) == whole

    def test_before_the_header_is_written(self, path, whole, monkeypatch):
        """The partial file has its size by then, so its size does not tell that the header is missing."""

        class Crash(BaseException):
            pass

        write = files.write

        def crash(file, source, offset):
            if offset == 0 and bytes(source[1:6]) == b"NUMPY":
                raise Crash
            write(file, source, offset)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write", crash)
            with pytest.raises(Crash):
                gram(path)
        assert names(path) == ["K.npy.journal", "K.npy.partial"]
        gram(path)
        assert contents(path) == whole

    def test_rows_are_not_computed_twice(self, path, monkeypatch):
        interrupted(path, 60)
        before, rows = finished(path.with_name("K.npy.journal")), []
        fill = ntkrs.storage.layout.Packed.fill

        def counted(self, band, start, block):
            rows.extend(range(start, start + len(band)))
            fill(self, band, start, block)

        monkeypatch.setattr("ntkrs.storage.layout.Packed.fill", counted)
        gram(path)
        assert rows == list(range(before, 150))

    @pytest.mark.parametrize("place", ["_tidy", "finish"])
    def test_before_the_journal_is_deleted(self, place, path, whole, monkeypatch):
        """A crash at the end leaves the journal beside the finished file, or beside the last partial one."""

        class Crash(BaseException):
            pass

        def crash(*_):
            raise Crash

        owner, target = (files, "synchronize_names") if place == "_tidy" else (writing, "replaced")
        with monkeypatch.context() as patch:
            real, calls = getattr(owner, target), []

            def fails(*arguments):
                calls.append(arguments)
                if place == "finish" or path.exists():
                    crash()
                real(*arguments)

            patch.setattr(owner, target, fails)
            with pytest.raises(Crash):
                gram(path)
        assert "K.npy.journal" in names(path)
        gram(path)
        assert contents(path) == whole
        assert names(path) == ["K.npy", "K.npy.json"]


class TestJournals:
    def test_a_line_is_never_ahead_of_its_rows(self, path, monkeypatch):
        """Rows are written, then on the disk, before their lines are written; these are on the disk before a report."""
        calls, write, synchronize = [], files.write, files.synchronize

        def place(file):
            return Path(f"/proc/self/fd/{file}").readlink().suffix

        def wrote(file, source, offset):
            calls.append(("write", place(file)))
            write(file, source, offset)

        def synchronized(file, **how):
            synchronize(file, **how)
            calls.append(("synchronize", place(file)))

        if not Path("/proc/self/fd").is_dir():
            pytest.skip("the names of open files cannot be read here")
        monkeypatch.setattr(files, "write", wrote)
        monkeypatch.setattr(files, "synchronize", synchronized)
        gram(path, progress=lambda *_: calls.append(("report", "")))
        bands = [call for call in calls if call != ("report", "")][5:]  # after the identity, the header, and its bytes
        count = calls.count(("report", ""))
        assert count > 3
        one = [("write", ".partial"), ("synchronize", ".partial"), ("write", ".journal"), ("synchronize", ".journal")]
        assert bands[: 4 * count] == count * one

    @pytest.mark.parametrize(
        "torn",
        ["1", "60 61", "60 61 123", "60 61 12x\n", "70 71 5\n", f"60 {'9' * 5000} 1\n", "nonsense\n\n", "\x00\x00"],
    )
    def test_a_torn_end_does_not_count(self, torn, path, whole):
        interrupted(path, 60)
        journal = path.with_name("K.npy.journal")
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(lines[:61]) + torn)
        gram(path)
        assert contents(path) == whole

    def test_a_torn_last_line_does_not_count(self, path, whole):
        interrupted(path, 60)
        journal = path.with_name("K.npy.journal")
        journal.write_text(journal.read_text()[:-4])
        gram(path)
        assert contents(path) == whole

    def test_the_last_part_is_read_back(self, path, whole):
        interrupted(path, 60)
        partial, stop = path.with_name("K.npy.partial"), finished(path.with_name("K.npy.journal"))
        data = bytearray(partial.read_bytes())
        header = len(data) - 150 * 301 * 8
        data[header + (stop - 1) * 301 * 8 + 5] ^= 1
        partial.write_bytes(data)
        gram(path)
        assert contents(path) == whole

    @pytest.mark.parametrize("size", [0, 1000])
    def test_a_truncated_partial_file_is_begun_again(self, size, path, whole):
        interrupted(path, 60)
        os.truncate(path.with_name("K.npy.partial"), size)
        gram(path)
        assert contents(path) == whole

    def test_a_missing_partial_file_is_begun_again(self, path, whole):
        interrupted(path, 60)
        path.with_name("K.npy.partial").unlink()
        gram(path)
        assert contents(path) == whole


class TestRefusals:
    def test_another_matrix_at_the_path(self, path):
        gram(path)
        before = contents(path)
        others = [
            ((kernel_of(3), inputs()), {}, "the kernel"),
            ((kernel_of(), inputs() + 1), {}, "X"),
            ((kernel_of(), inputs(299)), {}, "N, X"),
            ((kernel_of(), inputs().astype(np.float32)), {}, "the dtype, X"),
            ((kernel_of(), inputs()), {"get": "nngp"}, "get"),
            ((kernel_of(), inputs()), {"packed": False}, "packed"),
        ]
        for arguments, options, difference in others:
            with pytest.raises(
                ValueError, match=rf"K\.npy holds another .* differs in {difference}\. .*overwrite=True"
            ):
                ntkrs.gram(*arguments, path, **options)
        assert contents(path) == before
        assert names(path) == ["K.npy", "K.npy.json"]
        assert np.array_equal(np.asarray(gram(path, packed=False, overwrite=True)), kernel_of()(inputs()))

    def test_an_unfinished_other_matrix(self, path, whole):
        interrupted(path, 60)
        before = path.with_name("K.npy.journal").read_bytes()
        with pytest.raises(ValueError, match=r"K\.npy holds an unfinished .* differs in the kernel\. .*overwrite=True"):
            ntkrs.gram(kernel_of(3), inputs(), path)
        assert path.with_name("K.npy.journal").read_bytes() == before
        assert np.array_equal(
            np.asarray(ntkrs.gram(kernel_of(3), inputs(), path, overwrite=True)), kernel_of(3)(inputs())
        )
        gram(path, overwrite=True)
        assert contents(path) == whole

    def test_a_file_begun_with_another_instruction_set(self, path):
        interrupted(path, 60)
        journal = path.with_name("K.npy.journal")
        isa = ntkrs._core.isa()
        journal.write_text(journal.read_text().replace(f'"isa": "{isa}"', '"isa": "other"'))
        with pytest.raises(ValueError, match=r"differs in the instruction set\. Set NTKRS_ISA=other .*overwrite=True"):
            gram(path)

    def test_files_that_are_not_ours(self, path):
        np.save(path, np.eye(3))
        with pytest.raises(ValueError, match=r"K\.npy exists, but ntkrs\.gram did not write it.*overwrite=True"):
            gram(path)
        assert names(path) == ["K.npy"]
        gram(path, overwrite=True)
        assert names(path) == ["K.npy", "K.npy.json"]

    def test_a_partial_file_without_its_journal(self, path):
        path.with_name("K.npy.partial").write_bytes(b"something")
        with pytest.raises(ValueError, match=r"K\.npy\.partial exists without its journal.*overwrite=True"):
            gram(path)
        assert names(path) == ["K.npy.partial"]
        gram(path, overwrite=True)

    def test_the_old_file_stays_until_the_new_one_is_finished(self, path, whole):
        ntkrs.gram(kernel_of(3), inputs(), path)
        old = contents(path)

        def look(done, _):
            assert contents(path) == old
            if done > 60:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            gram(path, overwrite=True, progress=look)
        wait_for_writer(path)
        assert contents(path) == old
        gram(path, overwrite=True)
        assert contents(path) == whole

    def test_a_missing_folder_is_named(self, path):
        with pytest.raises(FileNotFoundError, match="missing"):
            gram(path.parent / "missing" / "K.npy")


class TestDamage:
    def test_a_flipped_bit_is_found(self, path):
        gram(path)
        data = bytearray(path.read_bytes())
        data[-1234] ^= 4
        path.write_bytes(data)
        ntkrs.open_gram(path)
        with pytest.raises(ValueError, match=r"K\.npy is damaged: rows \d+ to \d+ .* checksum.*overwrite=True"):
            ntkrs.open_gram(path, verify=True)
        gram(path, overwrite=True)
        ntkrs.open_gram(path, verify=True)

    def test_a_truncated_file_is_an_error_also_while_it_is_open(self, path):
        found = gram(path)
        os.truncate(path, path.stat().st_size - 8)
        for call in (lambda: found @ np.ones(N), lambda: np.asarray(found), lambda: found.columns([3]), found.diagonal):
            with pytest.raises(OSError, match="truncated"):
                call()
        with pytest.raises(OSError, match="truncated"):
            ntkrs.open_gram(path)


class TestFullDisks:
    def test_a_limit_on_the_size_of_files(self, path):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011  the number tells it
                gram(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.errno == errno.EFBIG
        assert str(path) in str(caught.value)
        assert names(path) == []

    def test_a_full_file_system(self, path, monkeypatch):
        """A real one is tried where this process may mount one; otherwise the call of the system is replaced."""
        small = path.parent / "small"
        small.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        if not mounted:

            def full(*_):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(os, "posix_fallocate", full)
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011  the number tells it
                gram(small / "K.npy")
            assert caught.value.errno == errno.ENOSPC
            assert list(small.iterdir()) == []
        finally:
            if mounted:
                subprocess.run(["umount", str(small)], check=True)  # noqa: S607

    def test_an_error_in_the_middle_keeps_finished_rows(self, path, whole, monkeypatch):
        real = files.write

        def fails(file, source, offset):
            if offset > 150_000:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(file, source, offset)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write", fails)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                gram(path)
        assert 0 < finished(path.with_name("K.npy.journal")) < 150
        gram(path)
        assert contents(path) == whole


class TestTwoWriters:
    def test_the_second_one_is_refused(self, path, whole):
        def second(*_):
            with pytest.raises(BlockingIOError, match=r"another call is writing .*K\.npy"):
                gram(path)

        gram(path, progress=second)
        assert contents(path) == whole

    def test_so_is_another_process(self, path, whole):
        def second(*_):
            if not heard:
                process = child(path, "pass")
                heard.append(process.communicate(timeout=WATCHDOG_S)[1])

        heard = []
        gram(path, progress=second)
        assert "BlockingIOError" in heard[0]
        assert contents(path) == whole


class TestInterrupts:
    def test_a_callback_that_raises_leaves_a_file_to_go_on_with(self, path, whole):
        def fails(done, _):
            if done > 40:
                raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            gram(path, progress=fails)
        gram(path)  # at once: the call waits for the writing thread of the one before
        assert contents(path) == whole

    def test_ctrl_c_ends_a_call_and_the_next_one_goes_on(self, path):
        process = child(path, "print(done, flush=True)", n=6000)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WATCHDOG_S)
        assert "KeyboardInterrupt" in errors
        assert names(path) == ["K.npy.journal", "K.npy.partial"]
        before = finished(path.with_name("K.npy.journal"))
        assert 0 < before < 3000
        heard = []
        x = np.random.default_rng(0).standard_normal((6000, 5))
        ntkrs.gram(kernel_of(), x, path, progress=lambda done, _: heard.append(done))
        assert heard[0] > before

    def test_ctrl_c_ends_a_product(self, path):
        found = ntkrs.gram(kernel_of(), np.random.default_rng(0).standard_normal((4000, 5)), path)
        vectors, alarm = np.ones((4000, 4000)), signal.getsignal(signal.SIGALRM)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                found @ vectors
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        assert (found @ np.ones(4000)).shape == (4000,)


def test_systems_without_these_calls_write_the_same_file(path, whole, monkeypatch):
    """macOS reserves no room, and Windows reads and writes at the place of a seek."""
    for name in ("posix_fallocate", "fdatasync", "preadv", "pwrite"):
        monkeypatch.delattr(os, name, raising=False)
    interrupted(path, 60)
    found = gram(path)
    assert contents(path) == whole
    assert np.array_equal(np.asarray(found), kernel_of()(inputs()))
    assert Path(found.path) == path
