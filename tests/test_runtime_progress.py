"""Progress bars: shown on request or when a call takes long, and removed at the end."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ntkrs import mlp, solve
from ntkrs._runtime import progress


class Terminal:
    """A standard error that is a terminal."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_nothing_is_shown_to_a_pipe_by_default():
    assert progress.reporter(None) is None
    assert progress.reporter(False) is None


def test_a_callable_is_itself():
    assert progress.reporter(print) is print


def test_a_bar_is_shown_only_when_it_takes_long(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bar = progress.reporter(None)
    bar(1, 2)
    bar(2, 2)
    assert not terminal.text
    slow = progress.reporter(None)
    slow._start -= 10  # as if it had begun ten seconds ago
    slow(1, 100)
    assert "1/100" in terminal.text
    slow(100, 100)
    assert terminal.text.endswith("\r")


def test_true_shows_one_at_once(capsys):
    bar = progress.reporter(True)
    bar(0, 5)
    bar(5, 5)
    assert "0/5" in capsys.readouterr().err
    assert np.isfinite(mlp(1, 1, 1).kernel()(np.eye(3), progress=True)).all()


def test_bars_of_iterations_are_removed_at_their_end(monkeypatch):
    """The total is the most iterations that are allowed. It is not reached."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    solve(np.diag([1.0, 2.0]), np.ones(2), method="pcg", progress=True)
    assert "/1000" in terminal.text
    assert terminal.text.endswith("\r")
    with pytest.raises(np.linalg.LinAlgError):
        solve(np.array([[1.0, 2.0], [2.0, 1.0]]), [1.0, -1.0], method="pcg", preconditioner=None, progress=True)
    assert terminal.text.endswith("\r")


@pytest.mark.parametrize(("config", "name"), [({"IPKernelApp": {}}, "tqdm.auto"), ({}, None)])
def test_notebooks_have_the_bar_for_notebooks(monkeypatch, config, name):
    """A plain IPython shell, without a kernel behind it, is a terminal or none."""
    shell = SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    bar = progress.reporter(None)
    assert (bar and bar._module.__name__) == name
    assert progress.reporter(True)._module.__name__ == (name or "tqdm")


def test_true_without_tqdm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"pip install 'ntkrs\[progress\]'"):
        progress.reporter(True)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress.reporter(None) is None


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="progress is 'yes', but a callable"):
        mlp(1, 1, 1).kernel()(np.eye(3), progress="yes")
