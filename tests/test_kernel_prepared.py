"""Inputs that stay prepared for a kernel: the same bits, prepared once, and refused by other kernels."""

import copy
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ntkrs import Activation, Conv, Dense, Flatten, Relu, Sequential, mlp
from ntkrs.kernel import PreparedInputs
from package import CLASSES, built, network

#: Closed forms, series, a polynomial, and functions with jumps: every way to describe variables.
ACTIVATIONS = ["relu", "erf", "gelu", "tanh", "sign", "sin", "gaussian", "abs", ("hermite", 3), ("leaky_relu", 0.3)]


def inputs(dtype, rows=70):
    """Return inputs with duplicates, near duplicates, opposite rows, rows of zeros, and rows of other sizes."""
    x = np.random.default_rng(1).standard_normal((rows, 5)).astype(dtype)
    x[3], x[4], x[5] = x[2], -x[2], np.nextafter(x[2], dtype(9))
    x[[7, 8]] = 0
    x[9:13] *= np.array([[1e-12], [1e-3], [10.0], [30.0]], dtype)
    return x


def kernel_of(activation):
    return network([1.2, 0.9, 1.1, 0.8], [0.1, 0.3, 0.0, 0.2], [built(activation)] * 3, trainable=False)


class Counted:
    """A function that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return np.tanh(x)

    def kernel(self):
        return Sequential(Dense(1), Activation(self, lambda x: 1 - np.tanh(x) ** 2), Dense(1)).kernel()


def _counted(x):
    """Count calls by an attribute, which pickles by name share."""
    _counted.calls += 1
    return np.tanh(x)


_counted.calls = 0


def _slope(x):
    return 1 - np.tanh(x) ** 2


def test_the_activations_of_these_tests_exist():
    assert {built(one).name for one in ACTIVATIONS} <= set(CLASSES)


class TestOperator:
    """An operator prepares its inputs once."""

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("get", ["nngp", "ntk"])
    def test_later_uses_have_the_bits_of_the_first(self, activation, dtype, get):
        x, z = inputs(dtype), inputs(dtype, 40)[::-1]
        kernel, v = kernel_of(activation), np.random.default_rng(2).standard_normal((70, 3))
        whole, cross = kernel(x, get=get), kernel(z, x, get=get)
        operator, rows = kernel.operator(x, get=get), kernel.operator(z, x, get)
        for _ in range(2):
            fresh = kernel.operator(x, get=get)
            assert np.array_equal(fresh.diagonal(), whole.diagonal())
            assert np.array_equal(operator.product(v), fresh.product(v))
            assert np.array_equal(operator.columns([3, 0, 69]), whole[:, [3, 0, 69]])
            assert np.array_equal(operator.diagonal(), whole.diagonal())
            assert np.array_equal(rows.product(v), kernel.operator(z, x, get).product(v))
            assert np.array_equal(rows.columns([3, 0]), cross[:, [3, 0]])
            assert np.array_equal(rows.T.product(v[:40]), kernel.operator(x, z, get).product(v[:40]))
            assert np.array_equal(rows.T.columns([5]), cross.T[:, [5]])

    def test_inputs_are_prepared_once(self):
        function = Counted()
        operator = function.kernel().operator(np.eye(4), np.ones((2, 4)))
        function.calls = 0
        operator @ np.ones(2)
        assert function.calls > 0
        function.calls = 0
        operator @ np.ones(2)
        operator.T @ np.ones(4)
        assert function.calls == 0
        operator.columns([0])  # that column is an input of its own
        assert function.calls > 0

    def test_threads_that_share_it_get_the_same(self):
        x = np.random.default_rng(0).standard_normal((400, 6))
        operator, v = mlp(2, 1, 1, "erf").kernel().operator(x), np.ones(400)
        with ThreadPoolExecutor(4) as executor:
            results = list(executor.map(lambda _: operator @ v, range(12)))
        assert all(np.array_equal(result, results[0]) for result in results)

    def test_what_prepares_them_can_be_stopped(self):
        stops = [True]

        def progress(done, total):
            if stops:
                raise InterruptedError(done, total)

        function = Counted()
        operator = function.kernel().operator(np.eye(4), progress=progress)
        with pytest.raises(InterruptedError):
            operator @ np.ones(4)
        stops.clear()
        assert np.array_equal(operator @ np.ones(4), function.kernel().operator(np.eye(4)) @ np.ones(4))

    def test_an_overflow_is_told_by_every_product(self):
        operator = mlp(2, 1, 1, "exp").kernel().operator(np.ones((1, 1)), [[1.0], [40.0]])
        for _ in range(2):
            with pytest.raises(ValueError, match="row 1 of Z"):
                operator @ np.ones(2)

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_forked_child_uses_them(self):
        operator, v = mlp(2, 1, 1, "erf").kernel().operator(inputs(np.float64)), np.ones(70)
        expected = operator @ v
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=lambda: queue.put((operator @ v).tobytes()))
        process.start()
        try:
            assert queue.get(timeout=60) == expected.tobytes()
        finally:
            process.join(timeout=5)
            process.kill()


class TestPrepare:
    """Prepared inputs stand for X and Z in every method."""

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("parameterization", ["ntk", "standard"])
    def test_results_have_the_bits_of_the_array(self, activation, dtype, parameterization):
        x, z = inputs(dtype), inputs(dtype, 40)[::-1]
        trained = Sequential(Dense(9, 1.2, 0.1), built(activation), Dense(8, 0.9, 0.3, trainable=False))
        kernel = Sequential(*trained.layers, built(activation), Dense(1, 0.8)).kernel(parameterization)
        p, q = kernel.prepare(x), kernel.prepare(z)
        both = ("nngp", "ntk")
        for given in ((p, None), (p, p), (p, z), (x, q), (p, q)):
            plain = [one.array if isinstance(one, PreparedInputs) else one for one in given]
            found, expected = kernel(*given, get=both), kernel(*plain, get=both)
            assert found.ntk.dtype == dtype
            assert np.array_equal(found.nngp, expected.nngp)
            assert np.array_equal(found.ntk, expected.ntk)
            assert np.array_equal(kernel(*given, per_layer=True), kernel(*plain, per_layer=True))
            assert np.array_equal(kernel.depths(*given, get="nngp"), kernel.depths(*plain, get="nngp"))
            assert kernel.error_bound(*given) == kernel.error_bound(*plain)
            v = np.ones((found.ntk.shape[1], 2))
            operator = kernel.operator(*given)
            assert np.array_equal(operator.product(v), kernel.operator(*plain).product(v))
            assert np.array_equal(operator.columns([1]), expected.ntk[:, [1]])
        for get in both:
            assert np.array_equal(kernel.diag(p, get), kernel.diag(x, get))
        assert np.array_equal(x, p.array)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_derivatives_have_the_bits_of_the_array(self, dtype):
        x, z = inputs(dtype), inputs(dtype, 40)[::-1]
        kernel = kernel_of("erf")
        p, q, w = kernel.prepare(x), kernel.prepare(z), np.random.default_rng(0).standard_normal((70, 40))
        for found, expected in (
            (kernel.gradient(p, q), kernel.gradient(x, z)),
            (kernel.gradient(p), kernel.gradient(x)),
        ):
            assert np.array_equal(found.sigma_w, expected.sigma_w)
        found, expected = kernel.gradient(p, z, weights=w), kernel.gradient(x, z, weights=w)
        assert np.array_equal(found.sigma_b, expected.sigma_b)
        for given, plain, weights in (((p, q), (x, z), w), ((z, p), (z, x), w.T), ((p,), (x,), w[:, 0])):
            assert np.array_equal(
                kernel.input_gradient(*given, weights=weights), kernel.input_gradient(*plain, weights=weights)
            )

    def test_inputs_are_prepared_when_they_are_made_and_no_more(self):
        function = Counted()
        kernel = function.kernel()
        function.calls = 0
        prepared = kernel.prepare(np.eye(4))
        assert function.calls > 0
        function.calls = 0
        kernel(prepared), kernel.diag(prepared), kernel.error_bound(prepared), kernel.operator(prepared) @ np.ones(4)
        assert function.calls == 0
        assert np.array_equal(kernel(kernel.prepare(prepared)), kernel(prepared))
        assert function.calls == 0

    def test_they_are_a_copy_that_cannot_change(self):
        x = np.random.default_rng(0).standard_normal((6, 3))
        kernel = mlp(1, 1, 1).kernel()
        prepared, expected = kernel.prepare(x), kernel(x)
        x[:] = 0
        assert np.array_equal(kernel(prepared), expected)
        assert (len(prepared), prepared.shape, prepared.dtype) == (6, (6, 3), np.float64)
        with pytest.raises(ValueError, match="read-only"):
            prepared.array[0] = 1
        out = np.empty((6, 6))
        assert kernel(prepared, out=out) is out
        assert np.array_equal(out, expected)

    @pytest.mark.parametrize("rows", [0, 1])
    def test_few_rows(self, rows):
        kernel = mlp(1, 1, 1, "erf").kernel()
        prepared = kernel.prepare(np.ones((rows, 2)))
        assert kernel(prepared).shape == (rows, rows)
        assert np.array_equal(kernel(np.ones((3, 2)), prepared), kernel(np.ones((3, 2)), np.ones((rows, 2))))

    def test_the_wider_dtype_must_be_theirs(self):
        kernel = mlp(1, 1, 1).kernel()
        x, narrow = np.eye(3), np.eye(3, dtype=np.float32)
        assert np.array_equal(kernel(narrow, kernel.prepare(x)), kernel(narrow, x))
        message = "Z was prepared in float32, but the other inputs are float64: pass them as float32, or prepare Z in"
        with pytest.raises(TypeError, match=message):
            kernel(x, kernel.prepare(narrow))
        with pytest.raises(TypeError, match="X was prepared in float32"):
            kernel.operator(kernel.prepare(narrow), x)

    def test_inputs_are_checked(self):
        kernel = mlp(2, 1, 1, "exp").kernel()
        with pytest.raises(ValueError, match=r"X holds nan at \(1, 0\), but every entry must be finite"):
            kernel.prepare([[1.0], [np.nan]])
        with pytest.raises(ValueError, match="X has 0 features"):
            kernel.prepare(np.ones((2, 0)))
        with pytest.raises(ValueError, match=r"X has shape \(2,\)"):
            kernel.prepare(np.ones(2))
        with pytest.raises(TypeError, match="X holds complex numbers"):
            kernel.prepare(1j * np.eye(2))
        with pytest.raises(ValueError, match="the kernel of row 1 of X leaves the range of float64 in some layer"):
            kernel.prepare([[1.0], [40.0]])
        with pytest.raises(ValueError, match="Z has 2 features, but X has 3"):
            kernel(kernel.prepare(np.eye(3)), np.eye(2))

    def test_another_kernel_and_other_functions_refuse_them(self):
        prepared = mlp(1, 1, 1).kernel().prepare(np.eye(3))
        for call in (mlp(1, 1, 1).kernel(), mlp(1, 1, 1).kernel("standard"), mlp(1, 1, 1).kernel().prepare):
            with pytest.raises(ValueError, match="X was prepared by another kernel"):
                call(prepared)
        with pytest.raises(TypeError, match=r"X is a PreparedInputs of shape .* but an array is needed. Pass X.array"):
            mlp(1, 1, 1).init(3, rng=0)(prepared)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_images_are_taken_too(self, dtype):
        rng = np.random.default_rng(0)
        x, z = (rng.standard_normal((n, 5, 4, 2)).astype(dtype) for n in (4, 3))
        kernel = Sequential(Conv(1, (3, 3)), Relu(), Flatten(), Dense(1)).kernel("standard")
        p, q = kernel.prepare(x), kernel.prepare(z)
        for given in ((p, None), (p, q), (x, q), (p, z)):
            plain = [one.array if isinstance(one, PreparedInputs) else one for one in given]
            assert np.array_equal(kernel(*given), kernel(*plain))
            assert kernel.error_bound(*given) == kernel.error_bound(*plain)
            v = np.ones((kernel(*plain).shape[1], 2))
            assert np.array_equal(kernel.operator(*given) @ v, kernel.operator(*plain) @ v)
        assert np.array_equal(kernel.diag(p), kernel.diag(x))
        x[:] = 0
        assert np.array_equal(kernel(p, q), kernel(p.array, z))
        with pytest.raises(ValueError, match="read-only"):
            p.array[0] = 1
        with pytest.raises(ValueError, match="X was prepared by another kernel"):
            Sequential(Conv(1, (3, 3)), Relu(), Flatten(), Dense(1)).kernel("standard")(p)
        with pytest.raises(ValueError, match="Z was prepared by another kernel"):
            kernel(x, mlp(1, 1, 1).kernel().prepare(np.eye(3)))

    def test_copies_and_pickles_hold_the_array_and_the_kernel(self):
        kernel, x = kernel_of("tanh"), inputs(np.float32, 200)
        prepared = kernel.prepare(x)
        bits = pickle.dumps((kernel, prepared, prepared.array))
        assert len(bits) < len(pickle.dumps((kernel, x))) + 300
        for again, given, array in (pickle.loads(bits), copy.deepcopy((kernel, prepared, prepared.array))):
            assert given.array is array
            assert not array.flags.writeable
            assert np.array_equal(again(given), kernel(x))
            assert np.array_equal(again(x[:9], given), kernel(x[:9], x))
            with pytest.raises(ValueError, match="X was prepared by another kernel"):
                kernel(given)
        assert np.array_equal(kernel(copy.copy(prepared)), kernel(x))

    def test_pickles_are_prepared_when_they_are_used(self):
        kernel = Sequential(Dense(1), Activation(_counted, _slope), Dense(1)).kernel()
        prepared = kernel.prepare(np.eye(4))
        _counted.calls = 0
        again, given = pickle.loads(pickle.dumps((kernel, prepared)))
        built = _counted.calls
        again(given)
        first = _counted.calls
        again(given)
        assert built < first == _counted.calls

    def test_progress_is_told_and_can_stop_it(self):
        heard = []
        kernel = mlp(1, 1, 1).kernel()
        kernel.prepare(np.eye(3), progress=lambda done, total: heard.append(done / total))
        assert heard == sorted(heard)
        assert heard[-1] == 1

        def stop(done, total):
            raise InterruptedError(done, total)

        with pytest.raises(InterruptedError):
            kernel.prepare(np.eye(3), progress=stop)


class TestCore:
    """Refusals of the core."""

    def test_another_kernel_refuses_them(self):
        own, other = (mlp(1, 1, 1).kernel()._cores[None] for _ in range(2))
        x = np.eye(3)
        side = own.keep(x)
        assert side.array is x
        for prepare in (lambda: None, lambda: own.prepare(side, None)):
            prepare()
            with pytest.raises(ValueError, match=r"X was prepared by another kernel. Pass the inputs themselves, or"):
                other.multiply((side, None), np.ones((3, 1)), ("ntk", 1), None)
            with pytest.raises(ValueError, match="Z was prepared by another kernel"):
                other.error_bound((x, side))
            with pytest.raises(ValueError, match="X was prepared by another kernel"):
                other.diag(side, ("ntk", 1))

    def test_another_dtype_is_refused(self):
        core = mlp(1, 1, 1).kernel()._cores[None]
        side = core.keep(np.eye(3))
        with pytest.raises(TypeError, match=r"(?s)the arrays are neither all float64 .* nor all float32"):
            core.multiply((np.eye(3, dtype=np.float32), side), np.ones((3, 1)), ("ntk", 1), None)
        with pytest.raises(TypeError, match="neither all float64"):
            core.keep(np.eye(3, dtype=np.int64))

    def test_numbers_of_features_are_compared(self):
        core = mlp(1, 1, 1).kernel()._cores[None]
        sides = core.keep(np.eye(3)), core.keep(np.eye(2))
        for _ in range(2):
            with pytest.raises(ValueError, match="Z has 2 features, but X has 3"):
                core.multiply(sides, np.ones((2, 1)), ("ntk", 1), None)
            with pytest.raises(ValueError, match="Z has 2 features, but X has 3"):
                core.error_bound(sides)
