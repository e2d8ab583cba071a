"""NTKKernel: the kernel of the core with theta and its gradient, inside the estimators of scikit-learn."""

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import ntkrs
from ntkrs import Dense, Erf, Relu, Sequential, Tanh, mlp

sklearn = pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from ntkrs.sklearn import NTKKernel

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4))
Z = RNG.standard_normal((7, 4))
Y = np.sin(X[:, 0]) + X[:, 1] + 0.3 * RNG.standard_normal(30)
LABELS = np.where(Y > 0, "high", "low")


class TestValues:
    """Values are those of the core, to the last bit."""

    @pytest.mark.parametrize("get", ["ntk", "nngp"])
    def test_bits_are_those_of_the_core(self, get):
        arch = Sequential(Dense(1, 1.5, 0.1, trainable=False), Erf(), Dense(1, 1.0, 0.2), Relu(), Dense(1, 0.5, 0.0))
        kernel = NTKKernel(2, [Erf(), "relu"], [1.5, 1.0, 0.5], (0.1, 0.2, 0.0), frozen=1, get=get)
        assert kernel.architecture == arch
        assert_array_equal(kernel(X), arch.kernel()(X, get=get))
        assert_array_equal(kernel(X, Z), arch.kernel()(X, Z, get=get))
        assert_array_equal(kernel.diag(X), arch.kernel().diag(X, get=get))

    def test_the_default_is_what_the_docstring_says(self):
        assert NTKKernel().architecture == mlp(3, 1, 1, "relu", 2**0.5, 0.5)
        assert not NTKKernel().is_stationary()

    def test_the_same_inputs_twice_take_the_symmetric_path(self, monkeypatch):
        seen = []
        whole = ntkrs.Kernel.__call__
        monkeypatch.setattr(ntkrs.Kernel, "__call__", lambda *args, **kw: seen.append(args[2]) or whole(*args, **kw))
        NTKKernel()(X, X)
        assert seen == [None]

    def test_float32_is_computed_in_float64(self):
        x = X.astype(np.float32)
        assert_array_equal(NTKKernel()(x), NTKKernel()(x.astype(np.float64)))

    def test_vectors_are_refused_with_a_way_out(self):
        with pytest.raises(ValueError, match=r"X has shape \(4,\).*X.reshape\(1, -1\)"):
            NTKKernel()(X[0])


class TestTheta:
    """Logarithms of the scales that are learned."""

    def test_its_order_and_bounds(self):
        kernel = NTKKernel(1, sigma_w=[1.0, 2.0], sigma_b=0.5, sigma_b_bounds=(0.1, 10.0))
        assert_array_equal(kernel.theta, np.log([0.5, 1.0, 2.0]))
        assert_array_equal(kernel.bounds, np.log([[0.1, 10.0], [1e-2, 1e2], [1e-2, 1e2]]))
        assert [h.name for h in kernel.hyperparameters] == ["sigma_b", "sigma_w"]

    @given(
        depth=st.integers(0, 3),
        listed=st.tuples(st.booleans(), st.booleans()),
        theta=st.lists(st.floats(-3, 3), min_size=8, max_size=8),
    )
    @settings(deadline=None, max_examples=30)
    def test_it_comes_back(self, depth, listed, theta):
        scales = [[1.0] * (depth + 1) if many else 1.0 for many in listed]
        kernel = NTKKernel(depth, sigma_w=scales[0], sigma_b=scales[1])
        count = sum(depth + 1 if many else 1 for many in listed)
        assert kernel.n_dims == count
        values = np.array(theta[:count])
        again = kernel.clone_with_theta(values)
        assert_allclose(again.theta, values, rtol=0, atol=1e-15 * 4)  # log(exp(θ)) rounds twice, with |θ| <= 3
        assert_array_equal(kernel.theta, np.zeros(count))

    def test_scales_of_0_are_not_learned(self):
        assert NTKKernel(sigma_b=0.0).n_dims == 1
        some = NTKKernel(1, sigma_b=[0.0, 0.5], sigma_w_bounds="fixed", sigma_b_bounds=[(1e-2, 1e1), (1e-3, 1e3)])
        assert_array_equal(some.theta, np.log([0.5]))
        assert_array_equal(some.bounds, np.log([[1e-3, 1e3]]))
        assert some.clone_with_theta([0.0]).sigma_b == (0.0, 1.0)
        nothing = NTKKernel(sigma_b=0.0, sigma_w_bounds="fixed")
        assert nothing.theta.shape == (0,)
        assert nothing(X, eval_gradient=True)[1].shape == (30, 30, 0)

    def test_a_wrong_length_is_refused(self):
        with pytest.raises(ValueError, match=r"theta has shape \(3,\), but \(2,\) is needed"):
            NTKKernel().theta = [0.0, 0.0, 0.0]


