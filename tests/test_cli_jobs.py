"""Commands on users' files: results, resuming after an interruption, one-line errors and warnings."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import ntkrs
from ntkrs import cli

KERNEL = ntkrs.mlp(2, 1, 1, "relu", sigma_w=2**0.5).kernel()


@pytest.fixture
def files(tmp_path):
    """Write a kernel of 60 rows and labels, and return their names and arrays."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 5)), rng.standard_normal((60, 2))
    k = KERNEL(x)
    np.save(tmp_path / "K.npy", k)
    np.save(tmp_path / "y.npy", y)
    return tmp_path, k, y


def solve(folder, *options):
    """Run ``ntkrs solve`` on the files of a folder."""
    names = [str(folder / name) for name in ("K.npy", "y.npy")]
    return cli.main(["solve", *names, "--out", str(folder / "alpha.npy"), *options])


@pytest.mark.parametrize("method", ["auto", "cholesky", "pcg"])
def test_solve_writes_the_solution_alone(method, files, capsys):
    folder, k, y = files
    assert solve(folder, "--diag-reg", "0.01", "--method", method, "--tolerance", "1e-10", "--rank", "10") == 0
    out, err = capsys.readouterr()
    assert err == ""  # no bar when piped
    assert "alpha (60, 2), converged" in out
    assert ("pcg" if method == "pcg" else "cholesky") in out
    expected = np.linalg.solve(k + 0.01 * k.trace() / 60 * np.eye(60), y)
    np.testing.assert_allclose(np.load(folder / "alpha.npy"), expected, rtol=0, atol=1e-7)  # condition below 1e3
    assert {path.name for path in folder.iterdir()} == {"K.npy", "y.npy", "alpha.npy"}


def test_solve_keeps_results_unless_told_otherwise(files, capsys):
    folder, _, _ = files
    assert solve(folder, "--diag-reg", "0.01") == 0
    assert solve(folder, "--diag-reg", "0.1") == 1
    assert "alpha.npy exists. Pass --overwrite to replace it." in capsys.readouterr().err
    first = np.load(folder / "alpha.npy")
    assert solve(folder, "--diag-reg", "0.1", "--overwrite") == 0
    assert not np.array_equal(np.load(folder / "alpha.npy"), first)


@pytest.mark.parametrize("command", ["kernel", "solve"])
def test_inputs_are_not_overwritten(command, files, capsys):
    folder, k, y = files
    inputs = [str(folder / "K.npy"), str(folder / "y.npy")][: 1 if command == "kernel" else 2]
    (folder / "link.npy").symlink_to(inputs[-1])
    for name in (*inputs, str(folder / "link.npy")):
        assert cli.main([command, *inputs, "--out", name, "--overwrite"]) == 1
        assert f"--out is '{name}', an input of this command, which it would replace" in capsys.readouterr().err
    assert np.array_equal(np.load(folder / "K.npy"), k)
    assert np.array_equal(np.load(folder / "y.npy"), y)
    assert {path.name for path in folder.iterdir()} == {"K.npy", "y.npy", "link.npy"}


def test_the_folder_of_the_result_is_looked_for_before_the_work(files, capsys, monkeypatch):
    folder, _, _ = files
    monkeypatch.setattr(ntkrs, "solve", lambda *_, **__: pytest.fail("solved before"))
    for name, told in ((folder / "below" / "a.npy", "there is no folder"), (folder, "a folder, but")):
        assert cli.main(["solve", str(folder / "K.npy"), str(folder / "y.npy"), "--out", str(name)]) == 1
        assert f"--out is '{name}', " in (err := capsys.readouterr().err)
        assert told in err


def test_a_given_checkpoint_stays(files):
    folder, _, _ = files
    assert solve(folder, "--diag-reg", "0.01", "--checkpoint", str(folder / "state")) == 0
    assert {"state", "state.preconditioner"} <= {path.name for path in folder.iterdir()}


def test_a_solution_that_has_not_converged_is_a_warning_line(files, capsys):
    folder, _, _ = files
    assert solve(folder, "--method", "pcg", "--max-iterations", "1", "--rank", "2", "--tolerance", "1e-12") == 0
    out, err = capsys.readouterr()
    assert "not converged" in out
    assert err.startswith("ntkrs: warning: solve reached a residual of")
    assert (folder / "alpha.npy.checkpoint").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--diag-reg", "-1"), "diag_reg is -1.0|diag_reg holds -1"),
        (("--method", "qr"), "method is 'qr'"),
        (("--tolerance", "2"), "tolerance is 2.0"),
        (("--rank", "0"), "rank is 0, but at least 1 is needed"),
    ],
)
def test_refusals_are_one_line(options, message, files, capsys):
    folder, _, _ = files
    assert solve(folder, *options) == 1
    err = capsys.readouterr().err
    assert any(part in err for part in message.split("|")), err
    assert err.startswith("ntkrs: ")
    assert err.count("\n") == 1
    assert not (folder / "alpha.npy").exists()


