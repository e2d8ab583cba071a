"""Rows that are exactly or nearly parallel, through activations whose slope at ρ = ±1 is infinite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrs import Dense, Relu, Sequential, Sign, mlp
from oracles import infinite, jumps
from oracles.tables import CLOSED_FORMS, JUMPS, named
from package import built
from test_kernel import EPS, errors, hard_rows

#: The README's promises for the NNGP, in each dtype.
BOUNDS = {np.float64: 16 * EPS, np.float32: 8 * np.finfo(np.float32).eps}


def stack(layers, sigma_w=1.0, sigma_b=0.0):
    """Return the network of these activations with equal dense layers, whose scales may be lists."""
    sw, sb = (np.broadcast_to(sigma, len(layers) + 1) for sigma in (sigma_w, sigma_b))
    parts = [part for layer, *scales in zip(layers, sw, sb, strict=False) for part in (Dense(1, *scales), layer)]
    return Sequential(*parts, Dense(1, sw[-1], sb[-1]))


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("activation", **named(JUMPS))
def test_parallel_rows_of_different_lengths_stay_equal(activation, dtype):
    """A gap of 1e-60 instead of 0 becomes 1e-30, 1e-15, 3e-8, … with each layer."""
    x = np.array([[1, 2], [3, 6], [-5, -10], [0.1, 0.2], [7, 14]], dtype)
    x[3] = 3 * x[0] / 1024
    kernel = stack([built(activation)] * 10).kernel()(x)
    aligned = np.sign(x[:, :1] * x[:, 0]) > 0
    assert (kernel[aligned] == kernel[0, 0]).all()
    assert np.abs(kernel - jumps.nngp(x, 1.0, 0.0, [activation] * 10)).max() <= BOUNDS[dtype]


@pytest.mark.parametrize(
    ("rows", "scale"),
    [
        (np.ones((4, 7)), 1.0),
        (np.repeat(np.eye(5), 2, axis=0), 1.0),
        (np.ones((4, 1)), 1.0),
        (np.array([[0.0, 2.0, 0.0, -5.0]] * 4), 1.0),
        (np.array([[1.0, 3.0, 2.0**-60]] * 4), 2.0**-1000),
        (np.array([[1.0, 3.0, 2.0**-30]] * 4), 2.0**-1040),
        (np.array([[5.0, 0.0, 2.0**-900]] * 4), 2.0**400),
        (np.array([[1.0, 3.0, 2.0**-60]] * 4), 2.0**505),
        (np.arange(1.0, 1001.0)[None].repeat(4, 0), 1.0),
    ],
    ids=["constant", "one-hot", "one feature", "zeros", "small", "subnormal", "wide", "large", "long"],
)
def test_parallel_rows_are_found(rows, scale):
    factors = np.array([1.0, 3.0, -7.0, 11.0] * 3)[: len(rows)]
    x = rows * factors[:, None] * scale
    nngp = stack([Sign()] * 10).kernel()(x, get="nngp")
    same = (rows[:, None] == rows).all(axis=2)
    # Each is the kernel of signs, 1 or −1, whose last digit 10 products of 1 keep.
    assert np.array_equal(nngp[same], np.sign(np.outer(factors, factors))[same])


@pytest.mark.parametrize("small", [2.0**-45, 1.25 * 2.0**-46])
def test_float32_rows_whose_small_entries_were_rounded_stay_parallel(small):
    """Entries below 2⁻¹²⁶ of the largest in their row have fewer digits when packed: 7 · 2⁻¹⁵⁰ becomes 2⁻¹⁴⁷."""
    row, factors = np.array([5 * 2.0**100, 0, small], np.float32), np.array([1, 3, 7, -5], np.float32)
    nngp = stack([Sign()] * 10).kernel()(np.outer(factors, row), get="nngp")
    assert np.array_equal(nngp, np.sign(np.outer(factors, factors)))


@st.composite
def related_rows(draw, dtype):
    """Rows that are parallel, opposite, one ulp from that, one-hot, constant or unrelated, each at its own scale."""
    d = draw(st.integers(1, 6))
    entry = st.integers(-2048, 2048)
    row = st.lists(entry, min_size=d, max_size=d).filter(any)
    base = np.array(draw(st.one_of(row, st.just([1] * d), st.just([1] + [0] * (d - 1)))), dtype)
    rows = [base]
    for kind in draw(st.lists(st.sampled_from(["parallel", "ulp", "random", "one-hot"]), min_size=1, max_size=4)):
        # 12 bits times 11: exact in float32.
        other = base * dtype(draw(st.integers(1, 1023)) * draw(st.sampled_from([1, -1])))
        if kind == "ulp":
            # The ulp of 0 is 5e-324: angles below 1e-154 have gaps that underflow, and count as 0.
            index = draw(st.sampled_from(np.flatnonzero(other).tolist()))
            other[index] = np.nextafter(other[index], dtype(draw(st.sampled_from([-np.inf, np.inf]))))
        elif kind == "random":
            other = np.array(draw(row), dtype)
        elif kind == "one-hot":
            other = np.eye(d, dtype=dtype)[draw(st.integers(0, d - 1))] * dtype(draw(st.integers(1, 9)))
        rows.append(other)
    scales = draw(st.lists(st.integers(-27, 27), min_size=len(rows), max_size=len(rows)))
    return np.array([row * dtype(2.0**scale) for row, scale in zip(rows, scales, strict=True)])


@pytest.mark.parametrize("dtype", BOUNDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_jumps_against_50_digits(dtype, data):
    x = data.draw(related_rows(dtype))
    depth = data.draw(st.integers(1, 10))
    layers = data.draw(st.lists(st.sampled_from(list(JUMPS.values())), min_size=depth, max_size=depth))
    sigma_w = data.draw(st.sampled_from([1.0, 1.3]))
    # A bias of the first layer opens an angle between parallel rows of different lengths; others close it.
    sigma_b = data.draw(st.sampled_from([0.0, 0.3, [0.3] + [0.0] * depth]))
    got = stack([built(layer) for layer in layers], sigma_w, sigma_b).kernel()(x, get=("nngp", "ntk"))
    exact = jumps.nngp(x, sigma_w, sigma_b, layers)
    assert errors(got.nngp, exact).max() <= BOUNDS[dtype]
    assert np.array_equal(got.ntk, got.nngp)
    assert np.array_equal(got.nngp, got.nngp.T)


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("activation", **named(JUMPS))
def test_two_oracles_agree(activation, sigma_b):
    x = np.delete(hard_rows(5), 8, axis=0)
    plain, _ = infinite.kernels(x, None, 1.3, sigma_b, [activation] * 3, rounded=True)
    assert errors(jumps.nngp(x, 1.3, sigma_b, [activation] * 3), plain).max() <= EPS


SMOOTH = {name: activation for name, activation in CLOSED_FORMS.items() if name not in JUMPS}


@pytest.mark.parametrize("activation", **named(SMOOTH))
def test_jumps_see_all_digits_of_the_gaps_before_them(activation):
    """Two signs on top see ⁴√(1 − ρ)."""
    lengths = np.array([1.0, 1 + EPS, 1 + 1e-9, 1.5, 3.0, -1.0, -1 - EPS, -3.0])
    x = np.array([[0.75, -0.5]]) * lengths[:, None]
    kernel = stack([built(activation), Sign(), Sign()]).kernel()(x, get="nngp")
    exact, _ = infinite.kernels(x, None, 1.0, 0.0, [activation, "sign", "sign"], rounded=True)
    # A root turns a relative error of 64 ε, say, into one of 32 ε, of a gap of at most 1.
    assert np.abs(kernel - exact).max() <= 32 * EPS


@pytest.mark.parametrize("degree", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["monomial", "rectified_power"])
def test_homogeneous_activations_keep_parallel_rows_parallel(kind, degree):
    x = np.array([[1, 2], [3, 6], [5, 10]]) / 8
    kernel = stack([built((kind, degree)), *[Sign()] * 8]).kernel()(x, get="nngp")
    assert np.array_equal(kernel, np.ones((3, 3)))


@pytest.mark.parametrize("name", ["relu", "erf", "gaussian"])
def test_gaps_of_rows_one_ulp_apart_do_not_depend_on_their_neighbours(name):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 3))
    x[20:] = np.nextafter(3 * x[:20], np.inf)
    kernel = mlp(2, 1, 1, name).kernel()
    whole = kernel(x)
    order = rng.permutation(40)
    assert np.array_equal(kernel(x[order]), whole[np.ix_(order, order)])
    for i, j in [(0, 20), (20, 0), (7, 27), (3, 9)]:
        assert kernel(x[i : i + 1], x[j : j + 1])[0, 0] == whole[i, j]


def test_relu_after_parallel_rows():
    x = np.outer([1.0, 3.0, -7.0], [0.1, 0.7, 0.2])
    kernel = stack([Relu(), Sign(), Relu(), Sign()]).kernel()(x, get=("nngp", "ntk"))
    exact = infinite.kernels(x, None, 1.0, 0.0, ["relu", "sign", "relu", "sign"], rounded=True)
    assert errors(kernel.nngp, exact[0]).max() <= 16 * EPS
