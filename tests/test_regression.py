"""Leave-one-out from one eigendecomposition: against refits in 50 digits, and by its laws."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

import ntkrs
from ntkrs import regression
from ntkrs.regression import KernelRegression, contour
from oracles import refits

EPS = np.finfo(float).eps

#: Ridges relative to the mean of the diagonal.
RIDGES = np.logspace(-8, 2, 6)


def problem(n=7, outputs=None, *, copies=True, seed=0):
    """A kernel of generic rows, of which two are equal if ``copies``, and labels with a mean."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3))
    if copies:
        x[1] = x[0]
    k = ntkrs.mlp(2, 1, 1, "erf", 1.4, 0.3).kernel()(x)
    return k, rng.standard_normal(n if outputs is None else (n, outputs)) + 2


def mixed(n):
    """Weights below 1, at 1, and above it, of copies and of others."""
    return np.resize([0.3, 1.0, 2.5, 3.0, 1e-3, 1.0, 40.0], n)


def diagonal(k, weights=None):
    """The weighted mean of the diagonal."""
    return np.average(k.diagonal(), weights=weights)


def largest(k, weights):
    """The largest eigenvalue of the weighted kernel."""
    roots = np.sqrt(weights)
    return np.linalg.eigvalsh(roots[:, None] * k * roots)[-1]


WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
INTERCEPT = pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "without"])


@WEIGHTED
@INTERCEPT
@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("copies", [True, False])
class TestRefits:
    """Every prediction is that of a refit."""

    def test_ridges(self, outputs, copies, intercept, weighted):
        k, y = problem(outputs=outputs, copies=copies)
        weights = mixed(7) if weighted else np.ones(7)
        found = KernelRegression(k, y, intercept=intercept, sample_weight=weights).loo(RIDGES)
        assert found.shape == (len(RIDGES), *y.shape)
        for ridge, one in zip(RIDGES, found, strict=True):
            r = ridge * diagonal(k, weights)
            expected = refits.leave_one_out(k, y.reshape(7, -1), refits.ridge(r), weights, intercept=intercept)
            # ε times the condition of S K S + r. Eigenvectors have entries of √w_i in row i.
            atol = 7 * EPS * (1 + largest(k, weights) / r) * np.abs(y).max() * (weights.max() / weights) ** 0.5
            assert (np.abs(one.reshape(7, -1) - expected) <= atol[:, None]).all()

    def test_times(self, outputs, copies, intercept, weighted):
        k, y = problem(outputs=outputs, copies=copies)
        weights = mixed(7) if weighted else np.ones(7)
        highest = largest(k, weights)
        x = np.array([1e-3, 1.0, 30.0, 1e3, 1e5, 1e8])  # τ λ_max
        model = KernelRegression(k, y, intercept=intercept, sample_weight=weights)
        found = model.loo_flow(x / highest * 4.0, learning_rate=0.25, loss_scale="sum")
        for product, one in zip(x, found, strict=True):
            spectral = refits.flow(product / highest)
            expected = refits.leave_one_out(k, y.reshape(7, -1), spectral, weights, intercept=intercept)
            # The contour, and round-off in the eigenvectors, which time amplifies.
            atol = max(1e-13, 2 * EPS * product) * np.abs(y).max()
            np.testing.assert_allclose(one, expected.reshape(y.shape), rtol=0, atol=atol)

    def test_the_end_of_training(self, outputs, copies, intercept, weighted):
        k, y = problem(outputs=outputs, copies=copies)
        weights = mixed(7) if weighted else np.ones(7)
        model = KernelRegression(k, y, intercept=intercept, sample_weight=weights)
        expected = refits.leave_one_out(k, y.reshape(7, -1), refits.end, weights, intercept=intercept)
        values = np.linalg.eigvalsh(np.sqrt(weights)[:, None] * k * np.sqrt(weights))
        atol = 10 * EPS * values[-1] / values[1 if copies else 0] * np.abs(y).max()
        for found in (model.loo(0.0), model.loo_flow(None), model.loo_flow(np.inf), model.loo_flow(1e300)):
            np.testing.assert_allclose(found, expected.reshape(y.shape), rtol=0, atol=atol)

    def test_test_points(self, outputs, copies, intercept, weighted):
        k, y = problem(n=10, outputs=outputs, copies=copies)
        k_train, k_test, y = k[:7, :7], k[6:, :7], y[:7]
        weights = mixed(7) if weighted else np.ones(7)
        model = KernelRegression(k_train, y, intercept=intercept, sample_weight=weights)
        columns = y.reshape(7, -1)
        for ridge in (0.0, 1e-6, 1e-2, 10.0):
            r = ridge * diagonal(k_train, weights)
            spectral = refits.ridge(r) if ridge else refits.end
            expected = refits.all_refits(k_train, columns, k_test, spectral, weights, intercept=intercept)
            trained = refits.trained(k_train, columns, k_test, spectral, weights, intercept=intercept)
            values = np.linalg.eigvalsh(np.sqrt(weights)[:, None] * k_train * np.sqrt(weights))
            smallest = r + (values[1 if copies else 0] if not ridge else 0.0)
            atol = 30 * EPS * (1 + values[-1] / smallest) * np.abs(y).max()
            found, influence = model.loo_predict(ridge, k_test), model.influence(ridge, k_test)
            assert found.shape == influence.shape == (4, *y.shape)
            np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=0, atol=atol)
            change = (trained[:, None] - expected).reshape(found.shape)
            np.testing.assert_allclose(influence, change, rtol=0, atol=atol)
            alpha, mean = model.coefficients(ridge)
            np.testing.assert_allclose((mean + k_test @ alpha).reshape(trained.shape), trained, rtol=0, atol=atol)


