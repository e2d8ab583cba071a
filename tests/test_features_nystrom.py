"""Nyström features: below the kernel, exact at pivots, with a residual trace that is the true one."""

import pickle

import numpy as np
import pytest

import ntkrs
from ntkrs import features, mlp
from oracles import infinite

SIGMA_W, SIGMA_B = 2**0.5, 0.3


def inputs(count=60, dtype=np.float64):
    return np.random.default_rng(0).standard_normal((count, 5)).astype(dtype)


def kernel(activation="erf"):
    return mlp(2, 1, 1, activation, sigma_w=SIGMA_W, sigma_b=SIGMA_B).kernel()


def exact(x, get="ntk", z=None):
    return infinite.kernels_numpy(x, z, SIGMA_W, SIGMA_B, ["erf"] * 2)[get == "ntk"]


# The pivots' block has a condition below 1e4 here, and the oracle an error of 1e-14.
TOLERANCE = {np.float64: 1e-11, np.float32: 2e-5}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("get", ["ntk", "nngp"])
@pytest.mark.parametrize("rank", [1, 7, 40])
def test_features_are_those_of_the_schur_complement(rank, get, dtype):
    x, z = inputs(dtype=dtype), inputs(9, dtype) + dtype(0.1)
    found = features.nystrom(kernel(), x, rank, get=get)
    assert found.pivots.shape == (rank,)
    assert len(set(found.pivots.tolist())) == rank
    phi, test = found.transform(x), found.transform(z)
    assert phi.shape == (60, rank)
    assert phi.dtype == test.dtype == dtype
    s = x[found.pivots]
    k, k_s, k_z = (exact(*pair) for pair in ((x, get), (s, get, x), (s, get, z)))
    projected = k_s.T @ np.linalg.solve(exact(s, get), k_z)
    atol = TOLERANCE[dtype] * k.max()
    np.testing.assert_allclose(phi.astype(float) @ test.astype(float).T, projected, rtol=0, atol=atol)
    left = k - phi.astype(float) @ phi.astype(float).T
    np.testing.assert_allclose(left[found.pivots], 0, atol=atol)
    assert np.linalg.eigvalsh((left + left.T) / 2)[0] > -60 * atol
    assert found.residual_trace == pytest.approx(np.trace(left) / np.trace(k), abs=TOLERANCE[dtype])
    assert found.get == get


