"""Classify the UCI collection of Fernández-Delgado et al. (2014) with NTKs and with other classifiers, on its folds.

    python benches/uci.py --data DIR [--limit N] [--protocol loo|arora] [--rivals rf,hgb,svm] [--json FILE] [--resume]
    python benches/uci.py --table [--json FILE]

DIR has one folder for each data set: NAME.txt, NAME_R.dat, conxuntos.dat and conxuntos_kfold.dat. Sets with a test file
of their own and sets of more than 5000 rows are left out, as in Arora et al. (2020), and small ones come first. With
--limit, only the N smallest are classified.

Protocols:

- loo: ``NTKClassifier()`` on the training part of each of the four folds.
- arora: the published one. Kernels of 0 to 4 hidden layers whose first dense layers, none to all hidden ones, are not
  trained, σ_w = 1, no biases, times the number of features; libsvm with C = 10⁻² to 10⁴. All of them are compared on
  the collection's split for tuning, the first of the best is chosen, and then tested on the four folds.

Rivals: rf, RandomForestClassifier(500); hgb, HistGradientBoostingClassifier; svm, SVC with an RBF kernel and a grid
search in 3 folds; tabpfn, TabPFNClassifier, where it is installed.

FILE gets one JSON line for each run, with versions and the processor, and one for each data set. --resume continues a
file: methods that have classified a set are not run again, so that both protocols can share a file. --table prints the
table of a file and runs nothing. Seconds are processor seconds of one thread for all four folds, choices included.
Without --rivals, all that are installed are run, and with --rivals "" none is.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

import ntkrs
from ntkrs._runtime.versions import versions
from ntkrs.bench.measure import cpu
from ntkrs.sklearn import NTKClassifier, NTKKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Indices = np.ndarray
    #: Fields of a method, by its name: "accuracy" of each fold and "seconds", or "refused".
    Outcome = dict[str, dict[str, Any]]

LARGEST = 5000
FOLDS = 4
COSTS = 10.0 ** np.arange(-2, 5)
DEPTHS = range(5)
#: Widths of RBF kernels, times the number of features.
GAMMAS = 10.0 ** np.arange(-2, 2)
TREES = 500
TITLES = {
    "loo": "`NTKClassifier()`",
    "arora": "NTK, published protocol",
    "rf": "random forest",
    "hgb": "gradient boosting",
    "svm": "SVM, RBF",
    "tabpfn": "TabPFN",
}
PROTOCOLS = ("loo", "arora")
RIVALS = ("rf", "hgb", "svm", "tabpfn")
#: The published mean accuracy over all 90 sets.
PUBLISHED = (81.95, 0.3, 90)


@dataclass(frozen=True)
class Dataset:
    """One data set of the collection, with its split for tuning and its folds: pairs of training and test rows."""

    name: str
    x: np.ndarray
    y: np.ndarray
    tuning: tuple[Indices, Indices]
    folds: list[tuple[Indices, Indices]]


def header(path: Path) -> dict[str, str]:
    """Return the entries of NAME.txt, such as ``n_patrons1= 150``."""
    pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {key.rstrip("="): value for key, value in pairs}


def splits(path: Path, rows: int, count: int) -> list[tuple[Indices, Indices]]:
    """Return ``count`` pairs of training and test rows, two lines for each pair."""
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = [np.array(line.split(), dtype=int) for line in lines if line.strip()]
    if len(parts) != 2 * count:
        raise ValueError(f"{path} has {len(parts)} lines of rows, but {2 * count} are needed")
    for part in parts:
        if part.min() < 0 or part.max() >= rows:
            raise ValueError(f"{path} holds rows from {part.min()} to {part.max()}, but the table has {rows} rows")
    return list(zip(parts[::2], parts[1::2], strict=True))


def sizes(folder: Path) -> list[tuple[int, str]]:
    """Return rows and names of all sets that take part, ascending."""
    found = []
    for path in sorted(folder.glob("*/")):
        if (path / f"{path.name}.txt").is_file():
            entries = header(path / f"{path.name}.txt")
            rows = int(entries["n_patrons1"])
            if "n_patrons2" not in entries and rows <= LARGEST:
                found.append((rows, path.name))
    return sorted(found)


def read(folder: Path, name: str) -> Dataset:
    """Read one data set, and check it against its header."""
    place = folder / name
    entries = header(place / f"{name}.txt")
    path = place / entries["fich1"]
    table = np.loadtxt(path, skiprows=1, ndmin=2)[:, 1:]
    shape = int(entries["n_patrons1"]), int(entries["n_entradas"]) + 1
    if table.shape != shape:
        raise ValueError(f"{path} has shape {table.shape} without its first column, but its header says {shape}")
    tuning = splits(place / "conxuntos.dat", shape[0], 1)
    folds = splits(place / "conxuntos_kfold.dat", shape[0], FOLDS)
    return Dataset(name, table[:, :-1], table[:, -1].astype(int), tuning[0], folds)


def on_folds(data: Dataset, make: Callable[[], Any]) -> tuple[list[float], list[Any]]:
    """Return the accuracy of a new estimator on each fold, and the fitted estimators."""
    accuracies, models = [], []
    for train, test in data.folds:
        models.append(make().fit(data.x[train], data.y[train]))
        accuracies.append(float(np.mean(models[-1].predict(data.x[test]) == data.y[test])))
    return accuracies, models


def leave_one_out(data: Dataset) -> dict[str, Any]:
    """Return the accuracies of NTKClassifier(), with the depths and ridges that it chooses."""
    accuracies, models = on_folds(data, NTKClassifier)
    return {"accuracy": accuracies, "chosen": [[model.depth_, model.diag_reg_] for model in models]}


def kernel(x: np.ndarray, depth: int, fix: int) -> np.ndarray:
    """Return the NTK of the published protocol: the sum over all layers after the first ``fix``."""
    return x.shape[1] * NTKKernel(depth, "relu", 1.0, 0.0, frozen=fix)(x)


def published(data: Dataset) -> dict[str, Any]:
    """Return the accuracies of the protocol of Arora et al., with the chosen depth, untrained layers, and C."""

    def accuracy(k: np.ndarray, train: Indices, test: Indices, cost: float) -> float:
        model = SVC(C=cost, kernel="precomputed", cache_size=1000).fit(k[np.ix_(train, train)], data.y[train])
        return float(np.mean(model.predict(k[np.ix_(test, train)]) == data.y[test]))

    best = (-1.0, 0, 0, 0.0, np.empty((0, 0)))
    for depth in DEPTHS:
        for fix in range(depth + 1):
            k = kernel(data.x, depth, fix)
            for cost in COSTS:
                found = accuracy(k, *data.tuning, cost)
                if found > best[0]:
                    best = (found, depth, fix, float(cost), k)
    *_, depth, fix, cost, k = best
    return {"accuracy": [accuracy(k, *fold, cost) for fold in data.folds], "chosen": [depth, fix, cost]}


def rival(name: str, features: int) -> Any:
    """Return the other classifier of this name."""
    if name == "rf":
        return RandomForestClassifier(TREES, random_state=0)
    if name == "hgb":
        return HistGradientBoostingClassifier(random_state=0)
    if name == "svm":
        return GridSearchCV(SVC(cache_size=1000), {"C": COSTS, "gamma": GAMMAS / features}, cv=3)
    from tabpfn import TabPFNClassifier

    return TabPFNClassifier(random_state=0)


def outcome(method: str, data: Dataset) -> dict[str, Any]:
    """Return accuracies on the folds and seconds of a method. A rival that refuses the data has its message instead."""
    start = process_time()
    if method in PROTOCOLS:
        result = {"loo": leave_one_out, "arora": published}[method](data)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rare classes, which are fewer than the folds of the grid search
            try:
                result = {"accuracy": on_folds(data, lambda: rival(method, data.x.shape[1]))[0]}
            except ValueError as error:
                return {"refused": str(error)}
    return result | {"seconds": process_time() - start}


def kept(path: Path) -> tuple[dict[str, Outcome], int]:
    """Return the outcomes in a file, by data set, and the number of bytes before a torn last line."""
    found: dict[str, Outcome] = {}
    content, whole = path.read_bytes() if path.exists() else b"", 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if entry is None or not line.endswith(b"\n"):
            if whole + len(line) < len(content):
                raise ValueError(f"{path} is damaged in line {number}: repair or remove it")
            break
        whole += len(line)
        if "data" in entry:
            found.setdefault(entry["data"], {}).update(entry["methods"])
    return found, whole


def run(folder: Path, names: Sequence[str], methods: Sequence[str], path: Path) -> None:
    """Classify sets, and append a line for each."""
    found, whole = kept(path)
    missing = {name: [method for method in methods if method not in found.get(name, {})] for name in names}
    with path.open("ab") as file:
        file.truncate(whole)

        def write(entry: dict[str, Any]) -> None:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()

        if any(missing.values()):
            write({"versions": versions(), "cpu": cpu(), "methods": list(methods)})
        for name in names:
            if not missing[name]:
                continue
            data = read(folder, name)
            outcomes = {method: outcome(method, data) for method in missing[name]}
            size = {"rows": len(data.y), "features": data.x.shape[1], "classes": len(np.unique(data.y))}
            write({"data": name, **size, "methods": outcomes})
            told = [f"{key} {np.mean(one['accuracy']):.2%}" for key, one in outcomes.items() if "accuracy" in one]
            print(f"{name}, {len(data.y)} rows: {', '.join(told)}", flush=True)


def scores(accuracies: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of Fernández-Delgado et al. from accuracies, (sets, methods): one number for each method.

    The mean accuracy, the Friedman rank, and relative to the best method of each set: the share of sets where a method
    reaches 90 % and 95 % of it, and the mean of what it reaches.
    """
    accuracies = accuracies.round(12)  # equal numbers of hits, summed in another order
    best = accuracies.max(axis=1, keepdims=True)
    relative = np.divide(accuracies, best, out=np.ones_like(accuracies), where=best > 0).round(12)
    return {
        "mean": 100 * accuracies.mean(axis=0),
        "rank": rankdata(-accuracies, axis=1).mean(axis=0),
        "P90": 100 * (relative >= 0.9).mean(axis=0),
        "P95": 100 * (relative >= 0.95).mean(axis=0),
        "PMA": 100 * relative.mean(axis=0),
    }


