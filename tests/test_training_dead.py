"""Networks that a step has killed: the gradient is exactly 0, the loss is not, and a warning names the step."""

import re
import warnings

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Relu, Sequential, diagnostics, mlp, predict
from ntkrs.network import _training

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 3)), RNG.standard_normal(4)


def rate(net, factor):
    return factor * predict.max_learning_rate(net.ntk(X, outputs=0), len(X))


def trained(net, *arguments, **options):
    """Return the trained network, the history, and the step that the only warning names, or None without one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net, history = net.train(*arguments, **options)
    if not caught:
        return net, history, None
    (warning,) = caught
    assert warning.category is ntkrs.StalledTrainingWarning
    assert warning.filename == __file__
    found = re.search(
        r"since step (\d+), .* but the loss is ([\d.e+-]+): training has come to a stop", str(warning.message)
    )
    assert float(found[2]) == pytest.approx(history.loss[-1], rel=1e-5)  # six digits
    return net, history, int(found[1])


def gradient_is_zero(net, x, y):
    return not net.vjp(x, (net(x) - y.reshape(len(x), -1))).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("activation", "factor"), [("gelu", 100), ("relu", 1e4)])
def test_the_step_is_named_at_which_all_units_are_dead(activation, factor, dtype):
    net = mlp(2, 64, 1, activation).init(3, dtype=dtype)
    learning_rate = rate(net, factor if dtype == np.float64 else factor**0.5)
    try:
        dead, history, step = trained(net, X, Y, learning_rate, 50, record_every=1)
    except ValueError as error:
        assert "diverged" in str(error)  # noqa: PT017 float32 has less room before it overflows
        assert dtype == np.float32
        return
    assert not dead(X).any()
    # From then on nothing changes, and before it every step moves the parameters.
    assert (history.parameter_distance[step:] == history.parameter_distance[-1]).all()
    assert (np.diff(history.parameter_distance[: step + 1]) != 0).all()
    before, _ = net.train(X, Y, learning_rate, step - 1)
    assert not gradient_is_zero(before, X, Y)
    assert gradient_is_zero(dead, X, Y)


def test_it_says_what_to_do():
    net = mlp(2, 64, 1, "gelu").init(3)
    with pytest.warns(RuntimeWarning, match=r"learning_rate [\d.]+ and momentum 0\.0 .*max_learning_rate"):
        net.train(X, Y, rate(net, 100), 50)


@pytest.mark.parametrize("loss", ["mse", "softmax_cross_entropy"])
def test_biases_of_the_read_out_do_not_hide_it(loss):
    """They go on learning the mean of the targets, but no output depends on its input."""
    net = mlp(2, 64, 2, "relu", 1.4, 0.1).init(3, rng=2)
    dead = net.with_parameters(np.concatenate([part.ravel() for part in _killed(net)]))
    y = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    after, history, step = trained(dead, X, y, 0.1, 20, loss=loss)
    assert step == 0
    assert history.loss[-1] < history.loss[0]
    assert np.ptp(after(X), axis=0).max() == 0


def _killed(net):
    """Yield the parameters of a network whose hidden biases are so low that every unit is off."""
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        yield weight
        yield bias - 1e4 if layer < len(net.weights) - 1 else bias


def test_with_momentum_parameters_drift_on():
    """One unit, w = 1 → −1 in one step. The velocity then carries it further down, at a gradient of 0."""
    net = ntkrs.Network(Sequential(Dense(1), Relu(), Dense(1, trainable=False)), [[[1.0]], [[1.0]]])
    _, history, step = trained(net, [[1.0]], [0.5], 4.0, 5, momentum=0.5, record_every=1)
    assert step == 1
    assert history.loss[-1] == 0.125
    assert (np.diff(history.parameter_distance) > 0).all()


@pytest.mark.parametrize("arch", ["deep", "linear"])
def test_interpolated_data_is_no_failure(arch):
    net = (mlp(1, 32, 1, "relu", 1.4) if arch == "deep" else mlp(0, 1, 1)).init(3, rng=1)
    x = np.eye(3)
    _, history, step = trained(net, x, net(x)[:, 0], 0.1, 5)
    assert (history.loss == 0).all()
    assert step is None
    _, history, step = trained(net, x, [0.0, 0.0, 0.0], 0.1, 5, centred=True)
    assert (history.loss == 0).all()
    assert step is None


def test_residuals_that_underflow_are_no_failure():
    """float32 residuals of 1e-45 have gradients of 0, and a loss of 1e-90 in float64."""
    net = ntkrs.Network(mlp(0, 1, 1), [np.full((1, 1), 1e-45, np.float32)])
    x = np.ones((4, 1), np.float32)
    _, history, step = trained(net, x, np.zeros(4), 0.1, 3)
    assert 0 < history.loss[-1] < 1e-80
    assert step is None


def test_networks_without_trained_parameters_stay_silent():
    """Nothing is expected to change there, whatever the learning rate."""
    frozen = Sequential(Dense(8, trainable=False), Relu(), Dense(1, trainable=False)).init(3)
    assert trained(frozen, X, Y, 0.1, 5)[2] is None
    # The smallest learning rate: no step is long enough to count.
    assert trained(mlp(1, 8, 1, "relu").init(3), X, Y, 5e-324, 3)[2] is None
    assert trained(mlp(1, 8, 1, "relu").init(3), X, Y, 1e-300, 3)[2] is None
    assert trained(mlp(1, 8, 1, "relu").init(3), X, Y, 0.1, 0)[2] is None


def test_frozen_layers_do_not_hide_it():
    arch = Sequential(Dense(8, trainable=False), Relu(), Dense(8), Relu(), Dense(1, trainable=False))
    net = arch.init(3)
    dead = ntkrs.Network(arch, [net.weights[0], -abs(net.weights[1]), net.weights[2]])
    assert trained(dead, X, Y, 0.1, 5)[2] == 0


def test_inputs_of_zero_are_told_from_the_start():
    with pytest.warns(RuntimeWarning, match=r"since step 0, .*From the start .* inputs of 0"):
        mlp(1, 8, 1, "relu").init(3).train(np.zeros((4, 3)), Y, 0.1, 5)


def test_no_thread_count_changes_the_step():
    net = mlp(2, 200, 1, "gelu").init(3)
    steps = set()
    for count in (1, 3):
        with ntkrs.threads(count):
            steps.add(trained(net, X, Y, rate(net, 100), 20)[2])
    assert len(steps) == 1


def test_diagnostics_that_train_pass_it_on():
    arch = mlp(2, 64, 1, "relu")
    learning_rate = rate(arch.init(3, rng=np.random.default_rng([0, 64, 0])), 1e4)
    with pytest.warns(RuntimeWarning, match="since step .* training has come to a stop"):
        drift = diagnostics.kernel_drift(arch, X, Y, widths=[64], seeds=1, steps=20, learning_rate=learning_rate)
    assert np.isfinite(drift.paths).all()
    assert drift.paths[0, 0, -1] == 1  # the kernel of dead units is 0


def test_kernels_that_grow_beyond_all_bounds():
    """On the way to the death of all units: no warning of NumPy, no infinity, and an error that names the rate."""
    assert _training._norm(np.full((2, 2), 1e200)) == 2e200
    assert _training._norm(np.full((2, 2), 1e30, np.float32)) == pytest.approx(2e30, rel=1e-7)
    net = mlp(2, 64, 1, "gelu").init(3)
    with pytest.raises(
        ValueError, match=r"training diverged with learning_rate .* the kernel of X leaves the range of"
    ):
        net.train(X, Y, rate(net, 100), 20, record_every=1, record=["kernel_drift"])