def test_files_that_are_missing_or_not_arrays_are_named(tmp_path, capsys):
    assert solve(tmp_path) == 1
    assert "K.npy" in capsys.readouterr().err
    np.save(tmp_path / "K.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "y.npy", np.ones(1))
    assert solve(tmp_path) == 1
    assert "K.npy is not a whole .npy file of numbers: Array can't be memory-mapped" in capsys.readouterr().err
    archive, whole = io.BytesIO(), io.BytesIO()
    np.savez(archive, a=np.eye(2))
    np.save(whole, np.eye(9))
    for content in (archive.getvalue(), b"1,2\n3,4\n", b"", whole.getvalue()[:-8]):
        (tmp_path / "K.npy").write_bytes(content)
        assert solve(tmp_path) == 1
        told = capsys.readouterr().err
        assert "K.npy is not a whole .npy file of numbers" in told
        assert "Write one with numpy.save" in told
        assert "pickle" not in told  # no advice to run code of the file
    np.save(tmp_path / "K.npy", np.float64(3.0))
    assert solve(tmp_path) == 1
    assert "K has shape ()" in capsys.readouterr().err


def test_an_interrupted_solution_continues(files, monkeypatch, capsys):
    folder, _, _ = files
    options = ("--method", "pcg", "--diag-reg", "1e-4", "--rank", "2")
    assert solve(folder, *options) == 0
    expected = np.load(folder / "alpha.npy")
    (folder / "alpha.npy").unlink()
    whole, heard = ntkrs.solve, []

    def interrupted(*arguments, **others):
        def stop(done, _most):
            heard.append(done)
            if done == 5:
                raise KeyboardInterrupt

        return whole(*arguments, **(others | {"progress": stop, "checkpoint_seconds": 0.0}))

    monkeypatch.setattr(ntkrs, "solve", interrupted, raising=False)
    assert solve(folder, *options) == 130
    assert capsys.readouterr().err == "ntkrs: interrupted; the same command continues\n"
    assert (folder / "alpha.npy.checkpoint").exists()
    heard.clear()

    def listening(*arguments, **others):
        return whole(*arguments, **(others | {"progress": lambda done, _most: heard.append(done)}))

    monkeypatch.setattr(ntkrs, "solve", listening)
    assert solve(folder, *options) == 0
    assert heard[0] >= 4
    assert np.array_equal(np.load(folder / "alpha.npy"), expected)
    assert not (folder / "alpha.npy.checkpoint").exists()


@pytest.fixture
def inputs(tmp_path):
    """Write inputs, and return the folder and the array."""
    x = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32)
    np.save(tmp_path / "X.npy", x)
    return tmp_path, x


def kernel(folder, *options):
    """Run ``ntkrs kernel`` on the file of a folder."""
    return cli.main(["kernel", str(folder / "X.npy"), "--out", str(folder / "K.npy"), *options])


@pytest.mark.parametrize("full", [False, True])
def test_kernel_writes_a_file_that_is_opened_and_solved(full, inputs, capsys):
    folder, x = inputs
    options = ["--depth", "2", "--activation", "erf", "--sigma-w", "1.3", "--sigma-b", "0.2", "--get", "nngp"]
    assert kernel(folder, *options, *(["--full"] if full else [])) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "70 x 70, float32" in out
    expected = ntkrs.mlp(2, 1, 1, "erf", 1.3, 0.2).kernel()(x, get="nngp")
    assert np.array_equal(np.asarray(ntkrs.open_gram(folder / "K.npy", verify=True)), expected)
    if full:
        assert np.array_equal(np.load(folder / "K.npy"), expected)
    y = np.random.default_rng(1).standard_normal(70)
    np.save(folder / "y.npy", y)
    assert solve(folder, "--diag-reg", "0.01", "--tolerance", "1e-9") == 0
    k = expected.astype(float)
    alpha = np.linalg.solve(k + 0.01 * k.trace() / 70 * np.eye(70), y)
    np.testing.assert_allclose(np.load(folder / "alpha.npy"), alpha, rtol=0, atol=1e-6 * np.abs(alpha).max())


def test_kernel_has_the_defaults_of_the_help(inputs, capsys):
    folder, x = inputs
    assert kernel(folder) == 0
    expected = ntkrs.mlp(3, 1, 1, "relu", 2**0.5).kernel()(x)
    assert np.array_equal(np.asarray(ntkrs.open_gram(folder / "K.npy")), expected)
    with pytest.raises(SystemExit):
        cli.main(["kernel", "--help"])
    assert "hidden layers (default: 3)" in " ".join(capsys.readouterr().out.split())


