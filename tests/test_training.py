"""Training: against a plain NumPy loop over Jacobians, and by its laws."""

import os
import signal
import threading
from time import monotonic

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, LeakyRelu, Sequential, Tanh, mlp
from oracles import finite

ORACLE_NAMES = {"leaky_relu": ("leaky_relu", 0.1)}

ARCHITECTURES = {
    "linear": Sequential(Dense(2, 1.3, 0.5)),
    "one output": mlp(2, 17, 1, "erf", 1.3, 0.4),
    "mixed": Sequential(
        Dense(70, 1.4, 0.3), Tanh(), Dense(3, 0.9), LeakyRelu(0.1), Dense(33, 1.1, 0.2), Erf(), Dense(3)
    ),
    "no biases": mlp(3, 100, 2, "tanh", 1.2),
}


def model(net, x, alpha=1.0):
    """The oracle's function from θ to outputs and Jacobian."""
    sigma_w, sigma_b = ([getattr(dense, name) for dense in net.arch.dense] for name in ("sigma_w", "sigma_b"))
    names = [ORACLE_NAMES.get(activation.name, activation.name) for activation in net.arch.activations]

    def outputs_and_jacobian(theta):
        parameters = finite.unflatten(theta, net.weights, net.biases, sigma_b)
        arguments = (x, *parameters, sigma_w, sigma_b, names)
        return alpha * finite.forward(*arguments), alpha * finite.jacobian(*arguments)

    return outputs_and_jacobian


def linear_outputs(kernel, f, y, learning_rate, steps):
    """Outputs after steps of f ← f − η/N K (f − y), the training with a constant kernel."""
    for _ in range(steps):
        f = f - learning_rate / y.size * kernel @ (f - y)
    return f


