"""The three claims of the theory on small networks: they hold, and the code measures the documented quantities."""

import subprocess
import sys

import numpy as np
import pytest

import ntkrs
from ntkrs import diagnostics
from ntkrs.diagnostics import scaling
from oracles import dynamics

RNG = np.random.default_rng(0)
X, X_TEST = RNG.standard_normal((12, 5)), RNG.standard_normal((7, 5))
Y = np.sin(X[:, 0])
RELU = ntkrs.mlp(depth=2, width=3, outputs=1, activation="relu", sigma_w=2**0.5, sigma_b=0.1)
TANH2 = ntkrs.mlp(depth=2, width=3, outputs=2, activation="tanh", sigma_w=1.5)
CLAIMS = {
    "convergence": lambda arch, **options: diagnostics.width_convergence(arch, X, **options),
    "drift": lambda arch, **options: diagnostics.kernel_drift(arch, X, Y, **options),
    "gap": lambda arch, **options: diagnostics.linearization_gap(arch, X, Y, **options),
}


def test_the_slope_of_an_exact_power_law():
    widths = np.array([10, 100, 1000])
    values = 3.0 * np.sqrt(1 / widths)[:, None] * np.array([0.5, 1.0, 2.0])
    line = scaling.fit(widths, values)
    assert line.slope == pytest.approx(-0.5, abs=1e-12)
    assert line.stderr < 1e-12  # every seed has the same slope
    np.testing.assert_allclose(line(widths), 3.0 / np.sqrt(widths))
    assert str(line) == "-0.500 ± 0.000"
    assert scaling.fit(widths[:1], values[:1]) is None
    assert scaling.fit(widths, values * 0) is None
    assert scaling.fit(widths, values[:, :1]).stderr is None


def test_the_standard_error_is_that_of_the_mean_of_the_slopes():
    widths, slopes = np.array([10, 20, 80]), np.array([-1.0, -0.5, -0.3])
    line = scaling.fit(widths, 2.0 * widths[:, None] ** slopes)
    assert line.slope == pytest.approx(-0.6, abs=1e-12)
    # The sample variance over S − 1, 0.13, divided by S = 3.
    assert line.stderr == pytest.approx((0.13 / 3) ** 0.5, rel=1e-12)


def test_kernels_converge_like_the_inverse_root_of_the_width():
    found = diagnostics.width_convergence(RELU, X, widths=(32, 128, 512), seeds=16)
    assert found.values.shape == (3, 16)
    assert found.samples == 12
    assert found.line.slope == pytest.approx(-0.5, abs=0.12)


@pytest.mark.parametrize("claim", ["drift", "gap"])
def test_training_is_lazier_the_wider(claim):
    found = CLAIMS[claim](RELU, widths=(32, 128, 512), seeds=5, steps=60)
    assert found.line.slope < -0.4
    assert found.paths.shape == (3, 5, len(found.steps))
    assert found.steps[0] == 0
    assert found.steps[-1] == 60
    assert np.array_equal(found.paths[..., 0], np.zeros((3, 5)))  # before training nothing has moved


def test_the_drift_is_that_of_the_kernels():
    found = diagnostics.kernel_drift(TANH2, X, np.stack([Y, -Y], 1), (16,), 1, 0.5, 30, 0.5, rng=3)
    net = TANH2.with_width(16).init(5, rng=np.random.default_rng([3, 16, 0]))
    trained, _ = net.train(X, np.stack([Y, -Y], 1), 0.5, 30, momentum=0.5)
    before, after = net.ntk(X), trained.ntk(X)
    assert found.values[0, 0] == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before))
    assert found.line is None


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_gap_is_that_of_the_parameters(momentum):
    """Trains f_lin in parameter space, by literal steps with the Jacobian."""
    y = np.stack([Y, -Y], 1)
    found = diagnostics.linearization_gap(TANH2, X, y, X_TEST, (16,), 1, 0.5, 30, momentum, rng=3)
    net = TANH2.with_width(16).init(5, rng=np.random.default_rng([3, 16, 0]))
    trained, _ = net.train(X, y, 0.5, 30, momentum=momentum)
    j, j_test = net.jacobian(X), net.jacobian(X_TEST)
    start, start_test = net(X), net(X_TEST)
    # J θ = f − f_0 + J θ_0 with θ_0 = 0: the linear model's targets are y − f_0.
    theta = dynamics.parameter_descent(j, np.zeros(j.shape[-1]), y - start, 0.5, 30, y.size, momentum)
    unit = np.linalg.norm(start - y)
    gap = np.linalg.norm(trained(X) - start - j @ theta) / unit
    assert found.paths[0, 0, -1] == pytest.approx(gap, rel=1e-9)
    assert found.values[0, 0] == found.paths.max()
    gap_test = np.linalg.norm(trained(X_TEST) - start_test - j_test @ theta) / unit * (12 / 7) ** 0.5
    assert found.test[0, 0] == pytest.approx(gap_test, rel=1e-9)


