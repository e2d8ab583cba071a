"""The page on any network: its code runs, in order, with the libraries that it needs."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import ntkrs

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "any_network.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(LIGHTNING,) = (block for block in BLOCKS if "import lightning" in block)
(KERAS,) = (block for block in BLOCKS if "import keras" in block)
(FLAX,) = (block for block in BLOCKS if "import flax" in block)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, from parts of it that torch.func loads
def test_the_code_for_torch_runs():
    torch = pytest.importorskip("torch", reason="torch is absent: the page's code is not run")
    torch.set_num_threads(1)
    scope = {}
    for block in BLOCKS:
        if block not in {LIGHTNING, KERAS, FLAX}:
            exec(block, scope)  # noqa: S102  the page's own code
        if "K_ur" in block:
            assert np.allclose(scope["K_ur"].T, scope["K"][..., 1, 0])
            assert scope["weights"][0] > 1
    assert scope["influence"].shape == (4, 30)


def test_the_callback_for_lightning_records_each_step_once(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is absent: the page's code is not run")
    # Lightning itself is not needed: its trainer calls hooks of these names, with a counter of steps.
    package, inner = ModuleType("lightning"), ModuleType("lightning.pytorch")
    inner.Callback, package.pytorch = object, inner
    monkeypatch.setitem(sys.modules, "lightning", package)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", inner)
    scope = {"ntkrs": ntkrs}
    exec(LIGHTNING, scope)  # noqa: S102
    callback, module = scope["WatchKernel"](np.eye(3), every=2), torch.nn.Linear(3, 1)
    for step in (1, 1, 2, 2, 3, 4):
        callback.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, 0)
    assert [sight.step for sight in callback.watch.sights] == [1, 2, 4]


def test_the_callback_for_keras_records_steps(monkeypatch):
    # Keras itself is not needed: its models call hooks of these names, and hold kernels and biases.
    package = ModuleType("keras")
    package.callbacks = SimpleNamespace(Callback=object)
    monkeypatch.setitem(sys.modules, "keras", package)
    scope = {"ntkrs": ntkrs}
    exec(KERAS, scope)  # noqa: S102
    callback, rng = scope["WatchDense"](np.eye(3), "relu", every=10), np.random.default_rng(0)
    weights = [rng.normal(size=shape) for shape in ((3, 4), (4,), (4, 1), (1,))]
    for step in (1, 10, 15, 20):
        optimizer = SimpleNamespace(iterations=np.int64(step))
        callback.model = SimpleNamespace(get_weights=lambda: weights, optimizer=optimizer)
        callback.on_train_batch_end(0)
    assert [sight.step for sight in callback.watch.sights] == [1, 10, 20]


def test_the_transformer_of_the_figure_is_recorded():
    torch = pytest.importorskip("torch", reason="torch is absent: the figure's transformer is not read")
    from oracles import torch_jacobian

    spec = importlib.util.spec_from_file_location("low_rank", DOCS / "figures" / "low_rank.py")
    figure = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figure)
    torch.manual_seed(0)
    model = figure.Transformer().double().requires_grad_(requires_grad=False)
    for name in ("qkv", "mix", "wide", "narrow"):
        setattr(model, name, figure.LowRank(getattr(model, name), 4).double())
        torch.nn.init.normal_(getattr(model, name).up.weight)
    words, _ = figure.task(5, 1)
    records = ntkrs.convert.record(model, words)
    assert len(records) == 8
    expected = torch_jacobian.kernel(model, words)
    # Sums of some 1e4 products in float64.
    assert np.allclose(ntkrs.empirical_ntk(records), expected, rtol=1e-11, atol=1e-12 * abs(expected).max())


def test_the_code_for_flax_is_the_kernel_of_its_jacobian():
    pytest.importorskip("flax", reason="Flax is absent: the page's code is not run")
    import jax

    scope = {"np": np}
    exec("import ntkrs\n" + FLAX, scope)  # noqa: S102
    found = jax.jacrev(scope["model"].apply)(scope["variables"], scope["X"])
    flat = np.concatenate([np.asarray(one).reshape(6, 2, -1) for one in jax.tree.leaves(found)], axis=2)
    expected = np.einsum("iop,jqp->ijoq", flat, flat)
    # float32: sums of some hundred terms.
    assert np.allclose(scope["K"], expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