def test_an_interrupted_kernel_continues(inputs, monkeypatch, capsys):
    folder, x = inputs
    whole, heard = ntkrs.gram, []

    def interrupted(*arguments, **others):
        def stop(done, total):
            if 0 < done < total:
                raise KeyboardInterrupt

        return whole(*arguments, **(others | {"progress": stop, "band_bytes": 4000}))

    monkeypatch.setattr(ntkrs, "gram", interrupted)
    x = np.random.default_rng(0).standard_normal((600, 5))
    np.save(folder / "X.npy", x)
    assert kernel(folder) == 130
    assert capsys.readouterr().err == "ntkrs: interrupted; the same command continues\n"
    assert (folder / "K.npy.journal").exists()
    np.save(folder / "y.npy", np.ones(600))
    assert solve(folder) == 1
    assert "K.npy is not finished" in capsys.readouterr().err

    def listening(*arguments, **others):
        return whole(*arguments, **(others | {"progress": lambda done, _total: heard.append(done)}))

    monkeypatch.setattr(ntkrs, "gram", listening)
    assert kernel(folder) == 0
    assert min(heard) > 0  # rows that were found done count
    expected = ntkrs.mlp(3, 1, 1, "relu", 2**0.5).kernel()(x)
    assert np.array_equal(np.asarray(ntkrs.open_gram(folder / "K.npy")), expected)


def test_refusals_of_kernels_are_one_line(inputs, capsys):
    folder, _ = inputs
    assert kernel(folder) == 0
    for options, message in [
        (("--depth", "2"), "--overwrite"),
        (("--activation", "rlu"), "activation is 'rlu'"),
        (("--sigma-w", "-1"), "sigma_w is -1.0"),
        (("--get", "both"), "get is 'both'"),
    ]:
        capsys.readouterr()
        assert kernel(folder, *options) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.startswith("ntkrs: ")
        assert err.count("\n") == 1
    assert kernel(folder, "--depth", "2", "--overwrite") == 0
    (folder / "X.npy").unlink()
    assert kernel(folder) == 1
    assert "X.npy" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


def test_the_bar_is_for_terminals():
    seconds = iter([0.0, 0.05, 65.0, 66.0])
    stream = Terminal()
    bar = cli.JobBar(stream, clock=lambda: next(seconds))
    bar(0, 10)
    assert stream.getvalue() == ""  # a twentieth of a second
    bar(5, 10)
    assert stream.getvalue() == f"\r[{'#' * 15}{'-' * 15}] 5/10 1:05 "
    bar.clear()
    assert stream.getvalue().endswith(" \r")
    piped = io.StringIO()
    quiet = cli.JobBar(piped)
    quiet(5, 10)
    quiet.clear()
    assert piped.getvalue() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT between processes on Windows")
def test_ctrl_c_ends_the_command(tmp_path):
    """A kernel that no rank of this preconditioner helps, so that it runs for long."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 40))
    np.save(tmp_path / "K.npy", KERNEL(x))
    np.save(tmp_path / "y.npy", rng.standard_normal((1500, 40)))
    names = [str(tmp_path / name) for name in ("K.npy", "y.npy")]
    command = [sys.executable, "-m", "ntkrs", "solve", *names, "--out", str(tmp_path / "alpha.npy"), "--method", "pcg"]
    slow = [*command, "--rank", "1", "--tolerance", "1e-15", "--max-iterations", "100000"]
    with subprocess.Popen(slow, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "alpha.npy.checkpoint.preconditioner").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in err


@pytest.mark.skipif(os.name != "posix", reason="a map of a truncated file ends a process on POSIX systems")
@pytest.mark.parametrize("command", ["kernel", "solve"])
def test_a_file_that_another_process_truncates_does_not_end_the_command(command, tmp_path):
    code = """
import os, sys, numpy
from ntkrs import cli, gram, solve
def truncated(call):
    def first(*arguments, **options):
        os.truncate("K.npy", 200)
        return call(*arguments, **options)
    return first
cli.ntkrs.gram, cli.ntkrs.solve = truncated(gram), truncated(solve)
x = numpy.random.default_rng(0).standard_normal((400, 400))
numpy.save("K.npy", x @ x.T + 400 * numpy.eye(400))
numpy.save("y.npy", x[:, 0])
files = ["K.npy", *["y.npy"] * (sys.argv[1] == "solve")]
sys.exit(cli.main([sys.argv[1], *files, "--out", "out.npy"]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code, command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out.npy").exists()


@pytest.mark.skipif(os.name != "posix", reason="limits of files are those of POSIX")
def test_a_disk_without_room_is_told_with_the_name_of_the_file(files):
    code = """
import resource, sys
from ntkrs import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
sys.exit(cli.main(sys.argv[1:]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    folder, _, _ = files
    names = [str(folder / name) for name in ("K.npy", "y.npy", "alpha.npy")]
    command = [sys.executable, "-c", code, "solve", *names[:2], "--out", names[2], "--diag-reg", "0.1"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("ntkrs: [Errno 27] File too large: ")
    assert "alpha.npy" in run.stderr
    assert not list(folder.glob("alpha.npy*"))
