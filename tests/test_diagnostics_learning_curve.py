"""Predicted learning curves: against measured errors of kernel regression, and where they are known exactly."""

import numpy as np
import pytest

import ntkrs
from conftest import SHARED_DATA
from ntkrs import diagnostics

EPS = np.finfo(float).eps


def measured(k, y, n, ridge, draws=40):
    """The mean squared error at unseen rows of regression on n random rows, over many draws."""
    rng, errors = np.random.default_rng(0), []
    for _ in range(draws):
        rows = rng.permutation(len(k))
        train, test = rows[:n], rows[n:]
        alpha = np.linalg.solve(k[np.ix_(train, train)] + ridge * np.eye(n), y[train])
        errors.append(((k[np.ix_(test, train)] @ alpha - y[test]) ** 2).mean())
    return np.mean(errors)


def table(name):
    """The standardized features and ±1 labels of a UCI set, without equal rows."""
    path = SHARED_DATA / "uci" / name / f"{name}_R.dat"
    if not path.is_file():
        pytest.skip(f"real data are absent: ../shared/data/uci/{name}")
    data = np.loadtxt(path, skiprows=1)[:, 1:]
    x = np.unique(data, axis=0)
    x, label = x[:, :-1], x[:, -1]
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    y = np.where(label == label.max(), 1.0, -1.0)
    return x, y - y.mean()


