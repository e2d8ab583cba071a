"""Stored kernel matrices: the same entries and products in memory and in files, packed or not, for any bands."""

import json
import pickle
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import lapack
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

import ntkrs
from ntkrs import _core
from ntkrs.storage.matrix import _PIECE

#: Orders around the edges of the format, and of tiles of 96 rows in either half.
ORDERS = [0, 1, 2, 3, 4, 5, 190, 191, 192, 193, 333]

#: ε of float64. A sum of n terms in any order is off by at most n ε times the sum of their sizes.
EPS = np.finfo(np.float64).eps


def kernel_of(depth=2):
    return ntkrs.mlp(depth, 1, 1, "relu", 1.4, 0.1).kernel()


def inputs(n, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 5)).astype(dtype)


def packed_by_lapack(matrix):
    """Return LAPACK's packed copy of a matrix, (N (N + 1) / 2,)."""
    pack = lapack.dtrttf if matrix.dtype == np.float64 else lapack.strttf
    return pack(matrix, uplo="L")[0]


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def dtype(request):
    return request.param


class TestTheFormat:
    @pytest.mark.parametrize("n", range(1, 12))
    def test_offsets_are_those_of_lapack(self, n):
        matrix = np.arange(1.0, 1 + n * n).reshape(n, n)
        packed = packed_by_lapack(matrix)
        for i in range(n):
            for j in range(i + 1):
                place = _core.packed_offset(n, i, j)
                assert packed[place] == matrix[i, j]
                assert _core.packed_offset(n, j, i) == place

    @pytest.mark.parametrize("n", ORDERS)
    def test_files_are_packed_as_by_lapack(self, n, dtype, tmp_path):
        x = inputs(n, dtype)
        ntkrs.gram(kernel_of(), x, tmp_path / "K.npy")
        found = np.load(tmp_path / "K.npy")
        assert found.dtype == dtype
        assert found.shape == ((n + 1) // 2, n + 1 - n % 2)
        if n:
            assert np.array_equal(found.ravel(), packed_by_lapack(kernel_of()(x)))

    @pytest.mark.parametrize("n", ORDERS)
    def test_square_files_are_the_matrix(self, n, dtype, tmp_path):
        x = inputs(n, dtype)
        ntkrs.gram(kernel_of(), x, tmp_path / "K.npy", packed=False)
        assert np.array_equal(np.load(tmp_path / "K.npy"), kernel_of()(x))

    def test_the_bytes_do_not_depend_on_bands_or_threads(self, tmp_path):
        x, path, found = inputs(301, np.float32), tmp_path / "K.npy", set()
        for band_bytes, threads in [(1, 1), (30_000, 2), (2**28, 3)]:
            with ntkrs.threads(threads):
                ntkrs.gram(kernel_of(), x, path, band_bytes=band_bytes, overwrite=True)
            found.add(path.read_bytes() + (tmp_path / "K.npy.json").read_bytes())
            assert sorted(file.name for file in tmp_path.iterdir()) == ["K.npy", "K.npy.json"]
        assert len(found) == 1


@pytest.mark.parametrize("place", ["memory", "file"])
@pytest.mark.parametrize("packed", [True, False])
class TestEntries:
    def gram(self, place, packed, n, dtype, tmp_path):
        path = tmp_path / "K.npy" if place == "file" else None
        return ntkrs.gram(kernel_of(), inputs(n, dtype), path, packed=packed, band_bytes=50_000)

    @pytest.mark.parametrize("n", ORDERS)
    def test_they_are_those_of_the_kernel_to_the_last_bit(self, place, packed, n, dtype, tmp_path):
        gram, expected = self.gram(place, packed, n, dtype, tmp_path), kernel_of()(inputs(n, dtype))
        assert (gram.shape, gram.dtype, gram.packed) == ((n, n), dtype, packed)
        assert np.array_equal(np.asarray(gram), expected)
        assert np.array_equal(gram.diagonal(), expected.diagonal())
        for start, stop in {(0, n), (n // 3, n // 2), (n // 3, n), (n // 2, n), (n, n)}:
            assert np.array_equal(gram.rows(start, stop), expected[start:stop])
        indices = [n - 1, 0, n // 2, n // 2, (n + 1) // 2 - 1, n // 3] if n else []
        assert np.array_equal(gram.columns(indices), expected[:, np.array(indices, int)])

    def test_the_stored_bytes_are_half_of_the_matrix(self, place, packed, dtype, tmp_path):
        gram = self.gram(place, packed, 101, dtype, tmp_path)
        assert gram.nbytes == np.dtype(dtype).itemsize * (101 * 51 if packed else 101 * 101)
        assert gram.path == (tmp_path / "K.npy" if place == "file" else None)
        assert ("packed" if packed else "square") in repr(gram)

    def test_a_copy_is_returned(self, place, packed, dtype, tmp_path):
        gram = self.gram(place, packed, 20, dtype, tmp_path)
        for found in (gram.rows(0, 20), gram.columns(range(20)), gram.diagonal(), np.asarray(gram)):
            found[:] = 0
        assert np.array_equal(np.asarray(gram), kernel_of()(inputs(20, dtype)))

    def test_wrong_indices_are_refused(self, place, packed, dtype, tmp_path):
        gram = self.gram(place, packed, 20, dtype, tmp_path)
        with pytest.raises(ValueError, match="rows 3 to 21 are not among 0 to 20"):
            gram.rows(3, 21)
        with pytest.raises(ValueError, match="rows 3 to 2"):
            gram.rows(3, 2)
        with pytest.raises(TypeError, match=r"start is 1.0"):
            gram.rows(1.0, 2)
        with pytest.raises(IndexError, match="20"):
            gram.columns([20])
        with pytest.raises(ValueError, match="without a copy"):
            np.asarray(gram, copy=False)


class TestProducts:
    @pytest.mark.parametrize("n", ORDERS)
    def test_they_are_sums_in_float64(self, n, dtype):
        gram, wide = ntkrs.gram(kernel_of(), inputs(n, dtype)), kernel_of()(inputs(n, dtype)).astype(np.float64)
        for count in (0, 1, 2, 3, 5, 8, 9, 20):
            vectors = np.random.default_rng(count).standard_normal((n, count))
            product = gram.product(vectors)
            assert product.dtype == np.float64
            bound = n * EPS * (np.abs(wide) @ np.abs(vectors))
            assert np.all(np.abs(product - wide @ vectors) <= bound)
            assert (gram @ vectors).dtype == dtype
            assert np.array_equal(gram @ vectors, product.astype(dtype))

    def test_the_bits_are_the_same_wherever_the_matrix_is(self, dtype, tmp_path, monkeypatch):
        n = 1000
        x, vectors = inputs(n, dtype), np.random.default_rng(1).standard_normal((n, 11))
        expected = ntkrs.gram(kernel_of(), x).product(vectors)
        assert np.array_equal(_core.stored_product(kernel_of()(x), vectors, None), expected)
        monkeypatch.setattr("ntkrs.storage.matrix._PIECE", 1)  # pieces of 96 rows
        for packed in (True, False):
            for path in (None, tmp_path / f"{packed}.npy"):
                gram = ntkrs.gram(kernel_of(), x, path, packed=packed)
                for threads in (1, 3):
                    with ntkrs.threads(threads):
                        assert np.array_equal(gram.product(vectors), expected)
                assert np.array_equal(gram.product(vectors[:, 4]), expected[:, 4])

    def test_it_is_an_operator_of_scipy(self):
        x, rng = inputs(50), np.random.default_rng(0)
        gram, kernel = ntkrs.gram(kernel_of(), x), kernel_of()(x)
        assert isinstance(gram, LinearOperator)
        vector = rng.standard_normal(50)
        assert np.array_equal(gram.T @ vector, gram @ vector)
        assert np.array_equal(gram.H @ vector, gram @ vector)
        assert np.allclose(vector @ gram, kernel @ vector, rtol=1e-12)
        assert np.array_equal(gram.matvec(vector[:, None]), (gram @ vector)[:, None])
        solution, failed = cg(gram, kernel @ vector, rtol=1e-13, maxiter=1000)
        assert not failed
        assert np.allclose(kernel @ solution, kernel @ vector, rtol=1e-9)

    def test_wrong_vectors_are_refused(self):
        gram = ntkrs.gram(kernel_of(), inputs(4))
        for bad, error, message in [
            (np.ones(3), ValueError, r"V has shape \(3,\), but \(4,\) or \(4, r\) is needed"),
            (np.ones((4, 2, 2)), ValueError, r"V has shape \(4, 2, 2\)"),
            (np.array([1, np.nan, 0, 0]), ValueError, "V holds nan"),
            (1j * np.ones(4), TypeError, "V holds complex"),
            (csr_array(np.eye(4)), TypeError, "V is a sparse"),
            (np.ma.masked_array(np.ones(4), [1, 0, 0, 0]), TypeError, "V has masked"),
            (np.array([1, "a", 2, 3], object), TypeError, "V has dtype object"),
            (np.full(4, 1e308), ValueError, "range of float64"),
        ]:
            with pytest.raises(error, match=message):
                gram.product(bad)

    def test_values_beyond_float32_become_infinite_without_a_warning(self):
        gram = ntkrs.gram(kernel_of(), inputs(4, np.float32))
        assert np.isinf(gram @ np.full(4, 1e38 * 1e38)).all()


class TestNetworks:
    @pytest.mark.parametrize("outputs", ["mean", "trace", "sum", 1, None])
    def test_the_matrix_is_that_of_the_network(self, outputs, dtype, tmp_path):
        net = ntkrs.mlp(2, 10, 3, "erf", 1.4, 0.1).init(5, rng=0, dtype=dtype)
        x = inputs(60, np.float64)
        expected = net.ntk(x, outputs="mean" if outputs is None else outputs)
        for path in (None, tmp_path / "K.npy"):
            gram = ntkrs.gram(net, x, path, outputs=outputs, band_bytes=4000)
            assert gram.dtype == dtype
            assert np.array_equal(np.asarray(gram), expected)

    def test_other_parameters_are_another_matrix(self, tmp_path):
        net, x = ntkrs.mlp(1, 4, 2).init(5, rng=0), inputs(6)
        ntkrs.gram(net, x, tmp_path / "K.npy")
        with pytest.raises(ValueError, match=r"differs in the parameters of the network\. .*overwrite=True"):
            ntkrs.gram(net.with_parameters(net.parameters + 1), x, tmp_path / "K.npy")
        with pytest.raises(ValueError, match="differs in outputs"):
            ntkrs.gram(net, x, tmp_path / "K.npy", outputs=1)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"get": "both"}, ValueError, "get is 'both', but must be 'nngp' or 'ntk'"),
            ({"get": ("ntk",)}, ValueError, "get is"),
            ({"outputs": "mean"}, TypeError, "outputs is 'mean', but that is for networks"),
            ({"packed": 2}, TypeError, "packed"),
            ({"overwrite": "yes"}, TypeError, "overwrite"),
            ({"band_bytes": 0}, ValueError, "band_bytes is 0, but at least 1"),
            ({"band_bytes": 1.5}, TypeError, "band_bytes"),
            ({"progress": 3}, TypeError, "progress is 3"),
        ],
    )
    def test_options(self, arguments, error, message, tmp_path):
        for path in (None, tmp_path / "K.npy"):
            with pytest.raises(error, match=message):
                ntkrs.gram(kernel_of(), inputs(4), path, **arguments)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            (np.full((2, 2), np.nan), ValueError, "X holds nan"),
            (np.full((2, 2), np.inf), ValueError, "X holds inf"),
            (np.ones(3), ValueError, "X has shape"),
            (np.ones((3, 0)), ValueError, "X has 0 features"),
            (np.ones((3, 2)) * 1j, TypeError, "X holds complex"),
            (np.array([["a"]], object), TypeError, "X has dtype object"),
            (csr_array(np.eye(2)), TypeError, "X is a sparse"),
            (np.ma.masked_array(np.eye(2), [[1, 0], [0, 0]]), TypeError, "X has masked"),
            (np.vstack([np.ones((5, 1)), [[1e300]]]), ValueError, "row 5 of X leaves the range of float64"),
            (np.float32([[1], [1e30]]), ValueError, "row 1 of X leaves the range of float32.*float64 inputs"),
        ],
    )
    def test_inputs(self, x, error, message, tmp_path):
        for path in (None, tmp_path / "K.npy"):
            with pytest.raises(error, match=message):
                ntkrs.gram(kernel_of(), x, path)
        assert list(tmp_path.iterdir()) == []

    def test_kernels(self, tmp_path):
        net = ntkrs.mlp(1, 4, 2).init(5, rng=0)
        for kernel in (kernel_of()(inputs(3)), lambda x: x, None):
            with pytest.raises(TypeError, match=r"kernel is .*, but the kernel of an infinitely wide network"):
                ntkrs.gram(kernel, inputs(3), tmp_path / "K.npy")
        with pytest.raises(ValueError, match="outputs is 'full', but one"):
            ntkrs.gram(net, inputs(3), outputs="full")
        with pytest.raises(ValueError, match="get is 'nngp', but a network"):
            ntkrs.gram(net, inputs(3), get="nngp")
        with pytest.raises(ValueError, match="7 features"):
            ntkrs.gram(net, np.ones((3, 7)), tmp_path / "K.npy")
        assert list(tmp_path.iterdir()) == []

    def test_a_matrix_that_does_not_fit_is_refused_before_any_work(self, monkeypatch):
        monkeypatch.setattr("ntkrs._checks.memory.available", lambda: 2**20)
        with pytest.raises(MemoryError, match=r"a kernel matrix of order 8000 needs .* Pass path="):
            ntkrs.gram(kernel_of(), np.ones((8000, 1)))

    def test_a_python_function_needs_a_label(self, tmp_path):
        def make(label):
            activation = ntkrs.Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2, label)
            return ntkrs.mlp(1, 1, 1, activation).kernel()

        ntkrs.gram(make(None), inputs(4))
        with pytest.raises(ValueError, match="label="):
            ntkrs.gram(make(None), inputs(4), tmp_path / "K.npy")
        assert list(tmp_path.iterdir()) == []
        ntkrs.gram(make("tanh"), inputs(4), tmp_path / "K.npy")
        with pytest.raises(ValueError, match="differs in the kernel"):
            ntkrs.gram(make("sinh"), inputs(4), tmp_path / "K.npy")
        assert repr(ntkrs.Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2, "tanh")) == "Activation(label='tanh')"
        with pytest.raises(TypeError, match="label is 3"):
            ntkrs.Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2, 3)


