"""The page on any network: its code runs, in order, with the libraries that it needs."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "any_network.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, from parts of it that torch.func loads
def test_the_code_for_torch_runs():
    torch = pytest.importorskip("torch", reason="torch is absent: the page's code is not run")
    torch.set_num_threads(1)
    scope = {}
    for block in BLOCKS[:-1]:
        exec(block, scope)  # noqa: S102  the page's own code
    assert scope["weights"][0] > 1
    assert np.allclose(scope["K_ur"].T, scope["K"][..., 1, 0])


def test_the_code_for_flax_is_the_kernel_of_its_jacobian():
    pytest.importorskip("flax", reason="Flax is absent: the page's code is not run")
    import jax

    scope = {"np": np}
    exec("import ntkrs\n" + BLOCKS[-1], scope)  # noqa: S102
    found = jax.jacrev(scope["model"].apply)(scope["variables"], scope["X"])
    flat = np.concatenate([np.asarray(one).reshape(6, 2, -1) for one in jax.tree.leaves(found)], axis=2)
    expected = np.einsum("iop,jqp->ijoq", flat, flat)
    # float32: sums of some hundred terms.
    assert np.allclose(scope["K"], expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