def problem(name, samples, loss, dtype=np.float64):
    rng = np.random.default_rng(samples)
    arch = ARCHITECTURES[name]
    net = arch.init(5, rng=1, dtype=dtype)
    x = rng.standard_normal((samples, 5)).astype(dtype)
    y = rng.standard_normal((samples, arch.outputs)) if loss == "mse" else rng.dirichlet(np.ones(arch.outputs), samples)
    return net, x, y


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("loss", "momentum"), [("mse", 0.0), ("mse", 0.8), ("softmax_cross_entropy", 0.5)])
@pytest.mark.parametrize("samples", [1, 65, 150])
def test_training_is_that_of_a_numpy_loop(name, loss, momentum, samples):
    net, x, y = problem(name, samples, loss)
    trained, history = net.train(x, y, 0.3, 20, momentum, loss, record_every=6, record=["outputs", "kernel_drift"])
    thetas, losses = finite.train(net.parameters, model(net, x), y, 0.3, 20, momentum, loss)
    at = [0, 6, 12, 18, 20]
    assert history.step.tolist() == at
    np.testing.assert_allclose(trained.parameters, thetas[-1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(history.loss, np.array(losses)[at], rtol=1e-10, atol=1e-14)
    distance = [np.linalg.norm(thetas[step] - thetas[0]) for step in at]
    np.testing.assert_allclose(history.parameter_distance, distance, rtol=1e-10, atol=1e-14)
    outputs = [model(net, x)(thetas[step])[0] for step in at]
    np.testing.assert_allclose(history.outputs, outputs, rtol=0, atol=1e-10)
    kernels = [finite.ntk(j, j) for j in (model(net, x)(thetas[step])[1] for step in at)]
    drift = [np.linalg.norm(kernel - kernels[0]) / np.linalg.norm(kernels[0]) for kernel in kernels]
    np.testing.assert_allclose(history.kernel_drift, drift, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_single_precision(name, momentum):
    net, x, y = problem(name, 70, "mse", np.float32)
    trained, history = net.train(x, y, 0.3, 20, momentum)
    double = net.with_parameters(net.parameters.astype(np.float64))
    expected, known = double.train(x, y, 0.3, 20, momentum)
    assert trained.dtype == np.float32
    # 20 steps of a contraction, each with a few roundings of values of order 1 to 10.
    tolerance = 100 * np.finfo(np.float32).eps * 10
    np.testing.assert_allclose(trained.parameters, expected.parameters, rtol=0, atol=tolerance)
    np.testing.assert_allclose(history.loss, known.loss, rtol=tolerance)


def test_labels_are_one_hot_probabilities():
    net, x, _ = problem("mixed", 40, "softmax_cross_entropy")
    labels = np.random.default_rng(0).integers(0, 3, 40)
    expected = net.train(x, np.eye(3)[labels], 0.3, 5, loss="softmax_cross_entropy")
    for same in (labels, labels.astype(np.uint8), labels.tolist()):
        trained, history = net.train(x, same, 0.3, 5, loss="softmax_cross_entropy")
        assert np.array_equal(trained.parameters, expected[0].parameters)
        assert np.array_equal(history.loss, expected[1].loss)


def test_the_cross_entropy_of_large_outputs_is_finite():
    net = ntkrs.Network(Sequential(Dense(2)), [np.array([[1e6, -1e6]])])
    _, history = net.train([[1.0], [-1.0]], [0, 0], 1e-3, 1, loss="softmax_cross_entropy")
    assert history.loss[0] == 1e6  # (0 + 2e6)/2


def test_no_thread_count_changes_a_bit():
    net, x, y = problem("mixed", 200, "mse")
    results = []
    for count in (1, 2, 3, 8):
        with ntkrs.threads(count):
            trained, history = net.train(x, y, 0.3, 10, 0.5, record_every=2)
            results.append((trained.parameters.tobytes(), history.loss.tobytes(), history.parameter_distance.tobytes()))
    assert len(set(results)) == 1


def test_recording_changes_nothing():
    net, x, y = problem("mixed", 70, "mse")
    often, history = net.train(x, y, 0.3, 7, 0.5, record_every=1, record=("outputs", "kernel_drift"))
    seldom, ends = net.train(x, y, 0.3, 7, 0.5)
    assert np.array_equal(often.parameters, seldom.parameters)
    assert history.step.tolist() == list(range(8))
    assert ends.step.tolist() == [0, 7]
    assert ends.outputs is ends.kernel_drift is None
    assert np.array_equal(history.loss[[0, 7]], ends.loss)
    assert np.array_equal(history.outputs[0], net(x))
    assert np.array_equal(history.outputs[7], often(x))
    assert history.kernel_drift[0] == history.parameter_distance[0] == 0


def test_no_steps():
    net, x, y = problem("one output", 3, "mse")
    trained, history = net.train(x, y[:, 0], 0.3, 0)
    assert history.step.tolist() == [0]
    assert np.array_equal(trained.parameters, net.parameters)


class TestLazyTraining:
    """Scaled and centred models (Chizat, Oyallon, Bach 2019)."""

    def test_alpha_scales_the_model_and_its_loss(self):
        net, x, y = problem("mixed", 30, "mse")
        alpha = 8.0
        trained, history = net.train(x, y, 0.3, 10, 0.5, alpha=alpha, record=["outputs"])
        thetas, losses = finite.train(net.parameters, model(net, x, alpha), y, 0.3 / alpha**2, 10, 0.5)
        np.testing.assert_allclose(trained.parameters, thetas[-1], rtol=0, atol=1e-10)
        np.testing.assert_allclose(history.loss, [losses[0], losses[-1]], rtol=1e-10)
        np.testing.assert_allclose(history.outputs[-1], alpha * trained(x), rtol=1e-13, atol=1e-13)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_centred_models_start_at_exactly_zero(self, dtype):
        net, x, y = problem("mixed", 70, "mse", dtype)
        trained, history = net.train(x, y, 0.3, 10, centred=True, alpha=3.0, record=["outputs"])
        assert not history.outputs[0].any()
        expected = 3.0 * (trained(x).astype(float) - net(x))
        np.testing.assert_allclose(history.outputs[-1], expected, rtol=0, atol=100 * np.finfo(dtype).eps)
        if dtype == np.float64:
            shifted = y / 3.0 + net(x)  # the same steps for α = 1, whose targets move by f_0
            same, _ = net.train(x, shifted, 0.3, 10)
            np.testing.assert_allclose(trained.parameters, same.parameters, rtol=0, atol=1e-10)

    def test_training_becomes_lazy_as_alpha_grows(self):
        """Parameters move, and the kernel drifts, like 1/α; outputs approach those of the linear model."""
        net = mlp(1, 30, 1, "tanh", 1.5, 0.3).init(3, rng=2)
        rng = np.random.default_rng(2)
        x, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 1))
        kernel = net.ntk(x, outputs=0)
        linear = linear_outputs(kernel, np.zeros_like(y), y, 0.5, 200)
        alphas = np.array([10.0, 100.0, 1000.0])
        runs = [
            net.train(x, y, 0.5, 200, alpha=alpha, centred=True, record=["outputs", "kernel_drift"])[1]
            for alpha in alphas
        ]
        errors = [np.linalg.norm(run.outputs[-1] - linear) for run in runs]
        for values in ([r.kernel_drift[-1] for r in runs], [r.parameter_distance[-1] for r in runs], errors):
            slope = np.polyfit(np.log(alphas), np.log(values), 1)[0]
            assert abs(slope + 1) < 0.1  # the next term is of relative order 1/α


def test_wide_networks_follow_the_linear_dynamics():
    """The kernel's drift and the distance to the linear model fall at least like n^{-1/2} (Lee, Xiao et al. 2019)."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((8, 4)), rng.standard_normal((8, 1))
    widths, seeds = np.array([64, 256, 1024]), range(6)
    errors, drifts = [], []
    for width in widths:
        error, drift = 0.0, 0.0
        for seed in seeds:
            net = mlp(2, int(width), 1, "erf", 1.5, 0.1).init(4, rng=seed)
            linear = linear_outputs(net.ntk(x, outputs=0), net(x), y, 0.5, 100)
            _, history = net.train(x, y, 0.5, 100, record=["outputs", "kernel_drift"])
            error += np.linalg.norm(history.outputs[-1] - linear)
            drift += history.kernel_drift[-1]
        errors.append(error)
        drifts.append(drift)
    for values in (errors, drifts):
        slope = np.polyfit(np.log(widths), np.log(values), 1)[0]
        # n^{-1/2} is the bound; where the leading term averages out, 1/n is seen. Six seeds give each mean to
        # about 15 %, the slope over a factor of 16 to 0.1.
        assert -1.2 < slope < -0.35


def test_gradient_descent_converges_below_the_largest_rate_and_not_above():
    net = Sequential(Dense(2, 1.2, 0.3)).init(6, rng=0)  # linear in θ: the rule is exact
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 6)), rng.standard_normal((4, 2))
    for momentum in (0.0, 0.7):
        kernel = net.ntk(x).transpose(0, 2, 1, 3).reshape(y.size, y.size)
        largest = 2 * (1 + momentum) * y.size / np.linalg.eigvalsh(kernel)[-1]
        _, below = net.train(x, y, 0.98 * largest, 2000, momentum)
        _, above = net.train(x, y, 1.02 * largest, 2000, momentum)
        assert below.loss[-1] < 1e-6 * below.loss[0]
        assert above.loss[-1] > 10 * above.loss[0]


def test_divergence_is_an_error_that_names_the_step():
    net, x, y = problem("one output", 20, "mse", np.float32)
    message = r"diverged with learning_rate 1e\+30 and momentum 0\.0: the loss is not finite after \d+ steps"
    with pytest.raises(ValueError, match=message + ".*max_learning_rate"):
        net.train(x, y, 1e30, 50)


X, Y = np.eye(5), np.ones((5, 1))
REFUSED = {
    "rows": (
        {"y": Y[:3]},
        ValueError,
        r"y has shape \(3, 1\), but \(5, 1\) is needed: a row for each of X",
    ),
    "y NaN": ({"y": Y * np.nan}, ValueError, r"y holds nan at \(0, 0\)"),
    "y text": ({"y": ["a"] * 5}, TypeError, "y holds text"),
    "y 1e300": ({"y": Y * 1e300}, ValueError, r"y holds 1e\+300 at \(0, 0\), which exceeds float32"),
    "no samples": ({"X": X[:0], "y": Y[:0]}, ValueError, "X has no samples"),
    "features": ({"X": X[:, :4]}, ValueError, "X has 4 features, but the network has 5"),
    "X inf": ({"X": X - np.inf}, ValueError, "X holds "),
    "rate 0": ({"learning_rate": 0}, ValueError, "learning_rate is 0.0, but must be positive"),
    "rate NaN": ({"learning_rate": np.nan}, ValueError, "learning_rate is nan, but must be finite"),
    "rate text": ({"learning_rate": "1"}, TypeError, "learning_rate is '1'"),
    "steps": ({"steps": -1}, ValueError, "steps is -1, but must be >= 0"),
    "steps float": ({"steps": 1.5}, TypeError, "steps is 1.5, but an integer"),
    "momentum": ({"momentum": 1.0}, ValueError, "momentum is 1.0, but must be below 1"),
    "loss": ({"loss": "hinge"}, ValueError, "loss is 'hinge', but must be 'mse' or 'softmax_cross_entropy'"),
    "loss list": ({"loss": ["mse"]}, ValueError, r"loss is \['mse'\]"),
    "record_every": ({"record_every": 0}, ValueError, "record_every is 0, but must be at least 1"),
    "record": ({"record": ["weights"]}, ValueError, "record is 'weights', but must be 'outputs' or 'kernel_drift'"),
    "record None": ({"record": None}, TypeError, "record is None, but a sequence"),
    "alpha": ({"alpha": -1}, ValueError, "alpha is -1.0, but must be positive"),
    "centred": ({"centred": 1}, TypeError, "centred is 1, but True or False"),
    "labels": (
        {"y": [0, 0, 0, 1, 0], "loss": "softmax_cross_entropy"},
        ValueError,
        r"y holds 1.0 at \(3,\), but labels are",
    ),
    "label 0.5": ({"y": [0, 0.5, 0, 0, 0], "loss": "softmax_cross_entropy"}, ValueError, r"y holds 0.5 at \(1,\)"),
    "label count": (
        {"y": [0, 0], "loss": "softmax_cross_entropy"},
        ValueError,
        r"y has shape \(2,\), but \(5, 1\) is needed: a row for each",
    ),
    "probabilities": (
        {"y": 0.5 * Y, "loss": "softmax_cross_entropy"},
        ValueError,
        "row 0 of y sums to 0.5, but probabilities",
    ),
    "memory": (
        {"X": np.broadcast_to(np.float32(0), (10**9, 5))},
        MemoryError,
        "training on 1000000000 samples needs .* Train on fewer",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(change, error, message):
    arguments = {"X": X, "y": Y, "learning_rate": 0.1, "steps": 3} | change
    with pytest.raises(error, match=message):
        mlp(1, 4, 1).init(5, dtype=np.float32).train(**arguments)


def test_the_network_and_its_inputs_are_left_alone():
    net, x, y = problem("mixed", 30, "mse")
    before = net.parameters.copy(), x.copy(), y.copy()
    trained, _ = net.train(x[::-1, ::-1], y, 0.3, 3)
    expected, _ = net.train(np.ascontiguousarray(x[::-1, ::-1]), y, 0.3, 3)
    assert np.array_equal(trained.parameters, expected.parameters)
    assert all(np.array_equal(a, b) for a, b in zip(before, (net.parameters, x, y), strict=True))


class TestLongTraining:
    """Interrupts and progress."""

    def long(self, **keywords):
        net = mlp(3, 256, 1, "relu", 2**0.5, 0.1).init(100, rng=0)
        x = np.random.default_rng(0).standard_normal((256, 100))
        return net.train(x, x[:, :1], 1e-3, 10**6, **keywords)

    def test_ctrl_c(self):
        raised = []

        def interrupt():
            raised.append(monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(0.3, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            self.long()
        # 0.2 s is the promise; the rest is for a busy machine.
        assert monotonic() - raised[0] < 1.0

    def test_progress_counts_steps_and_may_end_training(self):
        seen = []

        def progress(done, total):
            seen.append((done, total))
            if len(seen) == 3:
                raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            self.long(progress=progress, record_every=10**5)
        assert [total for _, total in seen] == [10**6] * 3
        assert 0 <= seen[0][0] <= seen[1][0] <= seen[2][0] < 10**6

    def test_the_last_report_says_that_all_is_done(self):
        net, x, y = problem("mixed", 30, "mse")
        seen = []
        net.train(x, y, 0.3, 4, record_every=2, progress=lambda *counts: seen.append(counts))
        assert seen[-1] == (4, 4)


@pytest.mark.parametrize(("dtype", "alpha"), [(np.float32, 1e6), (np.float64, 1e15), (np.float64, 1e-200)])
def test_scales_that_leave_no_digits_are_refused(dtype, alpha):
    net = ntkrs.mlp(1, 3, 1).init(2, dtype=dtype)
    with pytest.raises(ValueError, match=r"alpha is .*, but must be between 1e-06 and"):
        net.train(np.eye(2), np.ones(2), 0.1, 1, alpha=alpha)


def test_the_drift_of_no_kernel_is_refused():
    with pytest.raises(ValueError, match="X gives a kernel that is all 0"):
        ntkrs.mlp(1, 3, 1).init(2).train(np.zeros((2, 2)), np.ones(2), 0.1, 1, record=["kernel_drift"])


def test_what_is_written_to_the_inputs_meanwhile_changes_nothing():
    def train(progress, x, y):
        net = mlp(2, 16, 1, "tanh").init(4, rng=0)
        # Large enough for several progress reports, one every 50 ms.
        return net.train(x, y, 0.1, 400, record_every=100, record=["outputs", "kernel_drift"], progress=progress)

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((600, 4)), rng.standard_normal((600, 1))
    expected, before = train(None, x.copy(), y.copy())

    def spoil(*_):
        x[:], y[:] = 7.0, -7.0

    trained, history = train(spoil, x, y)
    assert (x == 7.0).all()
    np.testing.assert_array_equal(trained.parameters, expected.parameters)
    for ours, theirs in zip(history, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
