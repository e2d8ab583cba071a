"""Benchmarks compare like with like, and run."""

import json

import numpy as np
import pytest

from ntkrs import _bench_numpy as rival
from ntkrs import _core, bench, mlp


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_both_sides_compute_the_same(dtype):
    x = bench.inputs(30, 7, np.dtype(dtype))
    tolerance = 2e3 * np.finfo(dtype).eps
    kernel = mlp(3, 1, 1, "relu", 2**0.5, 0.1).kernel()(x, get=("nngp", "ntk"))
    # The rival's own error at ρ = 1 is √ε: it is left out by comparing off the diagonal.
    off = ~np.eye(30, dtype=bool)
    for ours, theirs in zip(kernel, rival.infinite_relu(x, 3, 2**0.5, 0.1), strict=True):
        np.testing.assert_allclose(ours[off], theirs[off], rtol=0, atol=tolerance)
    net = mlp(3, 11, 4, "relu", 2**0.5, 0.1).init(7, dtype=dtype)
    arguments = (net.weights, net.biases, 2**0.5, 0.1, x)
    for form in ("full", "trace"):
        ours, theirs = net.ntk(x, outputs=form), rival.empirical_relu(*arguments, form)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
    np.testing.assert_allclose(net.jacobian(x), rival.jacobian_relu(*arguments), rtol=0, atol=tolerance)


def test_it_runs_and_writes_its_figures(tmp_path, capsys):
    path = tmp_path / "bench.json"
    bench.main(["--quick", "--repeats", "1", "--only", "linear", "--json", str(path)])
    results = json.loads(path.read_text(encoding="utf-8"))
    assert [row["dtype"] for row in results["rows"]] == ["float64", "float32"]
    assert all(row["seconds"] > 0 and row["numpy_seconds"] > 0 for row in results["rows"])
    assert all(row["fraction_of_limit"] > 0 for row in results["rows"])
    assert capsys.readouterr().out.count("linear Gram") == 2


def test_a_debug_build_is_refused(monkeypatch):
    monkeypatch.setattr(_core, "PROFILE", "debug")
    with pytest.raises(RuntimeError, match="debug build: benchmarks of it mean nothing"):
        bench.run(quick=True, repeats=1)
