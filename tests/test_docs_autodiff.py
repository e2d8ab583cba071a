"""The page on automatic differentiation: its code runs, framework by framework, and gradients are right."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "autodiff.md").read_text(encoding="utf-8")
FOR_TORCH, FOR_GPYTORCH, FOR_JAX = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_for_torch_and_gpytorch_runs():
    torch = pytest.importorskip("torch", reason="torch is absent: the page's code is not run")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scope = {}
    exec(FOR_TORCH, scope)  # noqa: S102  the page's own code
    assert scope["K"].shape == (40, 30)
    assert scope["X"].grad.abs().max() > 0
    pytest.importorskip("gpytorch", reason="GPyTorch is absent: its part of the page is not run")
    exec(FOR_GPYTORCH, scope)  # noqa: S102
    assert scope["losses"][-1] < scope["losses"][0] - 0.2
    assert scope["new"].grad.abs().max() > 0


def test_the_code_for_jax_runs_and_its_gradients_are_finite_differences():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX's own
        jax = pytest.importorskip("jax", reason="JAX is absent: its part of the page is not run")
    scope = {}
    exec(FOR_JAX, scope)  # noqa: S102
    assert [one.shape for one in scope["slopes"]] == [(4, 3), (3,), (3,)]
    ntk, rng = scope["ntk"], np.random.default_rng(0)
    from jax.test_util import check_grads

    with jax.enable_x64(True):
        arguments = [jax.numpy.asarray(rng.normal(size=size)) for size in ((4, 3), (5, 3), (3,), (3,))]
        assert ntk(*arguments).dtype == np.float64
        check_grads(ntk, arguments, order=1, modes=["rev"])
        many = jax.vmap(ntk, (0, None, None, None))(jax.numpy.stack([arguments[0], -arguments[0]]), *arguments[1:])
        assert np.array_equal(many[1], ntk(-arguments[0], *arguments[1:]))