class TestLaws:
    """Laws that hold for every kernel."""

    @INTERCEPT
    def test_whole_weights_are_copies(self, intercept):
        k, y = problem(outputs=2, copies=False)
        counts = np.array([1, 3, 1, 2, 1, 1, 4])
        rows = np.repeat(np.arange(7), counts)
        weighted = KernelRegression(k, y, intercept=intercept, sample_weight=counts)
        repeated = KernelRegression(k[np.ix_(rows, rows)], y[rows], intercept=intercept)
        mean = diagonal(k, counts)
        for ridge in RIDGES:
            atol = 20 * EPS * (1 + largest(k, counts) / (ridge * mean)) * np.abs(y).max()
            np.testing.assert_allclose(weighted.loo(ridge)[rows], repeated.loo(ridge), rtol=0, atol=atol)
        t = np.geomspace(1e-3, 1e4, 8)  # the mean over outputs and copies is the same Z
        np.testing.assert_allclose(weighted.loo_flow(t)[:, rows], repeated.loo_flow(t), rtol=0, atol=1e-12)
        np.testing.assert_allclose(weighted.loo_flow(None)[rows], repeated.loo_flow(None), rtol=0, atol=1e-11)

    def test_little_training_is_the_mean_of_the_others(self):
        k, y = problem(outputs=2)
        means = (y.sum(axis=0) - y) / 6
        model = KernelRegression(k, y)
        for t in (0.0, 1e-300, 1e-40, 1e-20):
            np.testing.assert_allclose(model.loo_flow(t), means, rtol=8 * EPS)
        np.testing.assert_allclose(model.loo(1e20), means, rtol=8 * EPS)
        np.testing.assert_allclose(model.loo(1e300), means, rtol=8 * EPS)
        assert not KernelRegression(k, y, intercept=False).loo_flow(0.0).any()

    def test_two_samples(self):
        k, y = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -2.0])
        np.testing.assert_allclose(KernelRegression(k, y).loo([0.0, 1e-3, 10.0]), [y[::-1]] * 3, rtol=1e-14)
        alone = KernelRegression(k, y, intercept=False).loo(0.5, diag_reg_absolute_scale=True)
        np.testing.assert_allclose(alone, [-2 / 3.5, 1 / 2.5], rtol=1e-14)

    def test_test_points_at_training_rows_are_leave_one_out(self):
        k, y = problem(outputs=2)
        model = KernelRegression(k, y, sample_weight=mixed(7))
        for ridge in (1e-3, 1.0):
            found = np.einsum("iio->io", model.loo_predict(ridge, k))
            np.testing.assert_allclose(found, model.loo(ridge), rtol=0, atol=1e-12)

    def test_scaling_the_labels_by_2_scales_predictions_by_2(self):
        k, y = problem(outputs=2)
        one, two = KernelRegression(k, y), KernelRegression(k, 2 * y)
        assert np.array_equal(2 * one.loo(RIDGES), two.loo(RIDGES))
        assert np.array_equal(2 * one.loo_flow([0.0, 1.0, np.inf]), two.loo_flow([0.0, 1.0, np.inf]))
        assert np.array_equal(2 * one.loo_predict(0.1, k), two.loo_predict(0.1, k))
        assert np.array_equal(2 * one.coefficients(0.1).coefficients, two.coefficients(0.1).coefficients)

    @pytest.mark.parametrize("exponent", [-500, 500])
    def test_kernels_and_labels_of_any_scale(self, exponent):
        """Powers of two change no digit: 2^500 is some 1e150."""
        k, y = problem(outputs=2)
        model, scaled = KernelRegression(k, y), KernelRegression(np.ldexp(k, exponent), np.ldexp(y, 2 * exponent))
        ridges, rows = np.array([0.0, 1e-8, 1.0]), k[:3]
        ours = [model.loo(ridges), model.loo_flow([0.0, 3.0, np.inf]), model.loo_predict(0.1, rows)]
        theirs = [
            scaled.loo(ridges),
            scaled.loo_flow([0.0, np.ldexp(3.0, -exponent), np.inf]),
            scaled.loo_predict(0.1, np.ldexp(rows, exponent)),
        ]
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(np.ldexp(a, 2 * exponent), b)
        absolute = scaled.loo(np.ldexp(ridges, exponent), diag_reg_absolute_scale=True)
        assert np.array_equal(np.ldexp(model.loo(ridges, True), 2 * exponent), absolute)
        dual = scaled.coefficients(0.1)
        assert np.array_equal(np.ldexp(model.coefficients(0.1).coefficients, exponent), dual.coefficients)

    def test_a_row_that_outweighs_all_others(self):
        """The mean without it is that of the others, though a subtraction would leave six digits of them."""
        k, y = problem()
        weights = np.full(7, 1e-10)
        weights[3] = 1.0
        found = KernelRegression(k, y, sample_weight=weights).loo(1e30)
        assert found[3] == pytest.approx(np.delete(y, 3).mean(), rel=1e-14)
        np.testing.assert_allclose(np.delete(found, 3), y[3], rtol=1e-9)

    def test_a_row_of_weight_near_0_is_predicted_as_any_other(self):
        k, y = problem(copies=False)
        weights = np.ones(7)
        weights[2] = 1e-9
        for ridge in (0.0, 1e-3, 1.0):
            light, whole = (KernelRegression(k, y, sample_weight=w).loo(ridge, True)[2] for w in (weights, None))
            # Entries of the eigenvectors in this row are √w, with errors of ε.
            assert light == pytest.approx(whole, rel=10 * EPS / 1e-9**0.5 * 1e3)

    def test_ridges_below_round_off_are_the_limit(self):
        for copies in (True, False):
            k, y = problem(copies=copies)
            model = KernelRegression(k, y)
            for ridge in (1e-20, 1e-50, 1e-300):
                np.testing.assert_allclose(model.loo(ridge), model.loo(0.0), rtol=0, atol=1e-11)
                np.testing.assert_allclose(model.coefficients(ridge)[0], model.coefficients(0.0)[0], rtol=1e-9)

    def test_a_kernel_of_zeros_predicts_the_mean(self):
        y = np.array([1.0, 2.0, 6.0])
        model = KernelRegression(np.zeros((3, 3)), y)
        for found in (model.loo(0.0), model.loo(1.0), model.loo(1.0, True), model.loo_flow(5.0), model.loo_flow(None)):
            np.testing.assert_allclose(found, [4.0, 3.5, 1.5], rtol=16 * EPS)

    def test_the_mean_is_that_of_all_outputs_and_weights(self):
        k, y = problem(outputs=3)
        weights = mixed(7)
        model = KernelRegression(k, y, sample_weight=weights)
        z = 3 * weights.sum()
        np.testing.assert_allclose(model.loo_flow(2.0 * z), model.loo_flow(2.0, loss_scale="sum"), rtol=0, atol=1e-13)

    def test_shapes(self):
        k, y = problem()
        for labels, tail in ((y, (7,)), (y[:, None], (7, 1)), (np.c_[y, y], (7, 2))):
            model = KernelRegression(k, labels)
            assert model.loo(0.1).shape == tail
            assert model.loo([0.1, 1.0]).shape == (2, *tail)
            assert model.loo_flow(None).shape == tail
            assert model.loo_flow([1.0, 2.0, 3.0]).shape == (3, *tail)
            assert model.loo_flow([[1.0], [np.inf]]).shape == (2, 1, *tail)
            assert model.loo([]).shape == (0, *tail)
            assert model.loo_flow([]).shape == (0, *tail)
            assert model.coefficients(0.1).coefficients.shape == tail
            assert model.coefficients([0.1, 1.0]).coefficients.shape == (2, *tail)
            assert model.coefficients(0.1).intercept.shape == tail[1:]
            assert model.loo_predict(0.1, k[:2]).shape == (2, *tail)
            assert model.influence(0.1, k[:0]).shape == (0, *tail)
        assert repr(model) == "KernelRegression(y_train of shape (7, 2))"
        assert KernelRegression(k[:1, :1], y[:1]).coefficients(0.1).coefficients.shape == (1,)

    def test_nothing_that_is_passed_changes(self):
        k, y = problem(outputs=2)
        weights, rows = mixed(7), k[:2].copy()
        before = [k.copy(), y.copy(), weights.copy(), rows.copy()]
        model = KernelRegression(k, y, sample_weight=weights)
        model.loo(RIDGES), model.loo_flow([1.0]), model.loo_predict(0.1, rows), model.coefficients(0.0)
        regression.log_marginal_likelihood(k, y, 0.1, eval_gradient=True)
        for array, copy in zip((k, y, weights, rows), before, strict=True):
            assert np.array_equal(array, copy)

    def test_float32_is_computed_in_float64(self):
        k = problem(copies=False)[0] + np.eye(7)  # no eigenvalue within round-off of 0
        single, y = k.astype(np.float32), problem()[1].astype(np.float32)
        ours, double = (KernelRegression(a, b) for a, b in ((single, y), (single.astype(float), y.astype(float))))
        assert np.array_equal(ours.loo(RIDGES), double.loo(RIDGES))
        assert (
            ours.loo(0.1).dtype == ours.loo_flow(1.0).dtype == ours.coefficients(0.1).coefficients.dtype == np.float64
        )

    def test_many_times_are_those_one_by_one(self):
        """Times are taken in groups and rows in blocks."""
        rng = np.random.default_rng(0)
        k = ntkrs.mlp(1, 1, 1).kernel()(rng.standard_normal((150, 4)))
        y, t = rng.standard_normal((150, 2)), np.geomspace(1e-2, 1e6, 150)
        model = KernelRegression(k, y)
        singly = np.stack([model.loo_flow(time) for time in t[::25]])
        np.testing.assert_allclose(model.loo_flow(t)[::25], singly, rtol=0, atol=1e-13)

    def test_the_rank_of_many_times_is_found_from_any_guess(self, monkeypatch):
        rng = np.random.default_rng(0)
        k = ntkrs.mlp(1, 1, 1).kernel()(rng.standard_normal((150, 4)))
        model, t = KernelRegression(k, rng.standard_normal(150)), np.geomspace(1e-2, 1e6, 60)
        found = model.loo_flow(t)
        monkeypatch.setattr(contour, "_RANK", 12)
        monkeypatch.setattr(contour, "_RANK_PER_DECADE", 0)
        np.testing.assert_allclose(model.loo_flow(t), found, rtol=0, atol=1e-12)

    def test_loo_is_the_method(self):
        k, y = problem(outputs=2)
        weights = mixed(7)
        model = KernelRegression(k, y, intercept=False, sample_weight=weights)
        found = regression.loo(k, y, 0.2, True, intercept=False, sample_weight=weights)
        assert np.array_equal(found, model.loo(0.2, True))