def table(found: dict[str, Outcome]) -> Iterator[str]:
    """Yield the lines of a report on the sets that all methods have classified."""
    methods = [name for name in TITLES if any(name in one for one in found.values())]
    done = {name: [key for key, one in found.items() if "accuracy" in one.get(name, {})] for name in methods}
    for name in methods:
        for key, one in found.items():
            if "refused" in one.get(name, {}):
                yield f"{TITLES[name]} refuses {key}: {one[name]['refused'].splitlines()[0]}"
    methods = [name for name in methods if done[name]]
    common = [key for key in found if all(key in done[name] for name in methods)]
    if not methods or not common:
        yield "no set is done by all methods"
        return
    accuracies = np.array([[np.mean(found[key][name]["accuracy"]) for name in methods] for key in common])
    figures = scores(accuracies)
    yield f"{len(common)} data sets are done by all methods."
    yield ""
    yield "| method | mean accuracy | rank | P90 | P95 | PMA | seconds | sets done |"
    yield "|---|---|---|---|---|---|---|---|"
    for at, name in enumerate(methods):
        mean, rank, *others = (column[at] for column in figures.values())
        seconds = sum(found[key][name]["seconds"] for key in common)
        shares = " | ".join(f"{other:.1f}" for other in others)
        yield f"| {TITLES[name]} | {mean:.2f} | {rank:.2f} | {shares} | {seconds:.1f} | {len(done[name])} |"
    yield ""
    for at, name in enumerate(methods):
        if name in PROTOCOLS:
            yield from losses(common, methods, accuracies, at)
    if len(done.get("arora", ())) == PUBLISHED[2]:
        mean = 100 * np.mean([np.mean(found[key]["arora"]["accuracy"]) for key in done["arora"]])
        yield f"published protocol: {mean:.2f} %, where {PUBLISHED[0]} ± {PUBLISHED[1]} % is expected"


