"""The kernel of recorded layers, against its definition by per-sample gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkrs
from ntkrs.empirical import Block, Linear, Lookup
from oracles import pairs as oracle

#: Products of sums over up to some hundred terms, relative to the sum of their absolute values.
TOLERANCE = {np.float64: 1e-13, np.float32: 2e-5}

#: Shapes of layers: T (None for no axis), n and m.
SHAPES = st.tuples(st.sampled_from([None, 1, 2, 3, 7, 13, 100]), st.integers(1, 20), st.integers(1, 20))


def layers(rng, samples, shapes, outputs, dtype=np.float64):
    """Return pairs (A, G) with an axis of outputs."""
    sizes = [((samples,) if t is None else (samples, t), n, m) for t, n, m in shapes]
    return [
        (rng.normal(size=(*lead, n)).astype(dtype), rng.normal(size=(*lead, m, outputs)).astype(dtype))
        for lead, n, m in sizes
    ]


def selected(full, outputs):
    """Return the form ``outputs`` of a kernel (..., N, M, O, O)."""
    count = full.shape[-1]
    if outputs == "full":
        return full
    if outputs == "sum":
        return full.sum(axis=(-2, -1)) / count
    diagonal = np.diagonal(full, axis1=-2, axis2=-1)
    if outputs == "diagonal":
        return diagonal
    if isinstance(outputs, int):
        return diagonal[..., outputs]
    return diagonal.sum(-1) / (count if outputs == "mean" else 1)


def close(found, expected, magnitude, dtype=np.float64):
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert np.all(abs(found - expected) <= TOLERANCE[dtype] * magnitude.max())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SHAPES, min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 12),
    st.sampled_from([None, 1, 5]),
    st.sampled_from(["full", "trace", "mean", "diagonal", "sum", 0]),
    st.sampled_from([None, "tokens", "gradients"]),
    st.sampled_from([np.float64, np.float32]),
    st.booleans(),
)
def test_kernels_are_products_of_per_sample_gradients(shapes, count, n, m, outputs, form, dtype, bias):
    rng = np.random.default_rng(len(shapes) + 10 * count + 100 * n)
    x = layers(rng, n, shapes, count, dtype)
    z = None if m is None else layers(rng, m, shapes, count, dtype)
    full, magnitude = oracle.kernel(x, z, bias=bias)
    found = ntkrs.empirical_ntk(x, z, outputs=outputs, bias=bias, form=form)
    close(found, selected(full, outputs), selected(magnitude, outputs), dtype)


def test_many_samples_fill_many_tiles():
    rng = np.random.default_rng(0)
    x, z = (layers(rng, n, [(None, 5, 3), (4, 6, 7), (9, 8, 2)], 2) for n in (210, 130))
    full, magnitude = oracle.kernel(x, z)
    for form in ("tokens", "gradients"):
        close(ntkrs.empirical_ntk(x, z, form=form), full, magnitude)
    own, magnitude = oracle.kernel(x)
    close(ntkrs.empirical_ntk(x, outputs="diagonal"), selected(own, "diagonal"), magnitude)


@pytest.mark.parametrize("form", ["tokens", "gradients"])
def test_symmetric_kernels_have_the_bits_of_rectangular_ones_on_any_threads(form):
    x = layers(np.random.default_rng(1), 60, [(None, 5, 3), (5, 30, 7), (100, 2, 3)], 2)
    copy = [(a.copy(), g.copy()) for a, g in x]
    with ntkrs.threads(1):
        kernel = ntkrs.empirical_ntk(x, form=form)
    assert np.array_equal(kernel, ntkrs.empirical_ntk(x, copy, form=form))
    assert np.array_equal(kernel, kernel.transpose(1, 0, 3, 2))
    few = [(a[7:55:2], g[7:55:2]) for a, g in x]
    assert np.array_equal(kernel[7:55:2, 7:55:2], ntkrs.empirical_ntk(few, form=form))


def test_without_an_axis_of_outputs_there_is_one():
    x = layers(np.random.default_rng(2), 6, [(None, 4, 3), (3, 2, 5)], 1)
    expected = ntkrs.empirical_ntk(x)[:, :, 0, 0]
    single = [(a, g[..., 0]) for a, g in x]
    for outputs in ("full", "trace", "mean", "diagonal", "sum", 0):
        assert np.allclose(ntkrs.empirical_ntk(single, outputs=outputs), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="outputs is 1, but"):
        ntkrs.empirical_ntk(single, outputs=1)


def test_biases_lookups_and_blocks_of_their_own():
    rng = np.random.default_rng(3)
    (a, g), (b, h) = layers(rng, 9, [(4, 3, 5), (None, 2, 6)], 2)
    words, of_words = rng.integers(0, 5, (9, 4)), rng.normal(size=(9, 4, 3, 2))
    word, of_word = rng.integers(0, 5, 9).astype(np.uint8), rng.normal(size=(9, 3, 2))
    block = rng.normal(size=(9, 11, 2))
    found = ntkrs.empirical_ntk(
        [Linear(a, g, bias=False), (b, h), Lookup(words, of_words), Lookup(word, of_word), Block(block)]
    )
    parts = [((a, g), False), ((b, h), True), ((words, of_words), True), ((word, of_word), True), ((block,), True)]
    sums = [oracle.kernel([record], bias=bias) for record, bias in parts]
    close(found, sum(total for total, _ in sums), sum(magnitude for _, magnitude in sums))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([None, 1, 2, 7, 40]),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 20),
    st.sampled_from([1, 3, 50]),
    st.sampled_from(["full", "trace", "mean", "diagonal", "sum", 0]),
    st.sampled_from([np.float64, np.float32]),
)
def test_embeddings_are_products_of_per_sample_gradients(tokens, m, count, n, vocabulary, outputs, dtype):
    rng = np.random.default_rng(m + 10 * count + 100 * n + vocabulary)
    # The other samples have another number of tokens.
    leads = [(), ()] if tokens is None else [(tokens,), (tokens // 3 + 1,)]
    x, z = (
        [(rng.integers(0, vocabulary, (size, *lead)), rng.normal(size=(size, *lead, m, count)).astype(dtype))]
        for size, lead in zip((n, 5), leads, strict=True)
    )
    for others in (z, None):
        full, magnitude = oracle.kernel(x, others)
        looked_up = None if others is None else [Lookup(*others[0])]
        found = ntkrs.empirical_ntk([Lookup(*x[0])], looked_up, outputs=outputs)
        close(found, selected(full, outputs), selected(magnitude, outputs), dtype)


def test_an_entry_of_an_embedding_depends_on_its_two_samples_alone():
    rng = np.random.default_rng(11)
    words, gradients = rng.integers(0, 30, (150, 9)), rng.normal(size=(150, 9, 5, 2))
    kernel = ntkrs.empirical_ntk([Lookup(words, gradients)])
    with ntkrs.threads(1):
        copy = ntkrs.empirical_ntk([Lookup(words, gradients)], [Lookup(words.copy(), gradients.copy())])
    assert np.array_equal(kernel, copy)
    assert np.array_equal(kernel, kernel.transpose(1, 0, 3, 2))
    few = ntkrs.empirical_ntk([Lookup(words[7:140:3], gradients[7:140:3])])
    assert np.array_equal(kernel[7:140:3, 7:140:3], few)
    # Other names of the words change nothing but the order of sums.
    renamed = ntkrs.empirical_ntk([Lookup(np.uint16(1000) - words.astype(np.uint16), gradients)])
    assert np.allclose(renamed, kernel, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace", 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layers_have_kernels_and_weights_of_their_own(outputs, dtype):
    x = layers(np.random.default_rng(4), 7, [(None, 4, 3), (3, 2, 5), (2, 2, 2)], 2, dtype)
    parts = ntkrs.empirical_ntk(x, outputs=outputs, per_layer=True)
    assert parts.dtype == dtype
    for part, layer in zip(parts, x, strict=True):
        assert np.array_equal(part, ntkrs.empirical_ntk([layer], outputs=outputs))
    weights = [0.5, 0.0, 4.0]
    found = ntkrs.empirical_ntk(iter(x), iter(x), outputs=outputs, weights=weights)
    full, magnitude = oracle.kernel(x, weights=weights)
    close(found, selected(full, outputs), magnitude, dtype)


@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("per_layer", [False, True])
def test_results_are_written_to_out(outputs, dtype, per_layer, poisoned):
    x = layers(np.random.default_rng(5), 100, [(None, 4, 3), (3, 2, 5)], 3)
    expected = ntkrs.empirical_ntk(x, outputs=outputs, per_layer=per_layer)
    whole = poisoned((*(2 * size for size in expected.shape),), dtype)
    out = whole[tuple(slice(None, None, 2) for _ in expected.shape)]
    assert ntkrs.empirical_ntk(x, outputs=outputs, per_layer=per_layer, out=out) is out
    assert np.array_equal(out, expected.astype(dtype))
    assert np.isnan(whole).sum() == whole.size - out.size


def test_sums_over_layers_are_float64():
    # 2^24 + 1 + 1 in float32 stays 2^24 if the ones are added one by one.
    big, one = (np.full((1, 1), value, np.float32) for value in (2.0**12, 1.0))
    x = [Linear(big, big / 2**12 * 2**0, bias=False), *[Linear(one, one, bias=False)] * 2]
    x[0] = Linear(big, np.full((1, 1), 2.0**0, np.float32), bias=False)
    assert ntkrs.empirical_ntk(x)[0, 0] == 2.0**24 + 2


def test_memory_maps_and_strided_arrays_are_read(tmp_path):
    ((a, g),) = layers(np.random.default_rng(6), 10, [(3, 4, 5)], 2)
    mapped = np.memmap(tmp_path / "a", np.float64, "w+", shape=a.shape)
    mapped[...] = a
    expected = ntkrs.empirical_ntk([(a, g)])
    for outputs in ("full", "trace"):
        expected = ntkrs.empirical_ntk([(a, g)], outputs=outputs)
        assert np.array_equal(ntkrs.empirical_ntk([(mapped, np.asfortranarray(g))], outputs=outputs), expected)
    flipped = ntkrs.empirical_ntk([(a[::-1], g[::-1])], outputs="trace")
    assert np.array_equal(flipped[::-1, ::-1], expected)


def test_no_samples_have_an_empty_kernel():
    assert ntkrs.empirical_ntk([(np.ones((0, 2)), np.ones((0, 3, 4)))]).shape == (0, 0, 4, 4)
    assert ntkrs.empirical_ntk([(np.ones((3, 2)), np.ones((3, 1)))], [(np.ones((0, 2)), np.ones((0, 1)))]).shape == (
        3,
        0,
    )


def test_a_network_recorded_by_hand_has_its_own_kernel():
    net = ntkrs.Network.from_standard(
        ntkrs.mlp(2, 8, 3, "tanh", sigma_b=1.0),
        [np.random.default_rng(7).normal(size=shape) for shape in [(5, 8), (8, 8), (8, 3)]],
        [np.zeros(8), np.ones(8), np.zeros(3)],
    )
    x = np.random.default_rng(8).normal(size=(20, 5))
    a = [x]
    for w, b in zip(net.weights, net.biases, strict=True):
        a.append(np.tanh(a[-1] @ w + b))
    g = [np.broadcast_to(np.eye(3), (20, 3, 3))]
    for w, y in zip(net.weights[:0:-1], a[2:0:-1], strict=True):
        g.insert(0, np.einsum("km,imo->iko", w, g[0]) * (1 - y**2)[..., None])
    expected, magnitude = net.ntk(x), oracle.kernel(list(zip(a[:3], g, strict=True)))[1]
    close(ntkrs.empirical_ntk(zip(a[:3], g, strict=True)), expected, magnitude)


def test_blocks_are_accumulated():
    rng = np.random.default_rng(9)
    blocks, others = ([rng.normal(size=(n, p, 2)) for p in (3, 1, 40)] for n in (6, 4))
    for outputs in ("full", "trace", "diagonal", "sum", 1):
        full, magnitude = oracle.kernel([(b,) for b in blocks], [(b,) for b in others])
        found = ntkrs.jacobian_ntk(zip(blocks, others, strict=True), outputs=outputs)
        close(found, selected(full, outputs), magnitude)
    whole = np.concatenate([block[..., 0] for block in blocks], axis=1)
    single = ntkrs.jacobian_ntk([block[..., 0] for block in blocks])
    assert np.allclose(single, whole @ whole.T, rtol=1e-13)
    assert np.allclose(ntkrs.jacobian_ntk([whole, whole], weights=[2.0, 1.0]), 3 * whole @ whole.T, rtol=1e-13)


@pytest.mark.parametrize("make", [list, iter])
def test_progress_is_reported(make):
    x, heard = layers(np.random.default_rng(10), 800, [(4, 40, 30)] * 3, 1), []
    ntkrs.empirical_ntk(make(x), progress=lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1]
    assert all(done <= total for done, total in heard)


A, G = np.ones((3, 2)), np.ones((3, 4))

REFUSED = {
    "no layers": (([],), {}, ValueError, "pairs is empty"),
    "no iterable": ((3,), {}, TypeError, "pairs is 3, but an iterable of layers is needed"),
    "a bare pair": (((A, G),), {}, TypeError, r"pairs\[0\] is an array of shape .* A single layer is .*\[\(A, G\)\]"),
    "samples": (([(A, G[:2])],), {}, ValueError, r"pairs\[0\]\[1\] has shape \(2, 4\), but \(3, m\)"),
    "tokens": (([(A[:, None], G)],), {}, ValueError, r"pairs\[0\]\[1\] has shape \(3, 4\), but \(3, 1, m\)"),
    "axes of A": (([(A[0], G)],), {}, ValueError, r"pairs\[0\]\[0\] has shape \(2,\), but \(N, n\)"),
    "axes of G": (([(A, G[0])],), {}, ValueError, r"pairs\[0\]\[1\] has shape \(4,\)"),
    "no gradients": (([(A, G), (A, None)],), {}, ValueError, r"pairs\[1\]\[1\] is None, but an array"),
    "NaN": (([(A, G), (A, G * np.nan)],), {}, ValueError, r"pairs\[1\]\[1\] holds nan at \(0, 0, 0, 0\)"),
    "infinity": (([Linear(A * np.inf, G)],), {}, ValueError, r"pairs\[0\]\.A holds inf at \(0, 0, 0\)"),
    "other samples": (([(A, G), (A[:2], G[:2])],), {}, ValueError, r"pairs\[1\] has 2 samples, but pairs\[0\] has 3"),
    "outputs": (
        ([(A, G), (A, G[..., None])],),
        {},
        ValueError,
        r"pairs\[1\]\[1\] has 1 outputs, but pairs\[0\]\[1\] has no",
    ),
    "no values": (([(A[:, :0], G)],), {}, ValueError, r"pairs\[0\]\[0\] is empty"),
    "text": (([(A.astype(str), G)],), {}, TypeError, r"pairs\[0\]\[0\] holds text"),
    "complex": (([(A, G * 1j)],), {}, TypeError, r"pairs\[0\]\[1\] holds complex numbers"),
    "masked": (([(A, np.ma.masked_less(G, 2))],), {}, TypeError, r"pairs\[0\]\[1\] has masked entries"),
    "others' layers": (([(A, G)], [(A, G)] * 2), {}, ValueError, "pairs has 1 layers, but others has more"),
    "fewer others": (([(A, G)] * 2, [(A, G)]), {}, ValueError, "others has 1 layers, but pairs has more"),
    "others' shape": (([(A, G)], [(A, G[:, :1])]), {}, ValueError, r"others\[0\] is a Linear with n = 2, m = 1"),
    "others' kind": (([(A, G)], [Block(G)]), {}, ValueError, r"others\[0\] is a Block with .* is a Linear"),
    "weights": (([(A, G)],), {"weights": [1, 2]}, ValueError, "weights has 2 entries, but there are 1 layers"),
    "more weights": ((iter([(A, G)]),), {"weights": [1, 2]}, ValueError, "weights has 2 entries, but pairs has 1"),
    "fewer weights": ((iter([(A, G)]),), {"weights": []}, ValueError, "weights has 0 entries, but pairs has more"),
    "negative weight": (([(A, G)],), {"weights": [-1]}, ValueError, r"weights\[0\] is -1.0, but must be >= 0"),
    "a weight": (([(A, G)],), {"weights": 1.0}, TypeError, "weights is 1.0, but a sequence"),
    "bias": (([(A, G)],), {"bias": 1}, TypeError, "bias is 1, but True or False"),
    "own bias": (([Linear(A, G, bias="no")],), {}, TypeError, r"pairs\[0\].bias is 'no'"),
    "form": (([(A, G)],), {"form": "fast"}, ValueError, "form is 'fast', but must be 'tokens' or 'gradients'"),
    "form of outputs": (([(A, G)],), {"outputs": "all"}, ValueError, "outputs is 'all'"),
    "layers of a generator": ((iter([(A, G)]),), {"per_layer": True}, TypeError, r"Pass list\(pairs\)"),
    "indices": (([Lookup(A, G)],), {}, TypeError, r"pairs\[0\].indices has dtype float64, but indices are integers"),
    "axes of indices": (([Lookup(np.zeros((1, 1, 1), int), G)],), {}, ValueError, r"pairs\[0\].indices has shape"),
    "axes of a block": (([Block(A[0])],), {}, ValueError, r"pairs\[0\].J has shape \(2,\), but \(N, p\)"),
    "out": (([(A, G)],), {"out": np.ones((2, 3))}, ValueError, r"out has shape \(2, 3\), but the kernel has shape"),
    "out of integers": (([(A, G)],), {"out": np.ones((3, 3), int)}, ValueError, "out has dtype int64"),
    "overlap": (
        ([(A, G), (np.ones((3, 3)),) * 2],),
        {"out": "the layer"},
        ValueError,
        "out shares memory with an input",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_by_name(case):
    arguments, options, error, message = REFUSED[case]
    if options.get("out", None) is not None and isinstance(options["out"], str):
        options = {"out": arguments[0][1][0]}
    with pytest.raises(error, match=message):
        ntkrs.empirical_ntk(*arguments, **options)


def test_kernels_that_overflow_are_refused():
    huge = np.full((2, 1), 1e200)
    with pytest.raises(ValueError, match=r"the kernel of pairs\[1\] exceeds the range of float64. Scale its gradients"):
        ntkrs.empirical_ntk([(A[:2], G[:2]), (huge, huge)])
    large = np.full((2, 1, 2), 3e38, np.float32)
    with pytest.raises(ValueError, match=r"the kernel of pairs\[0\] exceeds the range of float32"):
        ntkrs.empirical_ntk([(A[:2].astype(np.float32), large)], outputs="sum")
    single = np.full((2, 1), 1e18, np.float32)
    layer = Linear(single, single / 10, bias=False)
    assert ntkrs.empirical_ntk([layer] * 2, out=np.empty((2, 2))).max() < np.inf
    with pytest.raises(ValueError, match=r"exceeds the largest float32. Pass out=numpy.empty\(\(2, 2\)\)"):
        ntkrs.empirical_ntk([layer] * 1)


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"blocks\[1\] is a pair, unlike"):
        ntkrs.jacobian_ntk([G, (G, G)])
    with pytest.raises(ValueError, match=r"blocks\[0\]\[1\] holds nan"):
        ntkrs.jacobian_ntk([(G, G * np.nan)])
    with pytest.raises(ValueError, match="blocks is empty"):
        ntkrs.jacobian_ntk([])


def test_results_that_do_not_fit_into_memory_are_refused(limit_memory):
    limit_memory(70)
    with pytest.raises(MemoryError, match=r"the float64 sums of a kernel of shape \(3, 3\)"):
        ntkrs.empirical_ntk([(A, G)])