K, Y = problem()
NAN = np.full(7, np.nan)
ERRORS = [
    (lambda: KernelRegression(K[:3], Y), ValueError, r"k_train_train has shape \(3, 7\), but \(N, N\)"),
    (lambda: KernelRegression(np.zeros((7, 7, 2, 2)), Y), ValueError, r"\(7, 7, 2, 2\), but \(N, N\)"),
    (lambda: KernelRegression(np.zeros((0, 0)), Y[:0]), ValueError, r"\(0, 0\), but \(N, N\) with N >= 1"),
    (lambda: KernelRegression(aslinearoperator(K), Y), TypeError, "is a .*Operator, but .* an array"),
    (lambda: KernelRegression(K, Y[:3]), ValueError, r"y_train has shape \(3,\), but k_train_train has shape \(7, 7\)"),
    (lambda: KernelRegression(K, NAN), ValueError, r"y_train holds nan at \(0,\)"),
    (lambda: KernelRegression(K * np.nan, Y), ValueError, "k_train_train holds nan"),
    (lambda: KernelRegression(np.triu(K), Y), ValueError, "k_train_train differs from its transpose"),
    (lambda: KernelRegression(-K, Y), np.linalg.LinAlgError, "k_train_train has eigenvalue -.*negative beyond"),
    (lambda: KernelRegression(K, Y, intercept=1), TypeError, "intercept is 1, but True or False"),
    (lambda: KernelRegression(K, Y, sample_weight=Y[:3]), ValueError, r"sample_weight has shape \(3,\), but \(7,\)"),
    (lambda: KernelRegression(K, Y, sample_weight=np.arange(7)), ValueError, "holds 0.0 at 0.*Drop rows of weight 0"),
    (lambda: KernelRegression(K, Y, sample_weight=[1, 2, 1e-20, 1, 1, 1, 1]), ValueError, "holds 1e-20 at 2.*Drop the"),
    (lambda: KernelRegression(K, Y, sample_weight=NAN), ValueError, "sample_weight holds nan"),
    (lambda: KernelRegression(K[:1, :1], Y[:1]).loo(0.1), ValueError, "at least 2 samples are needed to leave one out"),
    (lambda: KernelRegression(K[:1, :1], Y[:1]).loo_flow(0.1), ValueError, "at least 2 samples"),
    (lambda: KernelRegression(K[:1, :1], Y[:1]).loo_predict(0.1, K[:1, :1]), ValueError, "at least 2 samples"),
    (lambda: KernelRegression(K, Y).loo(-1), ValueError, "diag_reg is -1.0, but must be >= 0"),
    (lambda: KernelRegression(K, Y).loo([1, -2]), ValueError, "diag_reg holds -2.0 at 1, but must be >= 0"),
    (lambda: KernelRegression(K, Y).loo([[1.0]]), ValueError, r"diag_reg has shape \(1, 1\), but a number or \(R,\)"),
    (lambda: KernelRegression(K, Y).loo("auto"), TypeError, "diag_reg is 'auto', but a number"),
    (lambda: KernelRegression(K, Y).loo(1.0, "yes"), TypeError, "diag_reg_absolute_scale is 'yes'"),
    (lambda: KernelRegression(K, Y).loo_flow(-1), ValueError, "t holds -1.0, but times are >= 0"),
    (lambda: KernelRegression(K, Y).loo_flow(1, 0), ValueError, "learning_rate is 0.0, but must be positive"),
    (lambda: KernelRegression(K, Y).loo_flow(1, loss_scale="max"), ValueError, "loss_scale is 'max', but must be"),
    (lambda: KernelRegression(K, Y).loo_predict(0.1, K[:, :3]), ValueError, r"k_test_train has shape \(7, 3\)"),
    (lambda: KernelRegression(K, Y).loo_predict([0.1], K), TypeError, r"diag_reg is .*, but a number"),
    (lambda: KernelRegression(K, Y).influence(-0.1, K), ValueError, "diag_reg is -0.1, but must be >= 0"),
    (lambda: KernelRegression(K, Y).log_marginal_likelihood(-0.1), ValueError, "noise is -0.1, but must be >= 0"),
    (
        lambda: KernelRegression(K, Y).log_marginal_likelihood(0),
        np.linalg.LinAlgError,
        "noise is 0.0, too little beside .* Pass a larger noise",
    ),
    (lambda: regression.loo(K, Y[:3], 0.1), ValueError, r"y_train has shape \(3,\)"),
    (lambda: regression.log_marginal_likelihood(K, Y[:3], 0.1), ValueError, r"y_train has shape \(3,\)"),
    (lambda: regression.log_marginal_likelihood(K, Y, -1), ValueError, "noise is -1.0, but must be >= 0"),
    (lambda: regression.log_marginal_likelihood(K, Y, [0.1]), TypeError, "noise is .*, but a number is needed"),
    (lambda: regression.log_marginal_likelihood(K, Y, 0), np.linalg.LinAlgError, "Pass a larger noise"),
    (lambda: regression.log_marginal_likelihood(-K, Y, 0.1), np.linalg.LinAlgError, "not positive definite"),
    (lambda: regression.log_marginal_likelihood(K, Y, 0.1, eval_gradient=1), TypeError, "eval_gradient is 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_page_of_the_docs_runs():
    page = Path(__file__).resolve().parents[1] / "docs" / "regression.md"
    names = {}
    exec("".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)), names)  # noqa: S102
    assert names["best"] < 0.5 * names["y"].var()
    assert names["gradient"].sigma_w.shape == (3,)


def test_what_does_not_fit_in_memory_is_refused(monkeypatch):
    from ntkrs._checks import memory

    model = KernelRegression(K, Y)
    monkeypatch.setattr(memory, "lacking", lambda _: 7)
    for call, message in (
        (lambda: KernelRegression(K, Y), "the eigendecomposition of 7 samples needs"),
        (lambda: model.loo_flow(1.0), "leave-one-out at 1 times needs .*fewer times t"),
        (lambda: model.loo_predict(0.1, K), "at 7 test points needs .*fewer rows of k_test_train"),
        (lambda: regression.log_marginal_likelihood(K, Y, 0.1), "the evidence of 7 samples needs"),
    ):
        with pytest.raises(MemoryError, match=message):
            call()
