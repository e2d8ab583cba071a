"""Benchmarks run, and all sides of them do the same work."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from ntkrs import _core, bench, mlp
from ntkrs.bench import cases
from ntkrs.bench import measure as measuring
from ntkrs.bench import rival_numpy as rival
from oracles import finite


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy_computes_the_same(dtype):
    x = cases.inputs(30, 7, np.dtype(dtype))
    tolerance = 2e3 * np.finfo(dtype).eps
    # The rival's own error at ρ = 1 is √ε, so the diagonal is not compared.
    off = ~np.eye(30, dtype=bool)
    for name, by_hand in (("relu", rival.infinite_relu), ("erf", rival.infinite_erf), ("gelu", rival.infinite_gelu)):
        kernel = mlp(3, 1, 1, name, 2**0.5, 0.1).kernel()(x, get=("nngp", "ntk"))
        for ours, theirs in zip(kernel, by_hand(x, 3, 2**0.5, 0.1), strict=True):
            assert theirs.dtype == dtype
            np.testing.assert_allclose(ours[off], theirs[off], rtol=0, atol=tolerance)
    kernel = mlp(3, 1, 1, "relu", 2**0.5, 0.1).kernel()(x[:9], x[9:], get=("nngp", "ntk"))
    for ours, theirs in zip(kernel, rival.infinite_relu(x[:9], 3, 2**0.5, 0.1, x[9:]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    net = mlp(3, 11, 4, "relu", 2**0.5, 0.1).init(7, dtype=dtype)
    arguments = (net.weights, net.biases, 2**0.5, 0.1, x)
    for form in ("full", "trace"):
        ours, theirs = net.ntk(x, outputs=form), rival.empirical_relu(*arguments, form)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
    np.testing.assert_allclose(net.jacobian(x), rival.jacobian_relu(*arguments), rtol=0, atol=tolerance)
    trained, _ = net.train(x, x[:, :4], 0.1, 10)
    theirs = rival.train_relu(*arguments, x[:, :4], 0.1, 10)
    np.testing.assert_allclose(trained.parameters, theirs, rtol=0, atol=tolerance)


def test_numpy_trains_by_gradient_descent():
    net, arguments = cases._finite(9, 5, 6, 2, np.dtype(np.float64))
    y = cases.inputs(9, 2, np.dtype(np.float64))
    theta = net.parameters.copy()
    for _ in range(4):
        model = (*finite.unflatten(theta, net.weights, net.biases, 0.1), 2**0.5, 0.1, "relu")
        residual = finite.forward(arguments[-1], *model) - y
        theta -= 0.3 / y.size * np.einsum("nop,no->p", finite.jacobian(arguments[-1], *model), residual)
    ours = rival.train_relu(*arguments, y, 0.3, 4)
    np.testing.assert_allclose(ours, theta, rtol=0, atol=1e-13)  # a few hundred operations on numbers of size 3


#: Runs in a process of its own, because JAX warns about every later fork.
TRAINING = """
import numpy as np
from ntkrs.bench import cases, rival_numpy, rival_{side} as side

for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-5)):
    _, arguments = cases._finite(9, 5, 6, 2, np.dtype(dtype))
    y = cases.inputs(9, 2, np.dtype(dtype))
    call, read = side.train(*arguments, y, 0.3, 4)
    theta = read(call())
    assert theta.dtype == dtype
    np.testing.assert_allclose(theta, rival_numpy.train_relu(*arguments, y, 0.3, 4), rtol=0, atol=tolerance)
