"""Notebooks show tables of the objects of this package, and its figures."""

import pickle
from html.parser import HTMLParser

import numpy as np
import pytest

import ntkrs
from ntkrs import diagnostics
from ntkrs._runtime import display

ARCH = ntkrs.Sequential(
    ntkrs.Dense(8, 1.5, 0.25), ntkrs.LeakyRelu(0.125), ntkrs.Dense(4, trainable=False), ntkrs.Erf(), ntkrs.Dense(2)
)
X = np.eye(3)


class Cells(HTMLParser):
    """The texts of all cells of a table, and a check that every tag is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(html)
        assert not self.open, f"{self.open} stays open"

    def handle_starttag(self, tag, attrs):
        assert not attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def texts(item):
    return Cells(item._repr_html_()).texts


def test_a_sequential_shows_its_layers():
    found = texts(ARCH)
    assert {"8", "1.5", "0.25", "LeakyRelu(slope=0.125)", "not trained"} <= set(found)


def test_a_layer_of_unknown_scales_says_so():
    assert texts(ntkrs.Sequential(ntkrs.Dense(2, None, None))).count("unknown") == 2


def test_a_kernel_shows_its_layers():
    title, *rest = texts(ARCH.kernel("standard"))
    assert title == 'Kernel of infinite width, parameterization "standard"'
    assert rest == texts(ARCH)[1:]


def test_a_network_shows_the_number_of_its_parameters():
    assert f"{8 * 3 + 8 + 8 * 4 + 4 * 2} parameters" in texts(ARCH.init(3))[0]


def test_a_history_shows_its_first_and_last_records():
    _, history = ARCH.init(3).train(X, np.ones((3, 2)), 0.01, steps=40, record_every=1)
    found = texts(history)
    assert found.count("⋮") == 4
    assert "39" in found
    assert "20" not in found


def test_a_prediction_shows_shapes_and_ranges():
    found = texts(ntkrs.predict.Prediction(np.array([1.0, 3.0]), variance=np.array([4.0, 0.0])))
    assert {"mean", "2", "1", "3", "none"} <= set(found)
    assert texts(ntkrs.predict.Prediction(np.empty(0)))  # the range of nothing is empty, and no error


def test_a_spectrum_shows_its_numbers():
    assert "1600" in texts(diagnostics.spectrum(np.diag([1600.0, 1.0])))


def test_texts_are_escaped():
    assert "<b>" not in display.table("<b>", ["<b>"], [["<b>"]])


@pytest.mark.parametrize("name", ["width", "spectrum", "labels", "curve"])
def test_figures_show_themselves_and_can_be_pickled(name):
    pytest.importorskip("matplotlib", reason="matplotlib is absent: no figure is drawn")
    figure = RESULTS[name]().plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert pickle.loads(pickle.dumps(figure))._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["width", "spectrum", "curve"])
def test_figures_are_drawn_in_given_axes(name):
    pytest.importorskip("matplotlib", reason="matplotlib is absent: no figure is drawn")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert RESULTS[name]().plot(ax=axes) is axes.figure
    assert axes.lines


def test_a_pair_of_axes_takes_both_panels():
    pytest.importorskip("matplotlib", reason="matplotlib is absent: no figure is drawn")
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 2)
    assert RESULTS["labels"]().plot(ax=axes) is axes[0].figure
    assert all(one.lines for one in axes)


def test_one_pair_of_axes_takes_the_eigenvalues_alone():
    pytest.importorskip("matplotlib", reason="matplotlib is absent: no figure is drawn")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    RESULTS["labels"]().plot(ax=axes)
    assert axes.get_title(loc="left") == "(a) spectrum"


RESULTS = {
    "width": lambda: diagnostics.width_convergence(ntkrs.mlp(1, 1, 1), X, widths=(4, 8), seeds=2),
    "spectrum": lambda: diagnostics.spectrum(np.diag([2.0, 1.0])),
    "labels": lambda: diagnostics.spectrum(np.diag([2.0, 1.0]), np.ones(2)),
    "curve": lambda: diagnostics.learning_curve(np.eye(9), np.ones(9), [1, 2]),
}
