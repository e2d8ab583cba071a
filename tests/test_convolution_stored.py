"""Kernels of images in files and in half of the memory, and features of them: the bits of ``kernel(X)``."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Conv, Dense, Erf, Flatten, GlobalAvgPool, Relu, Sequential

POOLED = Sequential(Conv(4, 3, sigma_w=1.5, sigma_b=0.1), Relu(), Conv(4, 2), Erf(), GlobalAvgPool(), Dense(1))
KERNELS = {
    "pooled": POOLED.kernel(),
    "standard": POOLED.kernel("standard"),
    "flat": Sequential(Conv(4, 3), Relu(), Flatten(), Dense(1)).kernel(),
}
RNG = np.random.default_rng(0)
X, Z = RNG.standard_normal((11, 4, 5, 2)), RNG.standard_normal((3, 4, 5, 2))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gram_has_the_bits_of_the_kernel(kernel, dtype, tmp_path):
    x = np.asfortranarray(X.astype(dtype))
    for get in ("ntk", "nngp"):
        expected = kernel(x, get=get)
        for packed in (True, False):
            in_memory = ntkrs.gram(kernel, x, get=get, packed=packed)
            path = tmp_path / f"{get} {packed}.npy"
            ntkrs.gram(kernel, x, path, get=get, packed=packed, band_bytes=1)
            stored = ntkrs.open_gram(path, verify=True)
            assert np.array_equal(np.asarray(in_memory), expected)
            assert np.array_equal(np.asarray(stored), expected)
            assert np.array_equal(stored @ np.ones(11, dtype), in_memory @ np.ones(11, dtype))


def test_a_file_of_images_is_continued_and_told_from_others(tmp_path):
    kernel, path, seen = KERNELS["pooled"], tmp_path / "K.npy", []

    def stop(done, total):
        seen.append(done)
        if done < total:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ntkrs.gram(kernel, X, path, band_bytes=1, progress=stop)
    assert seen[0] > 0
    assert np.array_equal(np.asarray(ntkrs.gram(kernel, X, path)), kernel(X))
    with pytest.raises(ValueError, match="holds another kernel matrix, which differs in X"):
        ntkrs.gram(kernel, X.transpose(0, 2, 1, 3), path)  # the same bytes in other shapes


def test_nystrom_and_ridge_take_images():
    kernel = KERNELS["pooled"]
    features = ntkrs.features.nystrom(kernel, X, 11)
    phi = features.transform(X)
    np.testing.assert_allclose(phi @ phi.T, kernel(X), atol=1e-9)  # pivots are all rows: exact but for rounding
    y = X[:, 0, 0, 0]
    w = ntkrs.features.ridge(features, X, y, 1e-2)
    alpha = ntkrs.solve(ntkrs.gram(kernel, X), y, 1e-2).alpha
    np.testing.assert_allclose(features.transform(Z) @ w, kernel(Z, X) @ alpha, atol=1e-8)
    with pytest.raises(ValueError, match=r"Z has images of shape \(4, 4, 2\), but the training inputs had images of"):
        features.transform(Z[:, :, :4])


@pytest.mark.parametrize(
    "call",
    [
        ntkrs.gram,
        lambda kernel, x: ntkrs.features.nystrom(kernel, x, 2),
    ],
)
def test_refusals(call):
    with pytest.raises(ValueError, match=r"X has shape \(11, 40\).* images \(N, H, W, C\)"):
        call(KERNELS["flat"], X.reshape(11, -1))
    with pytest.raises(ValueError, match=r"X holds nan at \(2, 0, 0, 0\), its image, row, column, channel"):
        call(KERNELS["flat"], np.where(np.arange(11)[:, None, None, None] == 2, np.nan, X))
    with pytest.raises(ValueError, match=r"X has shape \(11, 4, 5, 2\), but a two-dimensional"):
        call(ntkrs.mlp(1, 1, 1).kernel(), X)
