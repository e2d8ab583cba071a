"""Diagnostics of kernel matrices: against plain formulas, and on kernels with known answers."""

import numpy as np
import pytest

import ntkrs
from ntkrs import diagnostics
from oracles import dynamics
from test_predict import problem

EPS = np.finfo(float).eps


def of_spectrum(values, seed=0):
    """A kernel with these eigenvalues."""
    n = len(values)
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    k = (basis * values) @ basis.T
    return (k + k.T) / 2, basis


def test_a_power_law_has_its_exponent():
    for exponent in (0.5, 1.0, 2.5):
        k, _ = of_spectrum(np.arange(1.0, 201.0) ** -exponent)
        assert diagnostics.spectrum(k).decay_exponent == pytest.approx(exponent, rel=1e-9)


def test_every_octave_has_the_same_weight_in_the_exponent():
    """The least squares of log λ on log i with weights 1/i, whose sum is the same over every octave."""
    values = np.sort(np.random.default_rng(0).uniform(0.01, 1, 40))[::-1]  # no power law
    index = np.arange(1.0, 11.0)  # the first quarter
    weights = 1 / index / (1 / index).sum()
    x, y = np.log(index), np.log(values[:10])
    centred = x - weights @ x
    expected = -(weights @ (centred * y)) / (weights @ centred**2)
    k, _ = of_spectrum(values)
    # Eigenvalues have relative errors of 40·ε·(λ_max/λ) < 1e-12.
    assert diagnostics.spectrum(k).decay_exponent == pytest.approx(expected, rel=1e-10)


def test_effective_ranks():
    for rank in (1, 3, 10):
        k, _ = of_spectrum(np.r_[np.ones(rank), np.zeros(10 - rank)])
        found = diagnostics.spectrum(k)
        assert found.effective_rank_entropy == pytest.approx(rank)
        assert found.effective_rank_participation == pytest.approx(rank)
        assert found.condition_number == pytest.approx(1)
        assert found.report.zeroed == 10 - rank
    values = np.array([5.0, 3.0, 1.0, 0.5])
    found = diagnostics.spectrum(of_spectrum(values)[0])
    p = values / values.sum()
    np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-14)
    assert found.effective_rank_entropy == pytest.approx(np.prod(p**-p))
    assert found.effective_rank_participation == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert found.effective_rank_participation <= found.effective_rank_entropy
    assert found.condition_number == pytest.approx(10)


def test_label_energy_lies_where_the_labels_do():
    k, basis = of_spectrum(np.arange(6.0, 0.0, -1))
    y = basis[:, [0, 2]] * [3.0, 4.0]
    np.testing.assert_allclose(diagnostics.label_energy(k, y), [0.36, 0, 0.64, 0, 0, 0], atol=1e-14)
    assert diagnostics.spectrum(k).label_energy is None


def test_output_blocks_are_the_flattened_kernel():
    k, _, y, *_ = problem(outputs=3, blocks=True)
    blocks, flat = diagnostics.spectrum(k, y), diagnostics.spectrum(dynamics.as_matrix(k), y.ravel())
    np.testing.assert_array_equal(blocks.eigenvalues, flat.eigenvalues)
    np.testing.assert_array_equal(blocks.label_energy, flat.label_energy)
    assert diagnostics.kernel_target_alignment(k, y) == pytest.approx(
        diagnostics.kernel_target_alignment(dynamics.as_matrix(k), y.ravel())
    )


@pytest.mark.parametrize("outputs", [None, 3])
def test_alignments_are_the_plain_cosines(outputs):
    k, _, y, *_ = problem(outputs=outputs)
    columns = y.reshape(len(y), -1)
    centre = np.eye(len(y)) - 1 / len(y)

    def cosine(a, b):
        return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)

    ideal = columns @ columns.T
    assert diagnostics.kernel_target_alignment(k, y) == pytest.approx(cosine(k, ideal), rel=1e-13)
    centred = cosine(centre @ k @ centre, centre @ ideal @ centre)
    assert diagnostics.centred_alignment(k, y) == pytest.approx(centred, rel=1e-12)
    assert diagnostics.centred_alignment(k + 5, y - 2) == pytest.approx(centred, rel=1e-12)


