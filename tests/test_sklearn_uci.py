"""benches/uci.py on a miniature of the collection: parsing, the published protocol, resuming, and the table."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.svm import SVC

SCRIPT = Path(__file__).resolve().parents[1] / "benches" / "uci.py"


@pytest.fixture
def uci(monkeypatch):
    spec = importlib.util.spec_from_file_location("uci", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "uci", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TREES", 5)
    return module


def write_set(folder, name, rows, classes=3, **entries):
    """Write a data set in the format of the collection, and return its features and classes."""
    rng = np.random.default_rng(rows)
    y = np.arange(rows) % classes
    x = rng.standard_normal((rows, 4)) + 1.5 * np.eye(4)[y]
    x = x.round(5)
    place = folder / name
    place.mkdir(parents=True)
    said = {"n_entradas": 4, "n_clases": classes, "n_arquivos": 1, "fich1": f"{name}_R.dat", "n_patrons1": rows}
    text = "".join(f"{key}= {value}\n" for key, value in (said | entries).items())
    (place / f"{name}.txt").write_text(text, encoding="utf-8")
    lines = ["\tf1\tf2\tf3\tf4\tclase", *("\t".join(map(str, (i + 1, *x[i], y[i]))) for i in range(rows))]
    (place / f"{name}_R.dat").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def written(parts):
        return "".join(" ".join(map(str, part)) + " \n" for part in parts)

    order = rng.permutation(rows)
    (place / "conxuntos.dat").write_text(written([order[::2], order[1::2]]), encoding="utf-8")
    folds = [part for i in range(4) for part in (np.delete(order, np.s_[i::4]), order[i::4])]
    (place / "conxuntos_kfold.dat").write_text(written(folds), encoding="utf-8")
    return x, y


@pytest.fixture
def folder(tmp_path):
    write_set(tmp_path / "sets", "second", 32)
    write_set(tmp_path / "sets", "first", 24)
    write_set(tmp_path / "sets", "with-a-test-file", 24, n_patrons2=10)
    write_set(tmp_path / "sets", "large", 28, n_patrons1=5001)
    (tmp_path / "sets" / "no-set").mkdir()
    (tmp_path / "sets" / "README").write_text("no set either", encoding="utf-8")
    return tmp_path / "sets"


def entries(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestReading:
    """Data sets as the collection has them."""

    def test_small_sets_without_a_test_file_take_part_small_ones_first(self, uci, folder):
        assert uci.sizes(folder) == [(24, "first"), (32, "second")]

    def test_rows_and_folds_are_read(self, uci, tmp_path):
        x, y = write_set(tmp_path / "other", "one", 26)
        data = uci.read(tmp_path / "other", "one")
        assert_array_equal(data.x, x)
        assert_array_equal(data.y, y)
        assert len(data.folds) == 4
        for train, test in [data.tuning, *data.folds]:
            assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(26))
        assert_array_equal(np.sort(np.concatenate([test for _, test in data.folds])), np.arange(26))

    def test_files_that_contradict_each_other_are_refused(self, uci, folder):
        with pytest.raises(ValueError, match=r"large_R\.dat has shape \(28, 5\) .* its header says \(5001, 5\)"):
            uci.read(folder, "large")
        (folder / "first" / "conxuntos.dat").write_text("0 1\n2 24\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"conxuntos\.dat holds rows from 2 to 24, but the table has 24 rows"):
            uci.read(folder, "first")
        (folder / "first" / "conxuntos.dat").write_text("0 1\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"conxuntos\.dat has 1 lines of rows, but 2 are needed"):
            uci.read(folder, "first")


def published_kernel(x, depth, fix):
    """The kernel of Arora et al. from arc-cosine formulas: Σ over layers l >= fix of Σ_l times later derivatives."""
    s, h = x @ x.T, np.zeros((len(x), len(x)))
    for layer in range(depth + 1):
        if layer:
            norms = np.sqrt(np.outer(np.diag(s), np.diag(s)))
            angle = np.arccos(np.clip(s / norms, -1, 1))
            s = norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
            h *= (np.pi - angle) / (2 * np.pi)
        if layer >= fix:
            h += s
    return h


class TestPublishedProtocol:
    """The protocol of Arora et al."""

    def test_kernels(self, uci, folder):
        x = uci.read(folder, "first").x
        for depth in range(5):
            for fix in range(depth + 1):
                expected = published_kernel(x, depth, fix)
                # arccos loses half of the digits where rows are equal, on the diagonal, once a layer.
                assert_allclose(uci.kernel(x, depth, fix), expected, rtol=0, atol=1e-6 * expected.max())

    def test_the_first_of_the_best_is_chosen(self, uci, folder):
        data = uci.read(folder, "first")
        train, validation = data.tuning
        choices = [
            (depth, fix, cost) for depth in range(5) for fix in range(depth + 1) for cost in 10.0 ** np.arange(-2, 5)
        ]

        def accuracy(choice, train, test):
            k = uci.kernel(data.x, *choice[:2])
            model = SVC(C=choice[2], kernel="precomputed").fit(k[train][:, train], data.y[train])
            return np.mean(model.predict(k[test][:, train]) == data.y[test])

        reached = [accuracy(choice, train, validation) for choice in choices]
        assert reached.count(max(reached)) > 1
        best = choices[int(np.argmax(reached))]
        found = uci.published(data)
        assert found["chosen"] == list(best)
        assert found["accuracy"] == [accuracy(best, *fold) for fold in data.folds]


class TestRuns:
    """Whole runs."""

    def run(self, uci, folder, path, *arguments):
        return uci.main(["--data", str(folder), "--json", str(path), *arguments])

    def test_runs_and_goes_on(self, uci, folder, tmp_path, capsys):
        path = tmp_path / "uci.jsonl"
        assert self.run(uci, folder, path, "--limit", "1", "--rivals", "rf,svm") == 0
        first, line = entries(path)
        assert first["versions"]["ntkrs"]
        assert first["cpu"]
        assert [line[key] for key in ("data", "rows", "features", "classes")] == ["first", 24, 4, 3]
        assert list(line["methods"]) == ["loo", "rf", "svm"]
        for one in line["methods"].values():
            assert len(one["accuracy"]) == 4
            assert one["seconds"] > 0
        assert "1 data sets are done by all methods" in capsys.readouterr().out

        assert self.run(uci, folder, path, "--rivals", "hgb,rf", "--resume") == 0
        assert entries(path)[:2] == [first, line]
        assert [(one["data"], list(one["methods"])) for one in entries(path)[3:]] == [
            ("first", ["hgb"]),
            ("second", ["loo", "hgb", "rf"]),
        ]
        before = path.read_bytes()
        assert self.run(uci, folder, path, "--rivals", "hgb", "--resume") == 0
        assert path.read_bytes() == before

    def test_a_torn_last_line_is_done_again(self, uci, folder, tmp_path):
        path = tmp_path / "uci.jsonl"
        self.run(uci, folder, path, "--rivals", "")
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for torn in (lines[-1][:20], lines[-1][:-1]):
            path.write_bytes(b"".join(lines[:-1]) + torn)
            assert self.run(uci, folder, path, "--rivals", "", "--resume") == 0
            assert [one.get("data") for one in entries(path)] == [None, "first", None, "second"]
        path.write_bytes(lines[0] + lines[1][:20] + b"\n" + lines[2])
        with pytest.raises(ValueError, match="is damaged in line 2"):
            self.run(uci, folder, path, "--resume")

    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ([], "--data DIR is missing: it is the UCI collection"),
            (["--data", "absent"], "absent is not a folder: it is the UCI collection"),
            (["--data", "empty"], "empty holds no data sets"),
            (["--data", "sets", "--json", "there"], "there exists: pass --resume"),
            (["--data", "sets", "--rivals", "rf,other"], "--rivals names 'other', but only rf, hgb, svm, tabpfn are"),
            (["--data", "sets", "--limit", "0"], "--limit is 0, but at least one"),
            (["--table", "--json", "absent"], "absent does not exist"),
        ],
    )
    def test_the_reason_is_told_if_nothing_can_be_run(self, uci, tmp_path, monkeypatch, capsys, arguments, reason):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        (tmp_path / "there").write_text("", encoding="utf-8")
        assert uci.main(arguments) == 2
        assert capsys.readouterr().err.startswith(reason)
        assert not (tmp_path / "uci.jsonl").exists()

    def test_absent_and_refusing_rivals_are_told(self, uci, folder, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(uci, "find_spec", lambda _: None)
        monkeypatch.setattr(uci, "rival", lambda *_: SVC(C=-1.0))
        assert self.run(uci, folder, tmp_path / "uci.jsonl", "--limit", "1", "--rivals", "svm,tabpfn") == 0
        told = capsys.readouterr().out
        assert "TabPFN is not installed: it is left out" in told
        assert "SVM, RBF refuses first: The 'C' parameter" in told
        _, line = entries(tmp_path / "uci.jsonl")
        assert list(line["methods"]) == ["loo", "svm"]
        assert "'C' parameter" in line["methods"]["svm"]["refused"]


class TestTable:
    """Figures of several methods on several sets."""

    def test_scores(self, uci):
        found = uci.scores(np.array([[0.8, 0.8, 0.72], [0.5, 1.0, 0.95], [0.0, 0.0, 0.0], [0.9, 0.7, 0.8]]))
        assert_allclose(found["mean"], [55.0, 62.5, 61.75])
        assert_allclose(found["rank"], [(1.5 + 3 + 2 + 1) / 4, (1.5 + 1 + 2 + 3) / 4, (3 + 2 + 2 + 2) / 4])
        assert_allclose(found["P90"], [75, 75, 75])
        assert_allclose(found["P95"], [75, 75, 50])
        assert_allclose(found["PMA"], [25 * 3.5, 25 * (3 + 7 / 9), 25 * (0.9 + 0.95 + 1 + 8 / 9)])

    def test_it_has_the_sets_that_all_methods_have_done_and_names_losses(self, uci):
        def one(accuracy):
            return {"accuracy": [accuracy] * 4, "seconds": 2.0}

        found = {
            "a": {"loo": one(0.9), "rf": one(0.8)},
            "b": {"loo": one(0.5), "rf": one(0.75)},
            "c": {"loo": one(0.5), "rf": {"refused": "too many classes"}},
            "d": {"loo": one(0.25), "rf": one(0.25)},
        }
        assert list(uci.table(found)) == [
            "random forest refuses c: too many classes",
            "3 data sets are done by all methods.",
            "",
            "| method | mean accuracy | rank | P90 | P95 | PMA | seconds | sets done |",
            "|---|---|---|---|---|---|---|---|",
            "| `NTKClassifier()` | 55.00 | 1.50 | 66.7 | 66.7 | 88.9 | 6.0 | 4 |",
            "| random forest | 60.00 | 1.50 | 66.7 | 66.7 | 96.3 | 6.0 | 3 |",
            "",
            "`NTKClassifier()` against random forest: 1 won, 1 equal, 1 lost",
            "  lost, in points: b -25.0",
        ]
        assert list(uci.table({})) == ["no set is done by all methods"]

    def test_the_published_accuracy_stands_beside_all_sets(self, uci):
        found = {str(i): {"arora": {"accuracy": [0.8] * 4, "seconds": 1.0}} for i in range(90)}
        assert list(uci.table(found))[-1] == "published protocol: 80.00 %, where 81.95 ± 0.3 % is expected"
        del found["0"]
        assert "published protocol:" not in "".join(uci.table(found))
