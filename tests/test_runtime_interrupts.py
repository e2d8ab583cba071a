"""Calls of compiled code that Ctrl-C does not wait for."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import scipy.linalg

from ntkrs import predict
from ntkrs._runtime.interrupts import interruptible
from ntkrs.solvers import in_place


def test_results_and_errors_are_those_of_the_call():
    assert interruptible(lambda: 6 * 7) == 42
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_only_the_main_thread_gives_its_calls_away():
    assert interruptible(threading.current_thread) is not threading.current_thread()
    inside = []
    thread = threading.Thread(target=lambda: inside.append(interruptible(threading.current_thread)))
    thread.start()
    thread.join()
    assert inside == [thread]


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process on Windows")
def test_ctrl_c_ends_the_wait(monkeypatch):
    """The decomposition stands still here until the exception has come; a real one would work on."""
    started, released = threading.Event(), threading.Event()

    def endless(_matrix):
        started.set()
        released.wait(60)
        return np.zeros(0)

    def interrupt():
        started.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(in_place, "eigendecompose", endless)
    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        predict.gradient_descent_mse(2 * np.eye(3), np.ones(3))(t=1.0)
    assert time.monotonic() - begin < 20  # the call itself would take a minute
    released.set()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 130])
def test_eigenvectors_in_place(n, dtype):
    rows = np.random.default_rng(n).standard_normal((n, n))
    matrix = np.asfortranarray(rows @ rows.T, dtype=dtype)
    vectors = matrix.copy(order="F")
    vectors[np.triu_indices(n, 1)] = np.nan  # the lower triangle is enough
    values = in_place.eigendecompose(vectors)
    eps = np.finfo(dtype).eps
    expected = scipy.linalg.eigvalsh(matrix.astype(np.float64))
    np.testing.assert_allclose(values, expected, atol=n * eps * expected[-1])  # backward stable
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=4 * n * eps)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=4 * n * eps * expected[-1])


def test_a_matrix_in_any_order_is_decomposed():
    rows = np.random.default_rng(0).standard_normal((40, 5))
    kernel, y = rows @ rows.T + np.eye(40), rows[:, 0]
    expected = predict.gradient_descent_mse(kernel, y)(t=3.0)
    wide = np.zeros((40, 80))
    wide[:, ::2] = kernel
    for same in (np.asfortranarray(kernel), wide[:, ::2], kernel[::-1, ::-1][::-1, ::-1]):
        np.testing.assert_allclose(predict.gradient_descent_mse(same, y)(t=3.0), expected, rtol=1e-12)
