"""Checkpoints of ntkrs.solve: the same bits after kill -9 at any iteration, and nothing done twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

import ntkrs

N = 150
X = np.random.default_rng(0).standard_normal((N, 4))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] ** 2], axis=1)
KERNEL = ntkrs.mlp(2, 1, 1, "relu", 2**0.5, 0.1).kernel()
RIDGES = [0.0, 1e-2]
OPTIONS = {"method": "pcg", "rank": 20, "tolerance": 1e-8, "checkpoint_seconds": 0.0}

#: A program that solves the same problem, and dies at the iteration that its argument gives, or earlier.
PROGRAM = """
import os, signal, sys
sys.path.insert(0, os.path.dirname({test!r}))
from test_solve_checkpoint import KERNEL, X, Y, RIDGES, OPTIONS, source
import ntkrs

def progress(done, total):
    print(done, flush=True)
    if done == {death}:
        os.kill(os.getpid(), signal.SIGKILL)

ntkrs.solve(source({name!r}), Y, RIDGES, checkpoint={path!r}, progress=progress, **OPTIONS)
"""


def source(name):
    return {"operator": KERNEL.operator(X), "array": KERNEL(X), "float32": KERNEL(X).astype(np.float32)}[name]


def environment(threads):
    """The environment of a process with a number of threads, in BLAS and in the core."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NTKRS_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(threads))


def run(name, path, death=None, threads=1):
    """Run the program on a number of threads, and return the iterations that it reported."""
    code = PROGRAM.format(test=str(Path(__file__)), name=name, path=str(path), death=death)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment(threads)
    )
    assert run.returncode == (0 if death is None else -signal.SIGKILL), run.stderr
    return [int(line) for line in run.stdout.split()]


def solve(name, path=None, **options):
    return ntkrs.solve(source(name), Y, RIDGES, checkpoint=path, **(OPTIONS | options))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("name", "deaths"), [("operator", (0, 1, 7)), ("array", (7,))])
def test_a_killed_process_continues_to_the_same_bits(name, deaths, tmp_path):
    path = tmp_path / "solution"
    expected = solve(name)
    done = 0
    for death in deaths:
        reported = run(name, path, death, threads=1 + death % 3)
        assert [count for count in reported if count] == list(range(done + 1, death + 1))  # nothing is done twice
        done = death
    assert run(name, path) == list(range(done + 1, expected.iterations + 1))
    found = solve(name, path)
    for field in ("alpha", "residual", "error"):
        assert np.array_equal(getattr(found, field), getattr(expected, field))
    assert (found.iterations, found.products, found.rank) == (expected.iterations, expected.products, expected.rank)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["solution", "solution.preconditioner"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_process_killed_at_any_time_leaves_a_checkpoint_that_loads(tmp_path):
    path, other = tmp_path / "solution", tmp_path / "other"
    code = PROGRAM.format(test=str(Path(__file__)), name="operator", path=str(path), death=None)
    rng = np.random.default_rng()  # other times in each run: the law holds for all
    for _ in range(2):
        # The preconditioner rounds by the threads of BLAS, so they are the same in all processes.
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(1)) as process:
            process.stdout.readline()
            time.sleep(0.05 * rng.random())
            process.kill()
            process.wait()
    run("operator", path)
    run("operator", other)
    assert np.array_equal(solve("operator", path).alpha, solve("operator", other).alpha)


def test_a_finished_solution_returns_at_once(tmp_path):
    path, calls = tmp_path / "solution", []
    first = solve("operator", path)
    again = solve("operator", path, progress=lambda *counts: calls.append(counts))
    assert np.array_equal(first.alpha, again.alpha)
    assert calls == []
    assert again.products == first.products


def test_without_a_checkpoint_the_bits_are_the_same(tmp_path):
    for name in ("operator", "float32"):
        assert np.array_equal(solve(name, tmp_path / name).alpha, solve(name).alpha)
        assert np.array_equal(solve(name, tmp_path / name, checkpoint_seconds=60.0).alpha, solve(name).alpha)


def test_a_callback_that_raises_leaves_a_good_checkpoint(tmp_path):
    def progress(done, total):
        if done == 5:
            raise InterruptedError(done, total)

    path = tmp_path / "solution"
    with pytest.raises(InterruptedError):
        solve("operator", path, progress=progress)
    calls = []
    found = solve("operator", path, progress=lambda done, _: calls.append(done))
    assert calls == list(range(6, found.iterations + 1))
    assert np.array_equal(found.alpha, solve("operator").alpha)


def test_more_iterations_go_on(tmp_path):
    path = tmp_path / "solution"
    with pytest.warns(RuntimeWarning, match="max_iterations=6"):
        few = solve("operator", path, max_iterations=6)
    assert few.iterations == 6
    with pytest.warns(RuntimeWarning, match="max_iterations=6"):
        assert solve("operator", path, max_iterations=6).products == few.products
    found, expected = solve("operator", path), solve("operator")
    assert np.array_equal(found.alpha, expected.alpha)
    assert found.iterations == expected.iterations


