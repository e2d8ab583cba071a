"""The README's example runs as printed."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {}
    exec(example, names)  # noqa: S102 it is ours
    assert names["f_test"].shape == (3, 100)
    assert names["f_train"].shape == (3, 400)
    assert np.isfinite(names["K_hat"]).all()
    np.testing.assert_allclose(names["f_train"][-1], names["y"][:400], atol=1e-9)


def test_the_installation_comes_first_then_the_figure_then_the_example():
    text = README.read_text(encoding="utf-8")
    places = [
        text.index(part) for part in ("```sh\npip install", "![", "**State**", "```python", "ntkrs demo", "pytest")
    ]
    assert places == sorted(places)
    assert places[0] < 200  # a reader sees it without scrolling
