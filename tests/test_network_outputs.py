"""Full kernels whose number of outputs does not divide the edge of a tile, so that tiles begin within a sample."""

import numpy as np
import pytest

from ntkrs import Dense, Erf, Sequential, Tanh
from oracles import finite

#: The number of kernel rows in a tile.
EDGE = 96

#: Outputs O, N and M. Every N·O and M·O takes several tiles, which begin at outputs 1 and 2 of 5, or 5 and 3 of 7.
SIZES = [(5, 41, 43), (7, 30, 57), (5, 64, 20), (7, 97, 15), (11, 20, 19)]


def network(outputs, dtype):
    """A smooth network with layers of different sizes and scales, its inputs' generator, and the oracle's Jacobian."""
    arch = Sequential(Dense(19, 1.3, 0.4), Erf(), Dense(23, 1.1), Tanh(), Dense(outputs, 0.9, 0.5))
    net = arch.init(6, rng=outputs, dtype=dtype)
    weights = [np.asarray(weight, np.float64) for weight in net.weights]
    biases = [None if bias is None else np.asarray(bias, np.float64) for bias in net.biases]
    scales = [1.3, 1.1, 0.9], [0.4, 0.0, 0.5]

    def jacobian(x):
        return finite.jacobian(np.asarray(x, np.float64), weights, biases, *scales, ["erf", "tanh"])

    return net, jacobian, finite.layer_slices(weights, biases, scales[1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("outputs", "n", "m"), SIZES)
def test_tiles_that_begin_within_a_sample(outputs, n, m, dtype):
    net, jacobian, slices = network(outputs, dtype)
    rng = np.random.default_rng(n)
    x, z = (rng.standard_normal((rows, 6)).astype(dtype) for rows in (n, m))
    assert min(n, m) * outputs > EDGE
    assert EDGE % outputs
    j, jz = jacobian(x), jacobian(z)
    for other, parts in ((None, finite.ntk_per_layer(j, j, slices)), (z, finite.ntk_per_layer(j, jz, slices))):
        # Sums of at most 23 terms, through 3 layers forward and back. Each layer has a scale of its own.
        layers = net.ntk(x, other, per_layer=True)
        for found, part in zip(layers, parts, strict=True):
            np.testing.assert_allclose(found, part, rtol=0, atol=200 * np.finfo(dtype).eps * np.abs(part).max())
        whole = sum(parts)
        tolerance = 200 * np.finfo(dtype).eps * np.abs(whole).max()
        np.testing.assert_allclose(net.ntk(x, other), whole, rtol=0, atol=tolerance)
        diagonal = np.einsum("ijmm->ijm", whole)
        np.testing.assert_allclose(net.ntk(x, other, outputs="diagonal"), diagonal, rtol=0, atol=tolerance)
        trace = diagonal.sum(-1)
        np.testing.assert_allclose(net.ntk(x, other, outputs="trace"), trace, rtol=0, atol=outputs * tolerance)