def test_restarts_continue_too(tmp_path, monkeypatch):
    """Products in float32 do not reach the tolerance. Here columns are restarted in vain, five times."""
    monkeypatch.setattr("ntkrs.solvers.pcg._GAIN", 1e-9)
    single = source("float32")
    operator = LinearOperator((N, N), matvec=lambda v: single @ np.float32(v), dtype=np.float32)

    def alpha(path, most):
        options = OPTIONS | {
            "tolerance": 1e-7,
            "max_iterations": most,
            "preconditioner": None,
            "checkpoint_seconds": 60.0,
        }
        with pytest.warns(RuntimeWarning, match="solve reached a residual"):
            return ntkrs.solve(operator, Y[:, :1], 0.1, diag_reg_absolute_scale=True, checkpoint=path, **options)

    whole = alpha(tmp_path / "whole", 1000)
    assert np.load(tmp_path / "whole")["restarts"].tolist() == [5]
    for most in range(whole.iterations - 9, whole.iterations, 3):
        alpha(tmp_path / "parts", most)
    parts = alpha(tmp_path / "parts", 1000)
    assert np.array_equal(parts.alpha, whole.alpha)
    assert parts.products == whole.products + 3  # the residuals at the three ends


@pytest.mark.parametrize("name", ["operator", "array"])
def test_another_problem_is_refused(name, tmp_path):
    path = tmp_path / "solution"
    solve(name, path)
    changed = X.copy()
    changed[77, 2] += 1e-9
    k = source(name) if name == "operator" else KERNEL(X)
    others = {
        "K": lambda: ntkrs.solve(
            KERNEL.operator(changed) if name == "operator" else KERNEL(changed), Y, RIDGES, checkpoint=path, **OPTIONS
        ),
        "y": lambda: ntkrs.solve(k, Y[::-1], RIDGES, checkpoint=path, **OPTIONS),
        "y's scale": lambda: ntkrs.solve(k, 2 * Y, RIDGES, checkpoint=path, **OPTIONS),
        "ridges": lambda: ntkrs.solve(k, Y, [0.0, 1e-3], checkpoint=path, **OPTIONS),
        "tolerance": lambda: solve(name, path, tolerance=1e-7),
        "preconditioner": lambda: solve(name, path, preconditioner="nystrom"),
        "rank": lambda: solve(name, path, rank=21),
        "rng": lambda: solve(name, path, rng=1),
        "dtype": lambda: ntkrs.solve(KERNEL(X).astype(np.float32), Y, RIDGES, checkpoint=path, **OPTIONS),
    }
    before = path.read_bytes()
    for other in others.values():
        with pytest.raises(ValueError, match=r"checkpoint .*solution belongs to another problem.*Delete it"):
            other()
    assert path.read_bytes() == before


def test_a_changed_entry_of_an_array_is_another_problem(tmp_path):
    k = KERNEL(X)
    ntkrs.solve(k, Y, checkpoint=tmp_path / "solution", **OPTIONS)
    k[3, 100] = k[100, 3] = k[3, 100] * (1 + 1e-12)
    with pytest.raises(ValueError, match="another problem"):
        ntkrs.solve(k, Y, checkpoint=tmp_path / "solution", **OPTIONS)


@pytest.mark.parametrize("kind", ["flipped", "truncated", "empty", "text", "npy"])
@pytest.mark.parametrize("which", ["solution", "solution.preconditioner"])
def test_damage_is_told(which, kind, tmp_path):
    path = tmp_path / "solution"
    with pytest.warns(RuntimeWarning, match="max_iterations=6"):
        solve("operator", path, max_iterations=6)
    file = tmp_path / which
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    contents = {"flipped": data, "truncated": data[: len(data) // 2], "empty": b"", "text": b"no checkpoint"}
    if kind == "npy":
        with file.open("wb") as opened:
            np.save(opened, np.ones(3))
    else:
        file.write_bytes(contents[kind])
    with pytest.raises(ValueError, match=rf"checkpoint .*{which} is damaged.*Delete it"):
        solve("operator", path)


@pytest.mark.parametrize(("field", "bit"), [(8, 1), (10, 2)], ids=["encrypted", "unknown"])
def test_a_damaged_directory_is_told(field, bit, tmp_path):
    """The flags and the method of compression of a member stand at these places of its entry."""
    path = tmp_path / "solution"
    with pytest.warns(RuntimeWarning, match="max_iterations=6"):
        solve("operator", path, max_iterations=6)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + field] ^= bit
    path.write_bytes(data)
    with pytest.raises(ntkrs.DamagedFileError, match=r"checkpoint .* is damaged.*Delete it"):
        solve("operator", path)


def test_a_lost_preconditioner_is_made_again(tmp_path):
    path = tmp_path / "solution"
    with pytest.warns(RuntimeWarning, match="max_iterations=6"):
        solve("operator", path, max_iterations=6)
    (tmp_path / "solution.preconditioner").unlink()
    assert np.array_equal(solve("operator", path).alpha, solve("operator").alpha)


def test_auto_iterates_where_there_is_a_checkpoint(tmp_path):
    found = ntkrs.solve(source("array"), Y, checkpoint=os.fsencode(tmp_path / "solution"))
    assert found.method == "pcg"
    assert (tmp_path / "solution").exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        solve("operator", tmp_path / "nowhere" / "solution")


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "solution"
    with pytest.warns(RuntimeWarning, match="max_iterations=6"):
        solve("operator", path, max_iterations=6)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        solve("operator", path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["solution", "solution.preconditioner"]