def test_a_linear_model_has_no_gap():
    """Two dense layers without an activation are not linear in θ, but nearly so when they are wide."""
    deep = ntkrs.Sequential(ntkrs.Dense(4), ntkrs.Identity(), ntkrs.Dense(1))
    found = diagnostics.linearization_gap(deep, X, Y, widths=(4096,), seeds=1, steps=20)
    assert found.values[0, 0] < 0.02


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_seed_decides_and_progress_is_told(claim):
    told = []
    options = {"widths": (8, 16), "seeds": 2} | ({} if claim == "convergence" else {"steps": 5})
    first = CLAIMS[claim](RELU, rng=1, progress=lambda done, total: told.append(done / total), **options)
    np.testing.assert_array_equal(CLAIMS[claim](RELU, rng=1, **options).values, first.values)
    assert not np.any(CLAIMS[claim](RELU, rng=2, **options).values == first.values)
    assert told == pytest.approx([0.1, 0.2, 0.6, 1.0])


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_plots(claim, seeds):
    pytest.importorskip("matplotlib", reason="plots need the extra ntkrs[demo]")
    for widths in ((8, 32), (8,)):
        options = {"widths": widths, "seeds": seeds} | ({} if claim == "convergence" else {"steps": 5})
        figure = CLAIMS[claim](RELU, **options).plot()
        figure.draw_without_rendering()
        assert figure.axes[0].get_xlabel().startswith("hidden width")


def test_matplotlib_is_imported_only_to_draw():
    code = (
        "import sys, numpy as np, ntkrs; "
        "ntkrs.diagnostics.width_convergence(ntkrs.mlp(1, 1, 1), np.eye(2), (4, 8), 1); "
        "assert 'matplotlib' not in sys.modules; print('fine')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "fine\n"


LINEAR = ntkrs.mlp(depth=0, width=1, outputs=1)
REFUSED = {
    "no hidden layer": (lambda: CLAIMS["convergence"](LINEAR), ValueError, "has no hidden layer"),
    "not an architecture": (lambda: CLAIMS["drift"](3), TypeError, "arch is 3, but a Sequential"),
    "no widths": (lambda: CLAIMS["gap"](RELU, widths=()), ValueError, r"widths is \[\], but distinct"),
    "width 0": (lambda: CLAIMS["gap"](RELU, widths=(0, 3)), ValueError, r"widths is \[0, 3\]"),
    "widths 4": (lambda: CLAIMS["gap"](RELU, widths=4), TypeError, "widths is 4, but a sequence"),
    "seeds": (lambda: CLAIMS["gap"](RELU, seeds=0), ValueError, "seeds is 0, but at least 1"),
    "steps": (lambda: CLAIMS["gap"](RELU, steps=0), ValueError, "steps is 0, but at least 1"),
    "y": (lambda: diagnostics.kernel_drift(RELU, X, Y[:3]), ValueError, r"y has shape \(3,\).*\(12, 1\)"),
    "X_test": (
        lambda: diagnostics.linearization_gap(RELU, X, Y, X_TEST[:, :2]),
        ValueError,
        r"X_test has shape \(7, 2\), but X has shape \(12, 5\)",
    ),
    "zero kernel": (
        lambda: diagnostics.width_convergence(ntkrs.mlp(1, 1, 1), 0 * X),
        ValueError,
        "X gives a kernel that is all 0",
    ),
    "drift of a zero kernel": (
        lambda: diagnostics.kernel_drift(ntkrs.mlp(1, 1, 1), 0 * X, Y, (4,), 1),
        ValueError,
        "X gives a kernel that is all 0: there is nothing to train",
    ),
    "zero kernel at a given rate": (
        lambda: diagnostics.kernel_drift(ntkrs.mlp(1, 1, 1), 0 * X, Y, (4,), 1, learning_rate=0.1),
        ValueError,
        "X gives a kernel that is all 0: there is nothing to train",
    ),
    "complex y": (lambda: diagnostics.kernel_drift(RELU, X, Y + 0j), TypeError, "y holds complex numbers"),
    "divergence": (
        lambda: CLAIMS["drift"](RELU, learning_rate=1e9, widths=(8,), seeds=1),
        ValueError,
        "training diverged",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