@pytest.mark.parametrize("outputs", [None, "trace", 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_networks_have_features_of_their_empirical_kernel(outputs, dtype):
    net, x, z = mlp(1, 64, 2, "erf", sigma_b=0.3).init(5, rng=0, dtype=dtype), inputs(), inputs(9)
    found = features.nystrom(net, x, 20, outputs=outputs)
    form = outputs or "mean"
    s = x[found.pivots]
    k_s = net.ntk(s, x, outputs=form).astype(float)
    projected = k_s.T @ np.linalg.solve(net.ntk(s, outputs=form).astype(float), net.ntk(s, z, outputs=form))
    atol = TOLERANCE[dtype] * k_s.max()
    np.testing.assert_allclose(found.transform(x) @ found.transform(z).T, projected, rtol=0, atol=atol)
    left = net.ntk(x, outputs=form).diagonal() - np.square(found.transform(x)).sum(axis=1)
    trace = net.ntk(x, outputs=form).trace()
    assert found.residual_trace == pytest.approx(left.sum() / trace, abs=TOLERANCE[dtype])
    assert np.array_equal(pickle.loads(pickle.dumps(found)).transform(z), found.transform(z))


def test_forms_of_networks_are_checked():
    with pytest.raises(TypeError, match="outputs is 1, but that is for networks"):
        features.nystrom(kernel(), inputs(), 3, outputs=1)
    with pytest.raises(ValueError, match="get is 'nngp', but a network has its tangent kernel alone"):
        features.nystrom(mlp(1, 8, 1).init(5), inputs(), 3, get="nngp")
    with pytest.raises(ValueError, match="outputs is 'diagonal', but one"):
        features.nystrom(mlp(1, 8, 1).init(5), inputs(), 3, outputs="diagonal")


def test_more_pivots_leave_less():
    traces = [features.nystrom(kernel(), inputs(), rank).residual_trace for rank in (5, 20, 59)]
    assert traces[0] > traces[1] > traces[2] > 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_copies_and_more_pivots_than_rows_end_at_the_whole_kernel(dtype):
    x = inputs(20, dtype)
    x = np.vstack([x, x])
    found = features.nystrom(kernel(), x, 100)
    assert len(found.pivots) == 20
    assert found.residual_trace < 1e3 * np.finfo(dtype).eps
    phi = found.transform(x).astype(float)
    np.testing.assert_allclose(phi @ phi.T, exact(x), rtol=0, atol=TOLERANCE[dtype] * exact(x).max())


def test_small_and_empty_batches_have_features():
    one = features.nystrom(kernel(), inputs(1), 3)
    assert one.transform(inputs(1)) == pytest.approx(np.sqrt(exact(inputs(1))))
    assert one.transform(np.empty((0, 5))).shape == (0, 1)
    none = features.nystrom(kernel(), np.empty((0, 5)), 3)
    assert (none.pivots.shape, none.residual_trace) == ((0,), 0.0)
    assert none.transform(inputs(4)).shape == (4, 0)
    zero = features.nystrom(mlp(1, 1, 1).kernel(), np.zeros((4, 2)), 3)
    assert (zero.pivots.shape, zero.residual_trace) == ((0,), 0.0)


def test_pivots_are_of_a_seed():
    first, again, other = (features.nystrom(kernel(), inputs(), 9, rng=rng) for rng in (3, np.random.default_rng(3), 4))
    assert np.array_equal(first.pivots, again.pivots)
    assert np.array_equal(first.transform(inputs()), again.transform(inputs()))
    assert not np.array_equal(first.pivots, other.pivots)


def test_features_travel_by_pickle():
    x = inputs()
    for found in (
        features.nystrom(kernel(), x, 9),
        features.random(kernel(), in_features=5, n_features=40),
    ):
        assert np.array_equal(pickle.loads(pickle.dumps(found)).transform(x), found.transform(x))


def test_changes_of_the_inputs_come_too_late():
    x = inputs()
    found = features.nystrom(kernel(), x, 9)
    before = found.transform(inputs())
    x[:] = 0
    assert np.array_equal(found.transform(inputs()), before)


def test_ridge_regression_with_all_pivots_is_that_of_the_kernel():
    x, z = inputs(), inputs(8) + 0.1
    y = np.sin(x[:, :2])
    found = features.nystrom(kernel(), x, 60)
    k = exact(x)
    expected = exact(z, z=x) @ np.linalg.solve(k + 0.01 * k.trace() / 60 * np.eye(60), y)
    w = features.ridge(found, x, y, 0.01)
    np.testing.assert_allclose(found.transform(z) @ w, expected, rtol=0, atol=1e-8)  # condition 1e4, squared


def test_bad_arguments_are_named(limit_memory):
    good = kernel()
    x = inputs()
    for arguments, kind, message in [
        ((good.arch, x, 3), TypeError, "kernel is .*Sequential.*, but a Kernel is needed"),
        ((good, x, 0), ValueError, "rank is 0, but at least 1 is needed"),
        ((good, x, 2.0), TypeError, "rank is 2.0, but an integer is needed"),
        ((good, x[0], 3), ValueError, r"X has shape \(5,\)"),
        ((good, x * np.nan, 3), ValueError, r"X holds nan at \(0, 0\)"),
        ((good, x[:, :0], 3), ValueError, "X has 0 features"),
        ((good, x.astype(complex), 3), TypeError, "X holds complex numbers"),
    ]:
        with pytest.raises(kind, match=message):
            features.nystrom(*arguments)
    for options, message in [
        ({"method": "uniform"}, "method is 'uniform', but must be 'rpcholesky'"),
        ({"get": ("ntk",)}, r"get is \('ntk',\), but must be 'ntk' or 'nngp'"),
        ({"rng": -1}, "rng is -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            features.nystrom(good, x, 3, **options)
    found = features.nystrom(good, x, 3)
    with pytest.raises(ValueError, match="Z has 4 features, but the training inputs had 5"):
        found.transform(x[:, :4])
    with pytest.raises(ValueError, match=r"Z holds inf at \(0, 0\)"):
        found.transform(np.full((2, 5), np.inf))
    limit_memory(1000)
    with pytest.raises(MemoryError, match=r"a factor of rank 30 needs .* Ask for a lower rank, or pass float32 inputs"):
        features.nystrom(good, x, 30)
    with pytest.raises(MemoryError, match="the feature matrix of shape"):
        found.transform(x)


def test_warnings_of_series_come_through():
    """A kink that is not at 0, which the series does not know."""
    bent = ntkrs.Activation(lambda x: np.abs(x - 1), lambda x: np.sign(x - 1))
    rough = mlp(1, 1, 1, bent).kernel()
    with pytest.warns(RuntimeWarning, match="series"):
        features.nystrom(rough, inputs(5), 2).transform(inputs(5))