@given(
    depth=st.integers(0, 3),
    activation=st.sampled_from([Relu(), Erf(), Tanh()]),
    listed=st.booleans(),
    biases=st.booleans(),
    frozen=st.integers(0, 3),
    get=st.sampled_from(["ntk", "nngp"]),
)
@settings(deadline=None, max_examples=40)
def test_the_gradient_is_that_of_differences(depth, activation, listed, biases, frozen, get):
    sigma_b = 0.5 if biases else 0.0
    scales = [np.linspace(0.8, 1.4, depth + 1).tolist(), [sigma_b] * (depth + 1)] if listed else [1.2, sigma_b]
    kernel = NTKKernel(depth, activation, *scales, get=get, frozen=min(frozen, depth))
    values, gradient = kernel(X[:6], eval_gradient=True)
    assert_array_equal(values, kernel(X[:6]))
    assert gradient.shape == (6, 6, kernel.n_dims)
    step = 1e-4
    for at, unit in enumerate(np.eye(kernel.n_dims)):
        # Richardson's differences: an error of step⁴ times the fifth derivative, below 4^(depth + 1) K, and ε K/step.
        moved = [kernel.clone_with_theta(kernel.theta + h * step * unit)(X[:6]) for h in (-2, -1, 1, 2)]
        near, far = (moved[2] - moved[1]) / (2 * step), (moved[3] - moved[0]) / (4 * step)
        assert_allclose(gradient[:, :, at], (4 * near - far) / 3, rtol=0, atol=1e-9 * np.abs(values).max())


def test_gradients_with_other_inputs_are_refused():
    with pytest.raises(ValueError, match="Y is given and eval_gradient is True"):
        NTKKernel()(X, Z, eval_gradient=True)