class TestProgress:
    @pytest.mark.parametrize("place", ["memory", "file"])
    def test_rows_are_counted_and_never_fall(self, place, tmp_path):
        path, heard = tmp_path / "K.npy" if place == "file" else None, []
        ntkrs.gram(kernel_of(), inputs(100), path, band_bytes=16_000, progress=lambda *counts: heard.append(counts))
        assert heard == sorted(heard)
        assert {total for _, total in heard} == {50}
        assert len(heard) >= 3
        assert heard[-1] == (50, 50)

    def test_a_report_follows_what_is_on_the_disk(self, tmp_path):
        def look(done, _):
            *_, last = (tmp_path / "K.npy.journal").read_text().splitlines()
            assert int(last.split()[1]) >= done

        ntkrs.gram(kernel_of(), inputs(100), tmp_path / "K.npy", band_bytes=16_000, progress=look)

    def test_a_band_that_takes_long_reports_its_rows(self, monkeypatch):
        monkeypatch.setattr("ntkrs.storage.rows._PATIENCE_S", 0.0)
        heard = []
        x = np.random.default_rng(0).standard_normal((3000, 50))
        ntkrs.gram(kernel_of(8), x, progress=lambda done, _: heard.append(done))
        assert heard == sorted(heard)
        assert len(heard) > 1
        assert heard[-1] == 1500

    def test_a_finished_file_reports_nothing(self, tmp_path):
        ntkrs.gram(kernel_of(), inputs(10), tmp_path / "K.npy")
        heard = []
        ntkrs.gram(kernel_of(), inputs(10), tmp_path / "K.npy", progress=lambda *counts: heard.append(counts))
        assert heard == []


