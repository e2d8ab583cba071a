"""Products in float64: with a symmetric matrix in memory, and with the kernels of operators."""

import numpy as np
import pytest

import ntkrs
from ntkrs import _core

#: ε of float64. A sum of n terms in any order is off by at most n ε times the sum of their sizes.
EPS = np.finfo(np.float64).eps


def problem(n, r, dtype):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, 7)).astype(dtype)
    return x, ntkrs.mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()(x), rng.standard_normal((n, r))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "r"), [(0, 3), (1, 1), (7, 0), (95, 2), (97, 5), (400, 1), (400, 13)])
def test_products_are_sums_in_float64(n, r, dtype):
    _, kernel, vectors = problem(n, r, dtype)
    wide = kernel.astype(np.float64)
    product = _core.stored_product(kernel, vectors, None)
    assert product.dtype == np.float64
    bound = n * EPS * (np.abs(wide) @ np.abs(vectors))
    assert np.all(np.abs(product - wide @ vectors) <= bound)


def test_the_bits_do_not_depend_on_threads_or_strides():
    _, kernel, vectors = problem(700, 11, np.float32)
    expected = _core.stored_product(kernel, vectors, None)
    for count in (1, 3, 5):
        with ntkrs.threads(count):
            assert np.array_equal(_core.stored_product(kernel, vectors, None), expected)
    strided = np.zeros((1400, 2100), np.float32)[::2, ::3]
    strided[:] = kernel
    assert np.array_equal(_core.stored_product(strided, np.asfortranarray(vectors), None), expected)
    columns = [_core.stored_product(kernel, vectors[:, i : i + 1], None) for i in range(11)]
    assert np.array_equal(np.hstack(columns), expected)


def test_wrong_shapes_and_values_are_refused():
    vectors = np.ones((3, 1))
    with pytest.raises(ValueError, match=r"K has shape \[3, 4\], but \[3, 3\] is needed"):
        _core.stored_product(np.ones((3, 4)), vectors, None)
    with pytest.raises(ValueError, match=r"V has shape \[3, 1\], but \[2, 1\] is needed"):
        _core.stored_product(np.ones((2, 2)), vectors, None)
    with pytest.raises(TypeError):
        _core.stored_product(np.ones((3, 3), np.float16), vectors, None)
    with pytest.raises(ValueError, match="range of float64"):
        _core.stored_product(np.full((3, 3), np.inf), vectors, None)


def test_progress_ends_complete_and_its_exception_ends_the_call():
    _, kernel, vectors = problem(2000, 8, np.float64)
    heard = []
    _core.stored_product(kernel, vectors, lambda *counts: heard.append(counts))
    assert heard[-1][0] == heard[-1][1]

    def fail(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _core.stored_product(kernel, vectors, fail)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_operator_of_a_kernel_has_its_product_in_float64(dtype):
    x, _, vectors = problem(150, 4, dtype)
    kernel = ntkrs.mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()
    operator = kernel.operator(x)
    product = operator.product(vectors)
    assert product.dtype == np.float64
    assert np.array_equal(product.astype(dtype), operator @ vectors)
    assert np.array_equal(operator.product(vectors[:, 0]), product[:, 0])
    # The entries are those of the kernel before they are rounded to its dtype.
    size = np.abs(kernel(x).astype(np.float64)) @ np.abs(vectors)
    off = np.abs(product - kernel(x).astype(np.float64) @ vectors)
    assert np.all(off <= (np.finfo(dtype).eps + 150 * EPS) * size)
    rectangular = kernel.operator(x[:50], x).product(vectors)
    assert np.all(np.abs(rectangular - product[:50]) <= 2 * 150 * EPS * size[:50])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", ["full", "trace", "mean", "sum", "diagonal", 1])
def test_the_operator_of_a_network_has_its_product_in_float64(dtype, outputs):
    rng = np.random.default_rng(0)
    net = ntkrs.mlp(2, 20, 3, "erf", 1.4, 0.1).init(5, rng=1, dtype=dtype)
    x = rng.standard_normal((110, 5)).astype(dtype)
    operator = net.operator(x, outputs)
    vectors = rng.standard_normal((operator.shape[0], 3))
    product = operator.product(vectors)
    assert product.dtype == np.float64
    kernel = net.ntk(x, outputs=outputs).astype(np.float64)
    if outputs == "full":
        kernel = kernel.transpose(0, 2, 1, 3).reshape(operator.shape)
    elif outputs == "diagonal":
        kernel = np.einsum("ijm,mk->imjk", kernel, np.eye(3)).reshape(operator.shape)
    size = np.abs(kernel) @ np.abs(vectors)
    # Rounding of the kernel's entries, and of sums of at most 330 terms.
    assert np.all(np.abs(product - kernel @ vectors) <= (np.finfo(dtype).eps + 330 * EPS) * size)
    assert np.array_equal(operator.product(vectors[:, 0]), product[:, 0])


def test_the_product_of_a_network_refuses_several_kernels():
    net = ntkrs.mlp(1, 2, 2).init(3, rng=0)
    with pytest.raises(ValueError, match="'diagonal' are several kernels"):
        net._state.core.multiply((np.eye(3), None), np.ones((3, 1)), "diagonal", None)