"""


@pytest.mark.parametrize("side", bench.OPTIONAL)
class TestRivals:
    """Checks the optional sides where they are installed."""

    @pytest.fixture(autouse=True)
    def _installed(self, side):
        if find_spec(side) is None:
            pytest.skip(f"{side} is absent: its side of the benchmarks is not run here")

    @pytest.mark.parametrize(("dtype", "tolerance", "relu"), [("float64", 1e-12, 1e-7), ("float32", 1e-5, 2e-3)])
    def test_it_computes_the_same(self, side, dtype, tolerance, relu, tmp_path):
        # Sums of a few hundred terms. The rivals' infinite ReLU kernels are off by √ε a layer where ρ = 1.
        path = tmp_path / "bench.json"
        bench.main(["--quick", "--repeats", "1", "--dtype", dtype, "--rivals", side, "--json", str(path)])
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        for case, row in zip(bench.benchmarks(quick=True), rows, strict=True):
            limit = relu if "ReLU" in case.name else tolerance
            # A case without the name of a rival's work is measured against NumPy alone.
            assert row[f"{side}_difference"] <= limit if case.work else f"{side}_difference" not in row, case.name

    def test_it_trains_by_gradient_descent(self, side):
        subprocess.run([sys.executable, "-c", TRAINING.format(side=side)], check=True, timeout=300)


def test_it_runs_and_writes_its_figures(tmp_path, capsys):
    path = tmp_path / "bench.json"
    bench.main(["--quick", "--repeats", "1", "--only", "linear", "--rivals", "--json", str(path)])
    results = json.loads(path.read_text(encoding="utf-8"))
    assert [row["dtype"] for row in results["rows"]] == ["float64", "float32"]
    assert all(row["seconds"] > 0 and row["numpy_seconds"] > 0 for row in results["rows"])
    assert all(row["fraction_of_limit"] > 0 for row in results["rows"])
    assert capsys.readouterr().out.count("linear Gram") == 2


def test_cases_have_names_to_choose_by(capsys):
    bench.main(["--list"])
    names = capsys.readouterr().out.splitlines()
    assert names == [case.name for case in bench.benchmarks(quick=False)]
    assert len(set(names)) == len(names)


def test_what_is_not_installed_is_told(monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_spec", lambda _: None)
    monkeypatch.setattr(bench, "benchmarks", lambda **_: [])
    bench.main(["--quick"])
    told = capsys.readouterr().out
    assert "JAX is not installed: its column stays empty" in told
    assert "torch is not installed: its column stays empty" in told


@pytest.mark.parametrize(("names", "others"), [([], "JAX, torch"), (["jax"], "torch"), (["jax", "torch"], None)])
def test_what_will_run_is_told_before_it_runs(monkeypatch, capsys, names, others):
    monkeypatch.setattr(bench, "find_spec", lambda _: True)
    monkeypatch.setattr(bench.metadata, "version", lambda _: "1")
    monkeypatch.setattr(bench, "_in_a_process", lambda *_: {})
    bench.main(["--quick", "--only", "nothing", "--rivals", *names])
    first, *rest = capsys.readouterr().out.splitlines()
    sides = ["ntkrs", "NumPy", *(bench.SIDES[name] for name in names)]
    assert first == f"measured: {', '.join(sides)}; 0 benchmarks in float64 and float32"
    told = f"not measured: {others}. Name them: --rivals jax torch; without --rivals all are measured."
    assert rest == ([told] if others else [])


def test_a_rival_that_does_not_fit_is_told(monkeypatch):
    def refuse(*_):
        raise MemoryError("the Jacobian needs more")

    case = bench.benchmarks(quick=True)[0]
    monkeypatch.setattr(bench.Case, "prepare", refuse)
    with pytest.raises(MemoryError):
        bench._side(case, "ntkrs", "float64", 1)
    refused = bench._side(case, "torch", "float64", 1)
    figures = {"seconds": [1.0], "warm_up_seconds": 2.0, "peak_bytes": 0, "sample": [{"shape": [1], "values": [3.0]}]}
    machine = {"float64": 1e9, "store": 1e9}
    row = bench._row(case, "float64", machine, {"ntkrs": figures, "numpy": figures, "torch": refused})
    assert row["refused"] == {"torch": "the Jacobian needs more"}
    assert "torch_seconds" not in row
    assert bench._lines(row).splitlines()[-1].split(maxsplit=1) == ["torch", "the Jacobian needs more"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (subprocess.CalledProcessError(bench._KILLED, "bench"), "killed by the system, most likely because memory"),
        (subprocess.TimeoutExpired("bench", 300), "given up after 300 s"),
    ],
)
def test_a_rival_that_does_not_end_is_told(monkeypatch, error, told):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(bench, "_in_a_process", fail)
    assert bench._side_in_a_process("torch", [])["refused"].startswith(told)
    with pytest.raises(type(error)):
        bench._side_in_a_process("ntkrs", [])


def test_a_rival_that_fails_is_no_result(monkeypatch):
    def fail(*_, **__):
        raise subprocess.CalledProcessError(1, "bench")

    monkeypatch.setattr(bench, "_in_a_process", fail)
    with pytest.raises(subprocess.CalledProcessError):
        bench._side_in_a_process("jax", [])


class TestMeasure:
    """One side of one benchmark."""

    def measure(self, result, repeats=3):
        return measuring.measure(lambda: (lambda: result, lambda value: value), repeats)

    def test_repeats_end_with_the_budget(self, monkeypatch):
        assert len(self.measure(np.ones(1))["seconds"]) == 3
        monkeypatch.setattr(measuring, "_BUDGET_SECONDS", 0.0)
        assert len(self.measure(np.ones(1))["seconds"]) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be reset")
    def test_peak_memory_is_that_of_the_calls(self):
        """Measure in a process of its own, as benchmarks do: memory that other tests gave back would be subtracted."""
        code = (
            "import numpy as np; from ntkrs.bench import measure\n"
            "large = np.ones(2**24)  # 128 MiB, freed before the call\n"
            "del large\n"
            "print(measure.measure(lambda: (lambda: np.ones(2**22), lambda value: value), 2)['peak_bytes'])"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        found = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, env=environment)
        assert int(found.stdout) == pytest.approx(2**25, rel=0.2)

    def test_samples_are_compared(self):
        array = np.random.default_rng(0).standard_normal((300, 200))
        array[0, 0] = 100.0
        ours, theirs = self.measure((array, array))["sample"], self.measure((array, array + 1e-3))["sample"]
        assert measuring.difference(ours, ours) == 0.0
        largest = np.abs(ours[1]["values"]).max()
        assert measuring.difference(ours, theirs) == pytest.approx(1e-3 / largest)
        with pytest.raises(RuntimeError, match=r"results differ in shape: \[\[\[300, 200\]"):
            measuring.difference(ours, self.measure((array, array.T))["sample"])


def test_a_debug_build_is_refused(monkeypatch):
    monkeypatch.setattr(_core, "PROFILE", "debug")
    with pytest.raises(RuntimeError, match="debug build: benchmarks of it mean nothing"):
        bench.run(quick=True, repeats=1)


def test_scaling_over_threads_is_measured_and_told(tmp_path):
    script = Path(__file__).resolve().parents[1] / "benches" / "threads.py"
    path = tmp_path / "threads.json"
    only = ("--quick", "--only", "Jacobian", "--dtype", "float64", "--repeats", "2")
    run = (sys.executable, script)
    environment = os.environ | {"NTKRS_NUM_THREADS": "3"}
    subprocess.run((*run, *only, "--json", path), check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["work"] for row in rows] == ["multiply-adds in registers", "Jacobian, 50-64³-2, N=20"]
    assert {threads: len(seconds) for threads, seconds in rows[1]["seconds"].items()} == {"1": 2, "2": 2, "3": 2}
    rows[1]["seconds"] = {"1": [6.0, 5.0, 7.0], "2": [3.0], "3": [2.0, 9.0, 1.0]}
    path.write_text(
        json.dumps({"cpu": "a processor", "versions": {"instructions": "avx2"}, "rows": rows}), encoding="utf-8"
    )
    told = subprocess.run(
        (*run, "--table", path), check=True, capture_output=True, encoding="utf-8"
    ).stdout.splitlines()
    assert told[0] == "a processor, avx2."
    assert told[-1] == "| Jacobian, 50-64³-2, N=20 | float64 | 6 s | 2 s | 2.0 × | 3.0 × |"


def tracked():
    """Return the module of the cases that are tracked over commits."""
    path = Path(__file__).parents[1] / "benches" / "tracked" / "cases.py"
    spec = spec_from_file_location("tracked_cases", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Case


@pytest.mark.parametrize("case", tracked().params, ids=lambda case: case.__name__)
def test_tracked_cases_run(case):
    suite = tracked()()
    suite.setup(case)
    suite.time_call(case)
    suite.peakmem_call(case)