class TestMemory:
    def test_a_file_needs_memory_for_its_bands_alone(self, tmp_path):
        n, band_bytes = 3000, 2**22
        x = inputs(n)
        tracemalloc.start()
        try:
            gram = ntkrs.gram(kernel_of(), x, tmp_path / "K.npy", band_bytes=band_bytes, progress=False)
            writing = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            gram @ np.ones(n)
            product = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # The packed matrix has 36 MB. Beside bands: copies of X, and lines of the journal.
        assert writing <= 1.5 * band_bytes + 2**20
        # Three pieces: one in use, one read ahead, and one on its way.
        assert product <= 3 * _PIECE + 2**20

    def test_a_product_reads_pieces(self, tmp_path, monkeypatch):
        monkeypatch.setattr("ntkrs.storage.matrix._PIECE", 2**20)
        gram = ntkrs.gram(kernel_of(), inputs(3000), tmp_path / "K.npy")
        tracemalloc.start()
        try:
            gram @ np.ones(3000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # Three pieces of 96 rows of 24 kB: one in use, one read ahead, and one on its way.
        assert peak <= 3 * 96 * 3001 * 8 + 2**20


class TestOpening:
    def test_a_finished_file_opens_without_the_kernel(self, tmp_path, dtype):
        path, x = tmp_path / "K.npy", inputs(70, dtype)
        ntkrs.gram(kernel_of(), x, path)
        for found in (ntkrs.open_gram(path), ntkrs.open_gram(str(path), verify=True)):
            assert np.array_equal(np.asarray(found), kernel_of()(x))
        again = pickle.loads(pickle.dumps(found))
        assert again.path == path
        assert np.array_equal(again @ np.ones(70), found @ np.ones(70))
        in_memory = pickle.loads(pickle.dumps(ntkrs.gram(kernel_of(), x)))
        assert np.array_equal(in_memory @ np.ones(70), found @ np.ones(70))

    def test_missing_files_are_named(self, tmp_path):
        path = tmp_path / "K.npy"
        with pytest.raises(FileNotFoundError, match=r"K\.npy"):
            ntkrs.open_gram(path)
        np.save(path, np.eye(3))
        with pytest.raises(FileNotFoundError, match=r"K\.npy\.json"):
            ntkrs.open_gram(path)

    @pytest.mark.parametrize(
        "text",
        [
            *["", "[]", "{}", '{"identity": {}, "parts": []}', '{"identity": 3, "parts": [[1]]}', "[" * 100_000],
            '{"identity": {"order": "4", "packed": true, "dtype": "float64"}, "parts": []}',
            '{"identity": {"order": 4, "packed": true, "dtype": "float64"}, "parts": [["0", "1", 2]]}',
        ],
    )
    def test_a_description_that_is_none_is_refused(self, text, tmp_path):
        path = tmp_path / "K.npy"
        ntkrs.gram(kernel_of(), inputs(4), path)
        (tmp_path / "K.npy.json").write_text(text)
        with pytest.raises(ValueError, match=r"K\.npy\.json does not describe a kernel matrix"):
            ntkrs.open_gram(path)

    def test_an_array_of_another_shape_is_refused(self, tmp_path):
        path = tmp_path / "K.npy"
        ntkrs.gram(kernel_of(), inputs(4), path)
        np.save(path, np.eye(30))
        with pytest.raises(ValueError, match="does not hold an array of shape"):
            ntkrs.open_gram(path)

    def test_checksums_must_cover_the_file(self, tmp_path):
        path, beside = tmp_path / "K.npy", tmp_path / "K.npy.json"
        ntkrs.gram(kernel_of(), inputs(20), path)
        description = json.loads(beside.read_text())
        description["parts"].pop()
        beside.write_text(json.dumps(description))
        with pytest.raises(ValueError, match="its checksums end at row 9 of 10"):
            ntkrs.open_gram(path, verify=True)


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
    example = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    names = {}
    exec(example.replace("progress=True", "progress=False"), names)  # noqa: S102 it is ours
    assert np.array_equal(np.asarray(names["G"]), names["kernel"](names["X"]))


def test_rows_take_the_memory_of_the_result(monkeypatch):
    n = 1500
    found = ntkrs.gram(kernel_of(), inputs(n))
    monkeypatch.setattr("ntkrs.storage.matrix._ROWS", 50)
    for read in (lambda: found.rows(0, n), lambda: np.asarray(found)):
        tracemalloc.start()
        rows = read()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1.2 * rows.nbytes  # 50 rows and their parts are 0.1 of it
        assert np.array_equal(rows, kernel_of()(inputs(n)))