@pytest.mark.parametrize("size", [1e-200, 1e-150, 1e150, 1e200])
def test_all_sizes(size):
    k, _, y, *_ = problem()
    plain, scaled = diagnostics.spectrum(k, y), diagnostics.spectrum(k * size, y * size)
    np.testing.assert_allclose(scaled.eigenvalues, plain.eigenvalues * size, rtol=1e-12)
    np.testing.assert_allclose(scaled.label_energy, plain.label_energy, atol=1e-12)
    assert scaled.effective_rank_entropy == pytest.approx(plain.effective_rank_entropy)
    assert scaled.report.condition == pytest.approx(plain.report.condition)
    for alignment in (diagnostics.kernel_target_alignment, diagnostics.centred_alignment):
        assert alignment(k * size, y * size) == pytest.approx(alignment(k, y))


def test_the_zero_kernel_and_one_sample():
    zero = diagnostics.spectrum(np.zeros((3, 3)))
    assert (zero.effective_rank_entropy, zero.condition_number, zero.decay_exponent) == (0.0, 1.0, None)
    one = diagnostics.spectrum([[2.0]], [3.0])
    assert (one.effective_rank_entropy, one.decay_exponent, one.label_energy[0]) == (1.0, None, 1.0)


def test_float32_rounding_counts_as_zero():
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    assert diagnostics.spectrum(x @ x.T).report.zeroed == 37


def test_labels_speed_up_along_their_energy():
    """The training loss of gradient flow from 0 is the label energy decaying mode by mode."""
    k, _, y, *_ = problem()
    found = diagnostics.spectrum(k, y)
    for t in (0.5, 20.0):
        f = ntkrs.predict.gradient_descent_mse(k, y, loss_scale="sum")(t)
        expected = (found.label_energy * np.exp(-2 * found.eigenvalues * t)).sum()
        assert ((f - y) ** 2).sum() / (y**2).sum() == pytest.approx(expected)


K, Y = problem()[0], problem()[2]
REFUSED = {
    "shape": (lambda: diagnostics.spectrum(K[:3]), ValueError, r"k has shape \(3, 12\), but \(N, N\)"),
    "asymmetric": (lambda: diagnostics.spectrum(np.triu(K)), ValueError, "k differs from its transpose"),
    "NaN": (lambda: diagnostics.spectrum(K * np.nan), ValueError, "k holds nan"),
    "empty": (lambda: diagnostics.spectrum(np.empty((0, 0))), ValueError, "k is empty"),
    "text": (lambda: diagnostics.spectrum("k"), TypeError, "k is .k., but an array is needed"),
    "indefinite": (lambda: diagnostics.spectrum(-K), np.linalg.LinAlgError, "k has eigenvalue -"),
    "labels": (lambda: diagnostics.label_energy(K, Y[:3]), ValueError, r"y has shape \(3,\), but \(N,\) or \(N, O\)"),
    "zero labels": (lambda: diagnostics.label_energy(K, 0 * Y), ValueError, "y is all 0"),
    "zero kernel": (lambda: diagnostics.kernel_target_alignment(0 * K, Y), ValueError, "k is all 0"),
    "constant labels": (lambda: diagnostics.centred_alignment(K, 0 * Y + 0.1), ValueError, "y is constant"),
    "constant kernel": (lambda: diagnostics.centred_alignment(0 * K + 0.1, Y), ValueError, "k is constant"),
    "centred blocks": (
        lambda: diagnostics.centred_alignment(np.ones((6, 6, 2, 2)), np.ones((6, 2))),
        ValueError,
        "centring is over samples",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("labels", [None, Y])
def test_plots(labels):
    pytest.importorskip("matplotlib", reason="plots need the extra ntkrs[demo]")
    figure = diagnostics.spectrum(K, labels).plot()
    figure.draw_without_rendering()
    assert len(figure.axes) == (1 if labels is None else 2)
