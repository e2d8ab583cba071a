"""The command line with closed, full and unread streams, other encodings, and environments with which no call works."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import ntkrs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the streams are closed and read by a shell of POSIX")

N = 30


@pytest.fixture
def folder(tmp_path):
    x = np.random.default_rng(0).standard_normal((N, 5))
    np.save(tmp_path / "X.npy", x)
    np.save(tmp_path / "y.npy", x[:, 0])
    np.save(tmp_path / "K.npy", ntkrs.mlp(2, 1, 1).kernel()(x))
    return tmp_path


def ran(command, folder, **environment):
    """Run a line of a shell, in which ``ntkrs`` is this package, without Python's own buffering settings."""
    paths = [path for path in sys.path if path]
    others = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", command.replace("ntkrs", f"{sys.executable} -m ntkrs", 1)],  # noqa: S607
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
        cwd=folder,
        env={**others, "PYTHONPATH": os.pathsep.join(paths), **environment},
    )


KERNEL = "ntkrs kernel X.npy --out out.npy"
UNCONVERGED = "ntkrs solve K.npy y.npy --out out.npy --method pcg --max-iterations 1 --rank 1 --tolerance 1e-14"


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_result(closed, folder):
    assert ran(f"{UNCONVERGED} {closed}", folder).returncode == 0
    assert np.load(folder / "out.npy").shape == (N,)


def test_matrices_are_written_with_closed_streams(folder):
    assert ran(f"{KERNEL} <&- >&- 2>&-", folder).returncode == 0
    assert ntkrs.open_gram(folder / "out.npy", verify=True).shape == (N, N)


def test_what_is_told_to_a_closed_stream_is_not_printed_to_the_other(folder):
    found = ran("ntkrs kernel nowhere.npy --out out.npy 2>&-", folder)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")


@pytest.mark.parametrize(
    ("command", "unbuffered"), [("ntkrs versions", "1"), ("ntkrs --help", ""), ("ntkrs.bench --list", ""), (KERNEL, "")]
)
def test_a_reader_that_has_gone_is_no_error(command, unbuffered, folder):
    """The status is that of a program that SIGPIPE ended."""
    found = ran(f"{command} | true; exit ${{PIPESTATUS[0]}}", folder, PYTHONUNBUFFERED=unbuffered)
    assert (found.returncode, found.stderr) == (141, "")
    if "--out" in command:
        assert (folder / "out.npy").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device here")  # noqa: PTH110
@pytest.mark.parametrize(("command", "unbuffered"), [("ntkrs versions", "1"), ("ntkrs --help", ""), (KERNEL, "")])
def test_a_full_disk_is_told_in_one_line(command, unbuffered, folder):
    found = ran(f"{command} > /dev/full", folder, PYTHONUNBUFFERED=unbuffered)
    assert (found.returncode, found.stderr) == (1, "ntkrs: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("name", [b"K\xc3\xbc.npy", b"K\xff.npy"])
def test_names_that_the_terminal_cannot_show_cost_no_result(name, folder):
    command = os.fsdecode(b"ntkrs kernel X.npy --out " + name)
    found = ran(command, folder, PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C.UTF-8")
    assert found.returncode == 0, found.stderr
    assert f"{N} x {N}" in found.stdout
    assert os.fsencode(folder / os.fsdecode(name)) in [os.fsencode(path) for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("ntkrs versions", "NTKRS_NUM_THREADS", "two"),
        ("ntkrs demo", "NTKRS_ISA", "avx99"),
        ("ntkrs.bench --quick", "NTKRS_NUM_THREADS", "-1"),
        (KERNEL, "NTKRS_ISA", "avx99"),
    ],
)
def test_an_environment_with_which_no_call_works_is_told_in_one_line(command, name, value, folder):
    found = ran(command, folder, **{name: value})
    assert found.returncode == 1
    assert found.stderr.startswith(f'ntkrs: the environment variable {name} is "{value}"')
    assert len(found.stderr.splitlines()) == 1


def test_help_needs_no_environment(folder):
    assert ran("ntkrs --help", folder, NTKRS_NUM_THREADS="two").returncode == 0


def test_the_folder_of_figures_is_looked_for_before_the_work(folder):
    found = ran("ntkrs.bench --json nowhere/figures.json", folder)
    assert found.returncode == 1
    assert found.stderr.startswith("ntkrs: --json is 'nowhere/figures.json', but there is no folder 'nowhere'")
    assert found.stdout == ""


@pytest.mark.parametrize("module", ["ntkrs.bench", "ntkrs"])
def test_ctrl_c_ends_the_benchmarks_without_a_traceback(module, folder):
    command = [sys.executable, "-m", module, *["bench"] * (module == "ntkrs"), "--quick"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams) as process:
        while "measured:" not in process.stdout.readline():  # the first side runs
            assert process.poll() is None
        time.sleep(0.7)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the sides hear of it too
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "ntkrs: interrupted"
    assert "Traceback" not in told


def test_ctrl_c_while_modules_are_loaded_shows_no_traceback(folder):
    code = """
import os, runpy, signal, sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "ntkrs.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
sys.argv = ["ntkrs", "versions"]
runpy.run_module("ntkrs", run_name="__main__")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (-signal.SIGINT, "")