@pytest.mark.parametrize("name", ["statlog-german-credit", "statlog-heart", "conn-bench-sonar-mines-rocks"])
@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_it_is_the_measured_error_on_real_data(name, ridge):
    x, y = table(name)
    k = ntkrs.mlp(2, 1, 1, "relu", 2**0.5, 0.5).kernel()(x)
    counts = np.array([len(x) // 16, len(x) // 8, len(x) // 4])
    found = diagnostics.learning_curve(k, y, counts, ridge)
    errors = [measured(k, y, n, ridge * k.diagonal().mean()) for n in counts]
    # The accuracy of the theory at these sizes, with many features and no equal rows.
    np.testing.assert_allclose(found.unseen, errors, rtol=0.15)


def test_the_equation_of_kappa_holds():
    values = np.arange(1.0, 41.0) ** -1.5
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    k, y = (basis * values) @ basis.T, np.random.default_rng(1).standard_normal((40, 2))
    for diag_reg in (0.0, 1e-6, 1.0, 1e6):
        found = diagnostics.learning_curve(k, y, [1, 7, 39], diag_reg)
        ridge = diag_reg * np.trace(k) / 40
        np.testing.assert_allclose(found.eigenvalues, values / 40, rtol=1e-11)
        np.testing.assert_allclose(found.learnability.sum(axis=1) + ridge / found.kappa, found.n, rtol=1e-12)
        one = diagnostics.learning_curve(k, y, 7, diag_reg)
        assert one.all == pytest.approx(found.all[1])
        assert one.learnability.shape == (40,)
        learned = one.learnability
        energy = ((basis.T @ y) ** 2).mean(axis=1) / 40
        whole = (1 - learned) ** 2 @ energy / (1 - (learned**2).sum() / 7)
        trained = (ridge / 7 / one.kappa) ** 2 * whole
        assert one.all == pytest.approx(whole)
        assert one.unseen == pytest.approx((40 * whole - 7 * trained) / 33)


@pytest.mark.parametrize("outputs", [None, 2])
def test_leave_one_out_is_that_of_refits(outputs):
    rng = np.random.default_rng(2)
    factor = rng.standard_normal((30, 40))
    k, y = factor @ factor.T, 100 * rng.standard_normal((30, outputs) if outputs else 30)
    found = diagnostics.learning_curve(k, y, [2, 9], 0.3, draws=3, rng=5)
    order, ridge = np.random.default_rng(5), 0.3 * np.trace(k) / 30
    expected = np.zeros((3, 2))
    for draw in range(3):
        rows = order.permutation(30)
        for at, n in enumerate((2, 9)):
            for left in range(n):
                others = np.delete(rows[:n], left)
                alpha = np.linalg.solve(k[np.ix_(others, others)] + ridge * np.eye(n - 1), y[others])
                expected[draw, at] += ((k[rows[left], others] @ alpha - y[rows[left]]) ** 2).mean() / n
    # Systems of condition 10 at most, solved in two ways.
    np.testing.assert_allclose(found.loo, expected.mean(axis=0), rtol=1e-12)
    assert diagnostics.learning_curve(k, y, 9, 0.3, draws=1).loo.shape == ()
    assert diagnostics.learning_curve(k, y, 9, 0.3).loo is None


@pytest.mark.parametrize("name", ["statlog-german-credit", "statlog-heart"])
def test_leave_one_out_agrees_with_the_omniscient_estimate_on_real_data(name):
    x, y = table(name)
    k = ntkrs.mlp(2, 1, 1, "relu", 2**0.5, 0.5).kernel()(x)
    found = diagnostics.learning_curve(k, y, [len(x) // 8, len(x) // 4], 0.1, draws=40)
    # The accuracy of the theory at these sizes, as above; 40 draws vary by some 3 %, and there is one row less.
    np.testing.assert_allclose(found.loo, found.unseen, rtol=0.15)


def test_rows_that_have_nothing_in_common_are_never_learned():
    found = diagnostics.learning_curve(np.eye(20), np.ones(20), [1, 10, 19])
    np.testing.assert_allclose(found.unseen, 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.all, 1 - found.n / 20, rtol=1e-12)


def test_without_a_ridge_kappa_is_0_from_the_rank_on():
    """A kernel of rank 3 is known after 3 samples, and labels outside of it never."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0]
    k = basis[:, :3] @ basis[:, :3].T
    inside = diagnostics.learning_curve(k, basis[:, 0], [3, 4, 6])
    np.testing.assert_allclose(inside.kappa, 0.0)
    np.testing.assert_allclose(inside.all[1:], 0.0, atol=1e-28)
    outside = diagnostics.learning_curve(k, basis[:, 5], [3, 4, 6])
    assert outside.all[0] == np.inf
    np.testing.assert_allclose(outside.all[1:], np.array([4.0, 2.0]) / 12, rtol=1e-12)


def test_scales():
    k, y = np.diag(np.arange(1.0, 9.0)), np.arange(8.0)
    one = diagnostics.learning_curve(k, y, [2, 5], 0.1)
    two = diagnostics.learning_curve(np.ldexp(k, 500), np.ldexp(y, -100), [2, 5], 0.1)
    assert np.array_equal(np.ldexp(one.kappa, 500), two.kappa)
    assert np.array_equal(np.ldexp(one.unseen, -200), two.unseen)
    one, two = (
        diagnostics.learning_curve(*pair, 3, 0.1, draws=2) for pair in ((k, y), (np.ldexp(k, 500), np.ldexp(y, -100)))
    )
    assert np.ldexp(one.loo, -200) == two.loo


def test_errors():
    k, y = np.eye(4), np.ones(4)
    for call, message in (
        (lambda: diagnostics.learning_curve(k, y, 4), "n holds 4, but whole numbers from 1 to 3"),
        (lambda: diagnostics.learning_curve(k, y, [1, 0]), "n holds 0"),
        (lambda: diagnostics.learning_curve(k, y, 1.5), "n holds 1.5"),
        (lambda: diagnostics.learning_curve(k, y, [[1]]), r"n has shape \(1, 1\)"),
        (lambda: diagnostics.learning_curve(k, y[:3], 1), r"K has shape \(4, 4\) and y has shape \(3,\)"),
        (lambda: diagnostics.learning_curve(np.zeros((2, 2, 2, 2)), np.ones((2, 2)), 1), "are needed"),
        (lambda: diagnostics.learning_curve(k, y, 1, -1), "diag_reg is -1.0"),
        (lambda: diagnostics.learning_curve(k, 0 * y, 1), "y is all 0"),
        (lambda: diagnostics.learning_curve(k, y, [1, 3], draws=2), "n holds 1, but draws of at least 2 rows"),
        (lambda: diagnostics.learning_curve(k, y, 2, draws=-1), "draws is -1, but must be >= 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_plots():
    pytest.importorskip("matplotlib", reason="plots need the extra ntkrs[demo]")
    found = diagnostics.learning_curve(np.eye(9), np.ones(9), [1, 2, 4])
    figure = found.plot()
    assert found.plot(ax=figure.axes[0]) is figure
    assert len(figure.axes[0].lines) == 2
    assert diagnostics.learning_curve(np.eye(9), np.ones(9), 3).plot() is not figure
    (ax,) = diagnostics.learning_curve(np.eye(9), np.ones(9), [2, 4], 0.1, draws=1).plot().axes
    assert [line.get_label() for line in ax.lines] == ["expected", "leave-one-out"]