def losses(names: Sequence[str], methods: Sequence[str], accuracies: np.ndarray, ours: int) -> Iterator[str]:
    """Yield wins, ties and losses of one of our methods against each rival, and the sets where it loses."""
    for at, name in enumerate(methods):
        if name in PROTOCOLS:
            continue
        gain = 100 * (accuracies[:, ours] - accuracies[:, at]).round(12)
        wins, lost = int(np.sum(gain > 0)), [(one, key) for one, key in zip(gain, names, strict=True) if one < 0]
        ties = len(gain) - wins - len(lost)
        yield f"{TITLES[methods[ours]]} against {TITLES[name]}: {wins} won, {ties} equal, {len(lost)} lost"
        if lost:
            yield f"  lost, in points: {', '.join(f'{key} {one:.1f}' for one, key in sorted(lost))}"


def refusal(options: argparse.Namespace) -> str | None:
    """Return the reason why nothing can be run with these options, or None."""
    path, folder = options.json, options.data
    if options.table:
        return None if path.is_file() else f"{path} does not exist: --json names a file of results"
    if folder is None or not folder.is_dir():
        place = "--data DIR is missing" if folder is None else f"{folder} is not a folder"
        return f"{place}: it is the UCI collection of Fernández-Delgado et al. (2014), which is not part of ntkrs"
    if not sizes(folder):
        return f"{folder} holds no data sets: a set is a folder NAME with a file NAME.txt"
    if path.exists() and not options.resume:
        return f"{path} exists: pass --resume to continue it, or another --json FILE"
    if options.limit is not None and options.limit < 1:
        return f"--limit is {options.limit}, but at least one data set is needed"
    unknown = sorted({*filter(None, options.rivals.split(","))} - {*RIVALS})
    return f"--rivals names {unknown[0]!r}, but only {', '.join(RIVALS)} are known" if unknown else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="loo")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument("--json", type=Path, default=Path("uci.jsonl"))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(arguments)
    reason = refusal(options)
    if reason:
        print(reason, file=sys.stderr)
        return 2
    if not options.table:
        rivals = [name for name in options.rivals.split(",") if name]
        if "tabpfn" in rivals and find_spec("tabpfn") is None:
            rivals.remove("tabpfn")
            print("TabPFN is not installed: it is left out")
        names = [name for _, name in sizes(options.data)][: options.limit]
        with ntkrs.threads(1), threadpool_limits(1):
            run(options.data, names, [options.protocol, *rivals], options.json)
    print(*table(kept(options.json)[0]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