class TestErrors:
    """Each names the parameter, what came, and what is needed."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sigma_w": [1.0, 2.0]}, "sigma_w has 2 entries, but depth 3 has 4 dense layers: give 4, or one number."),
            ({"sigma_b": [1.0]}, "sigma_b has 1 entries, but depth 3 has 4 dense layers: give 4, or one number."),
            ({"frozen": 9}, "frozen is 9, but depth 3 has 4 dense layers, of which at most 3 may be frozen."),
            ({"activation": ["relu"]}, "activation has 1 entries, but depth 3 has 3 hidden layers: give 3, or one"),
            ({"sigma_w": 0.0}, "sigma_w is 0.0, but must be positive"),
            ({"sigma_w": [1.0, 1.0, -1.0, 1.0]}, "sigma_w is -1.0, but must be positive"),
            ({"sigma_b": -1.0}, "sigma_b is -1.0, but must be >= 0"),
            ({"get": "both"}, "get is 'both', but must be 'ntk' or 'nngp'"),
            ({"depth": -1}, "depth is -1"),
            ({"depth": 10**7}, "depth is 10000000, but mlp makes at most"),
        ],
    )
    def test_parameters(self, options, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            NTKKernel(**options)(X)

    def test_theta_refuses_scales_too(self):
        with pytest.raises(ValueError, match=r"sigma_w is 0\.0, but must be positive"):
            _ = NTKKernel(sigma_w=0.0).theta

    @pytest.mark.parametrize("name", ["ntkrs.sklearn", "ntkrs.sklearn.kernel"])
    def test_without_scikit_learn_the_way_is_told(self, name, monkeypatch):
        for module in [module for module in sys.modules if module.startswith("ntkrs.sklearn")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(ntkrs, "sklearn", raising=False)
        monkeypatch.setitem(sys.modules, "sklearn", None)
        with pytest.raises(ImportError, match=r"this needs scikit-learn.*pip install 'ntkrs\[sklearn\]'"):
            __import__(name)
        assert "sklearn" not in dir(ntkrs)


class TestArchitectures:
    """From and to a Sequential."""

    @pytest.mark.parametrize(
        "arch",
        [
            mlp(3, 1, 1, "tanh", 1.2, 0.3),
            mlp(0, 1, 1),
            Sequential(Dense(1, 1.5, 0.1), Erf(), Dense(1, 1.0, 0.2), Relu(), Dense(1, 0.5, 0.0)),
            Sequential(Dense(1, trainable=False), Relu(), Dense(1)),
        ],
    )
    def test_they_come_back(self, arch):
        assert NTKKernel.from_architecture(arch).architecture == arch
        assert NTKKernel.from_architecture(arch.with_width(64)).architecture == arch

    def test_equal_scales_are_one_number(self):
        assert NTKKernel.from_architecture(mlp(2, 1, 1, sigma_w=1.5)).sigma_w == 1.5

    @pytest.mark.parametrize(
        ("arch", "error", "message"),
        [
            (mlp(1, 1, 1).kernel(), TypeError, "a Sequential is needed"),
            (Sequential(Dense(1, 1.0, 0.0, tau_b=1.0)), ValueError, "tau_b must be None"),
            (Sequential(Dense(1), Relu(), Dense(1, trainable=False)), ValueError, "must be the first"),
            (Sequential(Dense(1, trainable=False)), ValueError, "the last must be trained"),
            (Sequential(Dense(1, None, None)), ValueError, "unknown scales"),
        ],
    )
    def test_others_are_refused(self, arch, error, message):
        with pytest.raises(error, match=message):
            NTKKernel.from_architecture(arch)


def test_the_examples_of_the_page_run():
    page = Path(__file__).resolve().parents[1] / "docs" / "sklearn.md"
    names = {}
    for example in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(example, names)  # noqa: S102 it is ours
    assert names["mean"].shape == names["deviation"].shape == (142,)
    assert names["fitted"].loo_prediction_.shape == (300,)


class TestInScikitLearn:
    """The estimators that take kernels."""

    def test_clones_pickles_and_equality(self):
        kernel = NTKKernel(2, [Erf(), "relu"], [1.0, 2.0, 3.0], 0.0, get="nngp")
        for same in (clone(kernel), pickle.loads(pickle.dumps(kernel))):
            assert same == kernel
            assert_array_equal(same(X), kernel(X))
        assert kernel != NTKKernel()
        shown = "NTKKernel(depth=2, activation=[Erf(), 'relu'], sigma_w=(1.0, 2.0, 3.0), sigma_b=0.0, get='nngp')"
        assert repr(kernel) == shown

    def test_kernels_of_different_depths_learned_are_unequal(self):
        shallow, deep = (NTKKernel(depth, sigma_w=[1.0] * (depth + 1)) for depth in (1, 2))
        assert shallow.clone_with_theta(shallow.theta) != deep.clone_with_theta(deep.theta)

    def test_a_plain_kernel_names_the_ways_to_pass_it(self):
        kernel = mlp(2, 1, 1, "relu", 2**0.5, 0.5).kernel()
        with pytest.raises(ValueError, match=r"X has shape \(4,\) and Z has shape \(4,\).*NTKKernel.*precomputed"):
            KernelRidge(kernel=kernel).fit(X, Y)  # one call for each pair of rows
        ours = KernelRidge(kernel=NTKKernel.from_architecture(kernel.arch)).fit(X, Y)
        matrix = KernelRidge(kernel="precomputed").fit(kernel(X), Y)
        assert_array_equal(ours.predict(Z), matrix.predict(kernel(Z, X)))

    def test_kernel_ridge_calls_it_twice(self, monkeypatch):
        calls = []
        whole = NTKKernel.__call__
        monkeypatch.setattr(NTKKernel, "__call__", lambda *args, **kw: calls.append(1) or whole(*args, **kw))
        model = KernelRidge(alpha=0.5, kernel=NTKKernel(2)).fit(X, Y)
        predicted = model.predict(Z)
        assert len(calls) == 2
        expected = NTKKernel(2)(Z, X) @ np.linalg.solve(NTKKernel(2)(X) + 0.5 * np.eye(30), Y)
        assert_allclose(predicted, expected, rtol=1e-12)  # ε times the condition, about 1e3

    @pytest.mark.parametrize("sigma_w", [2**0.5, [1.0, 1.2]])
    def test_gaussian_process_regression_learns_it(self, sigma_w):
        prior = NTKKernel(1, "erf", sigma_w, get="nngp") + WhiteKernel(0.1)
        labels = Y + 2  # an offset, so that biases are of use
        start = GaussianProcessRegressor(prior, optimizer=None).fit(X, labels)
        model = GaussianProcessRegressor(prior).fit(X, labels)
        assert model.log_marginal_likelihood_value_ > start.log_marginal_likelihood_value_ + 0.1
        mean, deviation = model.predict(Z, return_std=True)
        assert mean.shape == deviation.shape == (7,)
        value, gradient = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
        assert np.isfinite(value)
        assert gradient.shape == model.kernel_.theta.shape

    def test_gaussian_process_classification_learns_it(self):
        model = GaussianProcessClassifier(NTKKernel(1, "erf", sigma_b_bounds="fixed")).fit(X, LABELS)
        assert model.predict_proba(Z).shape == (7, 2)
        assert model.score(X, LABELS) > 0.8

    def test_support_vectors_are_those_of_the_matrix(self):
        model = SVC(kernel=NTKKernel(2)).fit(X, LABELS)
        same = SVC(kernel="precomputed").fit(NTKKernel(2)(X), LABELS)
        assert_array_equal(model.decision_function(Z), same.decision_function(NTKKernel(2)(Z, X)))

    def test_nystroem_with_all_rows_is_the_kernel(self):
        features = Nystroem(NTKKernel(2), n_components=30, random_state=0).fit_transform(X)
        values = NTKKernel(2)(X)
        tolerance = 1e-11 * np.abs(values).max()  # ε times the condition of K, for its inverse square root
        assert_allclose(features @ features.T, values, rtol=0, atol=tolerance)

    def test_a_grid_is_searched_in_two_processes(self):
        grid = {"kernel": [NTKKernel(depth) for depth in (1, 2)], "alpha": [0.1, 1.0]}
        both = GridSearchCV(KernelRidge(), grid, cv=3, n_jobs=2).fit(X, Y)
        one = GridSearchCV(KernelRidge(), grid, cv=3).fit(X, Y)
        assert_array_equal(both.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"])

    def test_parameters_inside_kernels_are_searched(self):
        grid = {"kernel__depth": [1, 2], "kernel__sigma_b": [0.1, 0.5]}
        search = GridSearchCV(KernelRidge(alpha=0.1, kernel=NTKKernel()), grid, cv=3)
        assert search.fit(X, Y).best_params_["kernel__depth"] in (1, 2)

    def test_sums_products_and_powers(self):
        kernel = NTKKernel(1, get="nngp")
        values, gradient = kernel(X, eval_gradient=True)
        for combined, value, slope in (
            (kernel + 2.0, values + 2, gradient),
            (ConstantKernel(3.0, "fixed") * kernel, 3 * values, 3 * gradient),
            (kernel**2, values**2, 2 * values[:, :, None] * gradient),
        ):
            found, found_gradient = combined(X, eval_gradient=True)
            assert_allclose(found, value, rtol=1e-15)
            assert_allclose(found_gradient[:, :, : kernel.n_dims], slope, rtol=1e-14)
            assert_allclose(combined.diag(X), value.diagonal(), rtol=1e-15)
        both = NTKKernel(1) + NTKKernel(2, sigma_w=[1.0, 1.5, 2.0])
        assert both.n_dims == 6
        moved = both.clone_with_theta(both.theta + 1)
        assert_allclose(moved.theta, both.theta + 1, rtol=1e-15)  # log(exp(θ)) rounds twice
