"""The demo's experiments at tiny sizes: laws of each result, the width slope, and a self-contained report."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="the demo needs the extra ntkrs[demo]")
pytest.importorskip("matplotlib", reason="the demo needs the extra ntkrs[demo]")

import ntkrs  # noqa: E402 - after the check for the extra
from ntkrs import Conv, Flatten, cli, demo, regression  # noqa: E402 - after the check for the extra
from ntkrs.demo import data, report, scores  # noqa: E402

kernel_ridge = scores.kernel_ridge

TINY = demo.Settings(
    samples=240,
    folds=3,
    ridges=(1.0, 1e-2, 1e-4),
    labelled=40,
    diabetes_splits=2,
    widths=(32, 64, 128),
    width_seeds=3,
    width_samples=8,
    times=12,
    trained_widths=(16, 256),
    trained_samples=60,
    trained_steps=40,
    lazy_widths=(32, 64, 256),
    lazy_seeds=2,
    lazy_samples=12,
    lazy_steps=20,
    kappa_seeds=2,
    line_width=64,
    line_seeds=3,
)
VOID = {"meta", "img", "br", "hr", "link"}


@pytest.fixture(scope="module")
def digits():
    return demo.load_digits(TINY, seed=0)


@pytest.fixture(scope="module")
def gram(digits):
    return demo.gram(digits.x, TINY)


def test_functions_of_one_variable_follow_their_closed_forms():
    result = demo.line(demo.Settings(line_width=512, line_seeds=8), seed=0, points=25)
    # 8 networks are few: the share within two standard deviations, 95 % at infinite width, is uncertain by some 5 %.
    assert 0.8 < result.coverage <= 1.0
    np.testing.assert_array_equal(result.learning[0], result.prior[0])
    np.testing.assert_array_equal(result.predicted[0], result.prior[0])
    np.testing.assert_array_equal(result.learning[-1], result.trained[0])
    # Lazy training: outputs differ by n^(-1/2) times the distance that they went.
    went = np.abs(result.trained[0] - result.prior[0]).max()
    assert 0 < np.abs(result.learning - result.predicted).max() < 2 * 512**-0.5 * went


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo") / "new" / "folder"
    return cli.run_demo(directory, seed=3, settings=TINY), directory


def test_error_of_finite_networks_falls_as_width_to_the_minus_one_half(digits):
    settings = demo.Settings(widths=(32, 64, 128, 256, 512, 1024), width_seeds=16, width_samples=16)
    shares = []
    result = demo.width_scaling(digits.x[:16], settings, seed=0, advance=shares.append)
    assert abs(result.line.slope + 0.5) < 0.1
    assert 0 < result.line.stderr < 0.1
    assert result.values.shape == (6, 16)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_width_scaling_depends_on_the_seed_alone(digits):
    first, again, other = (demo.width_scaling(digits.x[:4], TINY, seed=s).values for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_digits_are_scaled_by_the_training_part_alone(digits):
    train = digits.x[digits.train]
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-13)
    assert np.sqrt((train**2).mean()) == pytest.approx(1)
    assert np.array_equal(np.sort(np.concatenate([digits.train, digits.test])), np.arange(TINY.samples))
    np.testing.assert_array_equal(digits.targets.argmax(axis=1), digits.labels)
    np.testing.assert_allclose(digits.targets.sum(axis=1), 0, atol=1e-15)


def test_gram_holds_both_kernels(gram, digits):
    kernel = data.relu_network(TINY).kernel()
    np.testing.assert_array_equal(gram.ntk, kernel(digits.x))
    np.testing.assert_array_equal(gram.nngp, kernel(digits.x, get="nngp"))
    assert gram.megabytes == pytest.approx(2 * 8 * TINY.samples**2 / 1e6)
    assert gram.seconds > 0


def test_kernel_ridge_interpolates_without_ridge_and_gives_the_mean_with_much(gram, digits):
    y, train = digits.targets, digits.train
    near = kernel_ridge(gram.ntk, y, train, train, 1e-12)
    np.testing.assert_allclose(near, y[train], atol=1e-8)
    far = kernel_ridge(gram.ntk, y, train, digits.test, 1e12)
    np.testing.assert_allclose(far, np.tile(y[train].mean(axis=0), (len(digits.test), 1)), atol=1e-8)


def test_kernel_ridge_with_a_linear_kernel_is_linear_ridge(digits):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = digits.x - digits.x[digits.train].mean(axis=0)
    k = x @ x.T
    alpha = 0.1 * np.trace(k[np.ix_(digits.train, digits.train)]) / len(digits.train)
    ridge = linear_model.Ridge(alpha=alpha).fit(x[digits.train], digits.targets[digits.train])
    ours = kernel_ridge(k, digits.targets, digits.train, digits.test, 0.1)
    np.testing.assert_allclose(ours, ridge.predict(x[digits.test]), rtol=1e-9, atol=1e-9)


def test_every_choice_is_blind_to_the_test_part(gram, digits):
    blind = digits.targets.copy()
    blind[digits.test] = np.nan
    folds = scores._folds(digits.train, TINY, seed=0)
    choices = [
        scores._select([("ntk", gram.ntk)], y, folds, TINY.ridges, scores._squared)[2] for y in (digits.targets, blind)
    ]
    assert choices[0] == choices[1]
    assert np.isfinite(kernel_ridge(gram.ntk, blind, digits.train, digits.test, choices[0])).all()


def test_kernel_regression_reads_digits(digits):
    found = {s.method: s.value for s in scores.classification(digits, TINY, seed=0).scores}
    assert list(found)[-2:] == ["NNGP regression", "NTK regression"]
    assert found["NTK regression"] > 0.8  # chance is 0.1
    assert all(0 <= value <= 1 for value in found.values())


def test_the_estimators_are_kernel_ridge_at_the_ridge_of_the_least_error_left_out(gram, digits):
    found = {s.method: s for s in scores.classification(digits, TINY, seed=0).scores}
    for k, name in ((gram.nngp, "NNGP regression"), (gram.ntk, "NTK regression")):
        block, y = k[np.ix_(digits.train, digits.train)], digits.targets[digits.train]
        errors = [np.mean((regression.loo(block, y, ridge) - y) ** 2) for ridge in TINY.ridges]
        ridge = TINY.ridges[int(np.argmin(errors))]
        f = kernel_ridge(k, digits.targets, digits.train, digits.test, ridge)
        assert found[name].chosen == f"ridge {ridge:g}"
        assert found[name].value == np.mean(f.argmax(axis=1) == digits.labels[digits.test])


def test_convolutions_read_digits_from_few_labels(digits):
    found = demo.few_labels(digits, TINY, seed=0)
    values = {score.method: score.value for score in found.scores}
    assert list(values) == ["MLP", "convolutions and Flatten", "convolutions and GlobalAvgPool"]
    assert (found.n_train, found.n_test) == (40, 200)
    assert min(values.values()) > 0.6  # chance is 0.1
    assert demo.few_labels(digits, TINY, seed=0) == found


def test_convolutional_networks_have_the_scales_of_the_dense_ones():
    arch = demo.convolutional_network(TINY, Flatten())
    assert [layer.scales for layer in arch.layers if isinstance(layer, Conv)] == [(TINY.sigma_w, TINY.sigma_b)] * 3
    assert arch.dense[-1].scales == (TINY.sigma_w, TINY.sigma_b)


def test_dynamics_starts_at_zero_and_ends_at_the_interpolant(gram, digits):
    flow = demo.dynamics(gram.ntk, digits, TINY)
    assert np.all(np.diff(flow.times) > 0)
    assert np.all(np.diff(flow.train_loss) <= 0)
    assert flow.train_loss[0] < 0.045  # f_0 = 0: mean square of the targets is 0.09
    assert flow.train_loss_inf < 1e-20
    k, y = gram.ntk, digits.targets
    block = k[np.ix_(digits.train, digits.train)]
    f = k[np.ix_(digits.test, digits.train)] @ np.linalg.solve(block, y[digits.train])
    assert flow.test_loss_inf == pytest.approx(np.mean((f - y[digits.test]) ** 2) / 2, rel=1e-9)
    assert flow.test_loss[-1] == pytest.approx(flow.test_loss_inf, rel=1e-3)


def test_circle_passes_through_its_training_points():
    result = demo.circle(TINY, points=73)  # every 5 degrees
    at = [int(np.argmin(abs(result.angles - a))) for a in result.train_angles]
    np.testing.assert_allclose(result.curves[-1][at], result.train_targets, atol=1e-9)
    np.testing.assert_allclose(result.curves[:, 0], result.curves[:, -1], atol=1e-9)  # it is a circle


def test_spectrum_sums_to_one_and_holds_all_label_energy(gram, digits):
    result = demo.spectrum(gram, digits)
    for name in ("NNGP", "NTK"):
        matrix = {"NNGP": gram.nngp, "NTK": gram.ntk}[name]
        assert result[name].eigenvalues.sum() == pytest.approx(np.trace(matrix))
        assert result[name].label_energy.sum() == pytest.approx(1)
        assert 1 <= result[name].effective_rank_entropy <= TINY.samples


def test_trained_networks_follow_the_closed_form_the_closer_the_wider(digits):
    result = demo.finite_training(digits, TINY, seed=0)
    assert result.steps[0] == 1
    assert result.steps[-1] == TINY.trained_steps
    narrow, wide = result.trained.values()
    for losses in (narrow, wide, result.linear, result.infinite):
        assert losses.shape == (2, len(result.steps))
    for loss in (0, 1):
        off = [np.abs(losses / result.infinite - 1)[loss].max() for losses in (narrow, wide)]
        assert off[1] < off[0]
    assert np.abs(wide / result.linear - 1)[1].max() < 0.1
    assert np.all(np.diff(result.infinite[0]) < 0)
    assert np.all(np.diff(wide[0]) < 0)
    near, far = result.moved[256], result.moved[16]
    assert np.all(np.diff(near) > 0)
    # The parameters go about the same distance, and θ_0 has a norm of about √P: 390 and 41, a ratio of 9.5.
    assert 9.5 / 2 < far[-1] / near[-1] < 9.5 * 2


def test_lazy_training_gets_lazier_with_width(digits):
    result = demo.lazy_training(digits, TINY, seed=0)
    for found in (result.drift, result.gap, result.kappa):
        assert found.values.shape == (3, 2)
        assert found.line.slope < -0.2


def test_summary_holds_every_number(written):
    results, directory = written
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    assert summary["seed"] == 3
    assert summary["width_scaling"]["slope"] == results.width.line.slope
    assert set(summary["digits_accuracy"]["methods"]) > {"NTK regression", "logistic regression"}
    assert set(summary["few_labels_accuracy"]["methods"]) == {score.method for score in results.images.scores}
    assert set(summary["diabetes_r2"]["methods"]) > {"NTK regression", "linear ridge"}
    assert summary["seconds"]["total"] > summary["gram"]["seconds"] > 0
    assert set(cli.STAGES) | {"total"} == set(summary["seconds"])


class Reader(HTMLParser):
    """Collects tags, image sources and any tag closed out of order."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.tags, self.misnested = [], [], set(), []
        self.alternatives = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.images += [dict(attrs)["src"]] if tag == "img" else []
        self.alternatives += [dict(attrs)["alt"]] if tag == "img" else []

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.misnested.append(tag)


