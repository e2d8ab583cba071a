"""The layout of python/ntkrs: imports point down, files are few and short, and names show where users find them."""

import ast
import importlib
import importlib.util
import inspect
import pickle
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import ntkrs

ROOT = Path(ntkrs.__file__).parent

#: Rooms are the files and folders of the package. Each imports from itself and from rooms that stand before it here.
ORDER = (
    {"_core", "_public", "_typing", "errors"},
    {"_checks", "typing"},
    {"_runtime"},
    {"activations", "plot"},
    {"_layers"},
    {"_architecture"},
    {"kernel", "network"},
    {"empirical", "ensemble", "layers"},
    {"storage"},
    {"solvers"},
    {"predict"},
    {"convert", "features", "regression"},
    {"diagnostics"},
    {"dask", "sklearn", "torch"},
    {"__init__"},
    {"bench", "compat", "demo"},
    {"cli"},
    {"__main__"},
)
HEIGHT = {room: height for height, rooms in enumerate(ORDER) for room in rooms}

#: Rooms that one other room alone imports.
ENTERED_BY = {"bench": {"cli"}, "demo": {"cli"}, "cli": {"__main__"}}

FILES = sorted(ROOT.rglob("*.py"))


def name_of(path):
    """Return the dotted name of a file within the package: ``predict.modes``, ``predict`` of its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in FILES}


def imported(path):
    """Yield the names of all modules of the package that a file imports, in functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (resolved(alias.name) for alias in node.names if alias.name.split(".")[0] == "ntkrs")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import, which this test does not read"
            if node.module.split(".")[0] == "ntkrs":
                yield from (resolved(node.module, alias.name) for alias in node.names)


def resolved(module, name=""):
    """Return the module of the package that an import reads: ``name`` in ``module`` if that is one, else ``module``."""
    inside = module.removeprefix("ntkrs").removeprefix(".")
    longer = f"{inside}.{name}".strip(".")
    return longer if longer in MODULES or longer == "_core" else inside or "__init__"


IMPORTS = {name: sorted(set(imported(path))) for name, path in MODULES.items()}


def room(module):
    return module.split(".")[0]


def test_every_room_has_its_place():
    assert {room(name) for name in MODULES} <= set(HEIGHT)


def test_every_import_is_understood():
    assert {target for targets in IMPORTS.values() for target in targets} <= {*MODULES, "_core"}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    here = room(name)
    for target in IMPORTS[name]:
        there = room(target)
        assert there == here or HEIGHT[there] < HEIGHT[here], f"{name} imports {target}"
        assert there == here or here in ENTERED_BY.get(there, {here}), f"{name} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_private_leaves_its_folder(name):
    for target in IMPORTS[name]:
        *folders, last = target.split(".")
        private = bool(folders) and last.startswith("_")
        assert not private or name == folders[0] or name.startswith(f"{folders[0]}."), f"{name} imports {target}"


def test_no_files_import_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_few_files_are_private_at_the_top():
    assert len([path for path in ROOT.glob("_*.py") if not path.name.startswith("__")]) <= 4


def test_few_files_are_long():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    long = {name: length for name, length in lengths.items() if length > 400}
    assert len(long) <= 2, long


PUBLIC = [
    f"ntkrs.{name}".removesuffix(".__init__")
    for name, path in MODULES.items()
    if "\n__all__ = [" in path.read_text(encoding="utf-8") and "._" not in f".{name}".replace("__init__", "")
]


#: Public modules that need an optional library.
EXTRAS = {"ntkrs.dask": "dask", "ntkrs.sklearn": "sklearn", "ntkrs.torch": "torch"}
MISSING = {path: library for path, library in EXTRAS.items() if importlib.util.find_spec(library) is None}
PUBLIC = [path for path in PUBLIC if path not in MISSING]


def names():
    """Yield (module, name) of every public class and function."""
    for module in PUBLIC:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            if inspect.isroutine(getattr(loaded, name)) or inspect.isclass(getattr(loaded, name)):
                yield module, name


def test_the_public_modules_are_found():
    assert {"ntkrs", "ntkrs.kernel", "ntkrs.network", "ntkrs.layers", "ntkrs.predict", "ntkrs.diagnostics"} <= {*PUBLIC}


@pytest.mark.parametrize("path", EXTRAS)
def test_modules_with_extras_are_read(path):
    if path in MISSING:
        pytest.skip(f"{path} needs {MISSING[path]}, which is absent: its names are not read")
    assert path in PUBLIC


@pytest.mark.parametrize(("module", "name"), list(names()))
def test_public_names_show_a_public_path(module, name):
    found = getattr(importlib.import_module(module), name)
    assert "._" not in found.__module__
    assert getattr(importlib.import_module(found.__module__), found.__qualname__) is found
    if inspect.isclass(found):
        for member in dir(found):
            function = inspect.getattr_static(found, member)
            function = getattr(function, "fget", function) if isinstance(function, property) else function
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function) and function.__module__.startswith("ntkrs") and not member.startswith("_"):
                assert "._" not in function.__module__, f"{name}.{member} is of {function.__module__}"
                assert function.__qualname__.endswith(f".{member}")


def test_methods_show_themselves():
    assert ntkrs.Network.ntk.__qualname__ == "Network.ntk"
    assert ntkrs.Network.ntk.__module__ == ntkrs.Network.__module__ == "ntkrs.network"
    assert ntkrs.Kernel.__call__.__module__ == ntkrs.Kernel.__module__ == "ntkrs.kernel"
    assert ntkrs.Dense.__module__ == ntkrs.Sequential.with_width.__module__ == "ntkrs.layers"
    assert ntkrs.threads.__module__ == "ntkrs"


#: Paths that users import, beside those of ``ntkrs.__all__``.
PATHS = [
    "activations.Elementwise",
    "bench.main",
    "cli.main",
    "demo.Settings",
    "demo.peak_megabytes",
    "ensemble.EnsembleNtk",
    "ensemble.ensemble_ntk",
    "kernel.ErrorBound",
    "kernel.Kernel",
    "layers.Dense",
    "layers.Sequential",
    "layers.mlp",
    "network.Network",
    "plot.kernel_spectrum",
    "plot.spectra",
    "plot.width_scaling",
    "predict.gaussian.Gaussian",
    "predict.mse.gradient_descent_mse",
    "diagnostics.lazy.kernel_drift",
    "diagnostics.scaling.WidthScaling",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_users_import_is_there(path):
    module, name = f"ntkrs.{path}".rsplit(".", 1)
    assert hasattr(importlib.import_module(module), name)


def test_pickles_of_earlier_versions_load():
    assert pickle.loads(b"cntkrs._training\nHistory\n.") is ntkrs.network.History
    assert pickle.loads(b"cntkrs._gradient\nKernelGradient\n.") is ntkrs.kernel.KernelGradient
    assert pickle.loads(b"cntkrs._get\nNngpNtk\n.") is ntkrs.kernel.NngpNtk
    net = ntkrs.mlp(1, 3, 2, "erf").init(2)
    restore = pickle.loads(b"cntkrs.network\n_restore\n.")
    same = restore(net.arch, 2, net.parameters.copy(), "ntk")
    assert np.array_equal(same(np.eye(2)), net(np.eye(2)))
