"""Finite networks with Python functions as activations: against the catalogue, and in which thread they are called."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Dense, Relu, Sequential, mlp


def tanh_slope(x):
    return 1 / np.cosh(x) ** 2


def swish(x):
    return x / (1 + np.exp(-x))


def swish_slope(x):
    s = 1 / (1 + np.exp(-x))
    return s + x * s * (1 - s)


def architecture(tanh, silu):
    """Python functions first, between and after built-in ones, and a layer of more values than one call takes."""
    dense = (Dense(257, 1.4, 0.3), Dense(3, 0.9), Dense(33, 1.1, 0.2), Dense(20, 1.2), Dense(3))
    return Sequential(dense[0], tanh, dense[1], Relu(), dense[2], silu, dense[3], tanh, dense[4])


TANH = Activation(np.tanh, tanh_slope)
OURS = architecture(TANH, Activation(swish, swish_slope))
THEIRS = architecture(ntkrs.Tanh(), ntkrs.Silu())
SAMPLES = 300


def calls(arch, dtype=np.float64):
    """All calls of a finite network, by name."""
    net, rng = arch.init(5, rng=3, dtype=dtype), np.random.default_rng(0)
    x, z = rng.standard_normal((SAMPLES, 5)).astype(dtype), rng.standard_normal((7, 5)).astype(dtype)
    v, u = rng.standard_normal((2, net.parameters.size)) / 10, rng.standard_normal((2, SAMPLES, 3))
    y = rng.standard_normal((SAMPLES, 3))
    forms = ("full", "trace", "mean", "diagonal", "sum", 1)
    options = {"momentum": 0.5, "record": ("outputs", "kernel_drift"), "centred": True, "progress": False}
    training = {
        "train": lambda: net.train(x[:30], y[:30], 0.1, 3, **options)[0].parameters,
        "history": lambda: np.concatenate([np.ravel(part) for part in net.train(x[:9], y[:9], 0.1, 3, **options)[1]]),
    }
    return {
        "forward": lambda: net(x),
        "jacobian": lambda: net.jacobian(x[:20]),
        "jvp": lambda: net.jvp(x, v),
        "vjp": lambda: net.vjp(x, u),
        "linearize": lambda: net.linearize()(x, net.parameters + v[0].astype(dtype)),
        "operator": lambda: net.operator(x[:40], "trace") @ u[0, :40, 0],
        **{f"ntk {form}": lambda form=form: net.ntk(x[:150], outputs=form) for form in forms},
        **{f"ntk {form} of two": lambda form=form: net.ntk(x, z, outputs=form, per_layer=True) for form in forms},
        **training,
    }


EVERY = list(calls(OURS))
EMPTY = mlp(1, 4, 2, TANH).init(5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("call", EVERY)
def test_they_are_those_of_the_catalogue(call, dtype):
    ours, theirs = calls(OURS, dtype)[call](), calls(THEIRS, dtype)[call]()
    assert ours.dtype == theirs.dtype
    # φ is rounded differently, through sums of up to 257 terms and 5 layers forward and back. In float32 h is too, and
    # a thousandth of its entries are so near the kink of ReLU that they may fall on its other side.
    tolerance = 3000 * np.finfo(np.float64).eps if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * abs(theirs).max())


@pytest.mark.parametrize("call", EVERY)
def test_no_thread_count_changes_a_bit(call):
    results = set()
    for count in (1, 2, 5):
        with ntkrs.threads(count):
            results.add(calls(OURS)[call]().tobytes())
    assert len(results) == 1


def test_entries_depend_on_their_rows_alone():
    net, x = OURS.init(5, rng=1), np.random.default_rng(0).standard_normal((100, 5))
    assert np.array_equal(net(x)[17:31], net(x[17:31]))
    assert np.array_equal(net.ntk(x)[17:31, 40:], net.ntk(x[17:31], x[40:]))


@pytest.mark.parametrize("n", [0, 1, 8, 9])
def test_batches_of_any_size(n):
    x = np.random.default_rng(0).standard_normal((n, 5))
    for ours, theirs in ((EMPTY, mlp(1, 4, 2, "tanh").init(5)),):
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-13)
        np.testing.assert_allclose(ours.ntk(x), theirs.ntk(x), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(ours.vjp(x, np.ones((n, 2))), theirs.vjp(x, np.ones((n, 2))), rtol=1e-12, atol=1e-14)
        assert ours.jvp(x, ours.parameters).shape == (n, 2)


def test_ensembles_are_those_of_the_catalogue():
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((9, 5)), rng.standard_normal((4, 5))
    for outputs in ("full", "diagonal", 1):
        ours, theirs = (ntkrs.ensemble_ntk(arch, x, z, seeds=4, outputs=outputs) for arch in (OURS, THEIRS))
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-9, atol=1e-13)


class Watched:
    """The hyperbolic tangent, with a hook that runs when it is called."""

    def __init__(self):
        self.at_call = np.tanh

    def __call__(self, x):
        return self.at_call(x)

    def network(self):
        arch = Sequential(Dense(100), Activation(self, tanh_slope), Dense(100), Relu(), Dense(2))
        return arch.init(5, rng=0)

    def calls(self):
        """Calls with enough work to wake other threads."""
        net, rng = self.network(), np.random.default_rng(0)
        x, y = rng.standard_normal((300, 5)), rng.standard_normal((300, 2))
        return {
            "forward": lambda: net(x),
            "jacobian": lambda: net.jacobian(x),
            "jvp": lambda: net.jvp(x, net.parameters),
            "vjp": lambda: net.vjp(x, y),
            "ntk": lambda: net.ntk(x),
            "train": lambda: net.train(x, y, 0.1, 5)[0].parameters,
            "centred": lambda: net.train(x, y, 0.1, 5, centred=True)[0].parameters,
            "ensemble": lambda: ntkrs.ensemble_ntk(net.arch, x, seeds=3).mean,
        }


WATCHED = list(Watched().calls())


@pytest.mark.parametrize("call", WATCHED)
class TestCalls:
    """The thread in which functions are called, and the effects of their exceptions and mistakes."""

    def test_only_the_calling_thread_calls(self, call):
        watched, threads = Watched(), set()
        work = watched.calls()[call]

        def tanh(x):
            threads.add(threading.get_ident())
            return np.tanh(x)

        watched.at_call = tanh
        with ntkrs.threads(4):
            work()
        assert threads == {threading.get_ident()}

    @pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
    def test_what_they_raise_ends_the_call(self, call, raised):
        watched = Watched()
        work = watched.calls()[call]
        expected = work()

        def fail(_):
            raise raised("not today")

        watched.at_call = fail
        with pytest.raises(raised, match="not today"):
            work()
        watched.at_call = np.tanh
        assert np.array_equal(work(), expected)

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (lambda x: x[:-1], r"fn returned shape \(\d+,\) and dtype float64 for an array of shape \(\d+,\)"),
            (lambda x: x[:, None], r"fn returned shape \(\d+, 1\)"),
            (lambda x: x + 1j, "fn returned .* dtype complex128"),
            (lambda _: None, "fn returned .* dtype object"),
            (lambda x: np.where(x > x.min(), x, np.nan), r"fn returned nan at -\d\.\d+, but must be finite there"),
            (lambda x: np.where(x > x.min(), x, np.inf), r"fn returned inf at -\d\.\d+"),
        ],
    )
    def test_what_they_return_is_checked(self, call, returned, message):
        watched = Watched()
        work = watched.calls()[call]
        watched.at_call = returned
        with pytest.raises(ValueError, match=message):
            work()

    def test_other_real_dtypes_are_taken(self, call):
        watched = Watched()
        work = watched.calls()[call]
        watched.at_call = lambda x: np.round(x).astype(np.int64)
        integers = work()
        watched.at_call = np.round
        assert np.array_equal(work(), integers)

    def test_they_may_call_ntkrs_again(self, call):
        watched = Watched()
        work = watched.calls()[call]
        expected, inner = work(), mlp(2, 8, 1, TANH).init(5)
        x = np.eye(5)
        known = inner.ntk(x)

        def again(h):
            assert np.array_equal(inner.ntk(x), known)
            with pytest.raises(ValueError, match="X has 4 features"):
                inner(x[:, :4])
            return np.tanh(h)

        watched.at_call = again
        assert np.array_equal(work(), expected)

    def test_an_interrupt_in_them_is_heard(self, call):
        watched = Watched()
        work = watched.calls()[call]
        expected = work()

        def interrupted(x):
            signal.raise_signal(signal.SIGINT)
            return np.tanh(x)

        watched.at_call = interrupted
        with pytest.raises(KeyboardInterrupt):
            work()
        watched.at_call = np.tanh
        assert np.array_equal(work(), expected)

    def test_an_interrupt_during_a_slow_call_is_heard_at_once(self, call):
        watched = Watched()
        work = watched.calls()[call]
        sent = []

        def slow(x):
            if not sent:
                sent.append(threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident, 2)))
                sent[0].start()
            end = time.monotonic() + 20
            while time.monotonic() < end:
                np.tanh(x)
            return np.tanh(x)

        watched.at_call = slow
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            work()
        assert time.monotonic() - start < 10  # half of the time that the function alone would take


def test_values_beyond_the_dtype_are_refused():
    net = mlp(1, 4, 1, Activation(lambda x: 1e300 * x, lambda x: np.full_like(x, 1e300))).init(2, dtype=np.float32)
    for call in (net, net.ntk, net.jacobian):
        with pytest.raises(ValueError, match="an activation of the network exceeds the largest float32"):
            call(np.eye(2))
    steep = Activation(lambda x: 1e39 * np.tanh(x * 1e-9), lambda x: 1e30 * tanh_slope(x * 1e-9))
    with pytest.raises(ValueError, match="an activation of the network exceeds the largest float32"):
        mlp(1, 4, 1, steep).init(2, dtype=np.float32)(1e11 * np.eye(2))
    calls = []
    huge = mlp(1, 4, 1, Activation(lambda x: calls.append(x) or np.tanh(x), tanh_slope)).init(2)
    calls.clear()
    with pytest.raises(ValueError, match="an activation of the network exceeds the largest float64"):
        huge(np.full((1, 2), 1.7e308))
    assert not calls  # functions are never called with values that are not finite


def test_training_that_diverges_is_told():
    net = mlp(1, 16, 1, Activation(lambda x: x, np.ones_like)).init(3, rng=0)
    with pytest.raises(ValueError, match=r"training diverged with learning_rate 1000\.0"):
        net.train(np.eye(3), [1.0, 0.0, 0.0], 1000.0, 500)


def test_passes_made_ahead_count_as_memory(limit_memory):
    x = np.zeros((1000, 5))
    limit_memory(8 * 1000 * (2 * 5 + 2 * 101 + 100))
    mlp(1, 100, 1, "tanh").init(5).vjp(x, np.zeros((1000, 1)))
    with pytest.raises(MemoryError, match="a gradient over 1000 samples needs"):
        mlp(1, 100, 1, TANH).init(5).vjp(x, np.zeros((1000, 1)))


def test_many_python_threads_get_the_same_bits():
    net, x = OURS.init(5, rng=1), np.random.default_rng(0).standard_normal((30, 5))
    expected = net.ntk(x)
    with ThreadPoolExecutor(8) as executor:
        assert all(np.array_equal(result, expected) for result in executor.map(lambda _: net.ntk(x), range(24)))


def test_each_thread_hears_of_its_own_exception():
    def moody(x):
        if np.abs(x).max() > 100:
            raise LookupError(f"{threading.current_thread().name}")
        return np.tanh(x)

    net = mlp(1, 16, 1, Activation(moody, tanh_slope)).init(3, rng=0)
    x = np.random.default_rng(0).standard_normal((30, 3))

    def work(index):
        if index % 2:
            with pytest.raises(LookupError, match=threading.current_thread().name):
                net(1e6 * x)
            return None
        return net(x)

    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(work, range(64)))
    assert all(np.array_equal(result, net(x)) for result in results[::2])


def test_activations_may_share_one_array():
    """The exponential is its own derivative, and a function may change its argument in place and return it."""
    exponential = mlp(1, 8, 1, Activation(np.exp, np.exp)).init(3, rng=0)
    known = mlp(1, 8, 1, "exp").init(3, rng=0)
    np.testing.assert_allclose(exponential.ntk(np.eye(3)), known.ntk(np.eye(3)), rtol=1e-13)
    in_place = mlp(1, 8, 1, Activation(lambda x: np.tanh(x, out=x), tanh_slope)).init(3, rng=0)
    assert np.array_equal(in_place.ntk(np.eye(3)), mlp(1, 8, 1, TANH).init(3, rng=0).ntk(np.eye(3)))


def test_wide_networks_approach_their_own_infinite_kernel():
    x = np.random.default_rng(0).standard_normal((6, 8))
    arch = mlp(2, 1024, 1, Activation(swish, swish_slope), 1.5, 0.1)
    exact = arch.kernel()(x)
    mean = np.mean([arch.init(8, rng=seed).ntk(x, outputs=0) for seed in range(8)], axis=0)
    # The spread at this width is about 5 % of an entry, divided by √8 for 8 networks.
    np.testing.assert_allclose(mean, exact, rtol=0, atol=0.08 * exact.max())