def test_report_is_well_formed_and_carries_every_figure_inside(written):
    _, directory = written
    text = (directory / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert (reader.open, reader.misnested) == ([], [])
    assert not reader.tags & {"script", "link", "iframe"}
    assert not re.search(r"https?://", text)
    figures = {path.read_bytes() for path in directory.glob("*.svg")}
    head = "data:image/svg+xml;base64,"
    inlined = {base64.b64decode(source.removeprefix(head), validate=True) for source in reader.images}
    assert all(source.startswith(head) for source in reader.images)
    assert inlined == figures
    assert len(figures) == len(report.PANELS) == text.count("<figcaption>")
    assert text.count("<caption>") == 3


def test_the_alternative_of_a_figure_is_its_caption_without_tags(written):
    _, directory = written
    reader = Reader()
    reader.feed((directory / "report.html").read_text(encoding="utf-8"))
    assert len(reader.alternatives) == len(report.PANELS)
    for text in reader.alternatives:
        assert len(text) > 80
        assert not re.search(r"</?(sub|sup|b)>", text)
    assert any("K^−1" in text for text in reader.alternatives)


def test_figures_are_drawings_with_the_same_bytes_every_time(written):
    results, directory = written
    for panel in report.PANELS:
        assert b"<svg" in (directory / f"{panel.stem}.svg").read_bytes()[:600]
    panel = next(panel for panel in report.PANELS if panel.stem == "width_scaling")
    assert (directory / "width_scaling.svg").read_bytes() == report.drawing(panel, results)
    with pytest.raises(ValueError, match="width in points"):
        report._css_width(b"<svg>")


@pytest.mark.parametrize("panel", report.PANELS, ids=lambda panel: panel.stem)
def test_the_code_beside_a_figure_runs(panel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 1))
    names = {"np": np, "ntkrs": ntkrs, "X": x, "y": np.sign(x[:, 0]), "Z": np.linspace(-1, 1, 5)[:, None]}
    exec(panel.code, names)  # noqa: S102 it is ours


@pytest.mark.parametrize("panel", report.PANELS, ids=lambda panel: panel.stem)
def test_no_part_of_a_figure_is_cut_off(written, panel):
    figure = panel.draw(written[0])
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
    for ax in figure.axes[:2]:
        assert ax.get_xlabel()
