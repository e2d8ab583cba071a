"""Every public name has a docstring with an example that runs alone, and every comment begins with its subject."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import io
import pkgutil
import re
import tokenize
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest

import ntkrs

ROOT = Path(__file__).resolve().parents[1]

#: Public modules. Their public names are those of ``__all__``, or all that they define if they have none.
MODULES = [
    "ntkrs",
    "ntkrs.predict",
    "ntkrs.diagnostics",
    "ntkrs.regression",
    "ntkrs.features",
    "ntkrs.convert",
    "ntkrs.plot",
    "ntkrs.layers",
    "ntkrs.kernel",
    "ntkrs.network",
    "ntkrs.storage",
    "ntkrs.empirical",
    "ntkrs.demo",
    "ntkrs.typing",
    "ntkrs.errors",
    "ntkrs.compat.neural_tangents",
    "ntkrs.compat.neural_tangents.predict",
    "ntkrs.compat.neural_tangents.stax",
]

#: Public modules that need an optional library: they are read where it is there.
EXTRAS = {"ntkrs.dask": "dask", "ntkrs.sklearn": "sklearn", "ntkrs.torch": "torch"}
MISSING = {path: library for path, library in EXTRAS.items() if importlib.util.find_spec(library) is None}
MODULES += EXTRAS.keys() - MISSING.keys()

#: Modules that are programs, and must not be imported.
PROGRAMS = {"__main__"}

#: Every docstring longer than this number of characters needs an example, also of a method or property.
LONG = 400

#: Optional libraries, and a pattern that the examples which need them contain.
OPTIONAL = {
    "dask": r"\bdask\b",
    "matplotlib": r"matplotlib|\bplot\b",
    "safetensors": r"safetensors",
    "sklearn": r"\b(sklearn|demo)\b",
    "torch": r"import .*\btorch\b",
}

#: Words without a noun. A comment that begins with one of them hides its subject.
BARE = re.compile(r"(What|Those|That|All that|Which|How|Whether|As|Of)\b", re.IGNORECASE)


def is_ours(item):
    """Return True for a function or class that this package defines."""
    home = str(getattr(item, "__module__", None))
    return (inspect.isclass(item) or inspect.isroutine(item)) and home.split(".", maxsplit=1)[0] == "ntkrs"


def documentation(item):
    """Return the docstring, or "" if it is only the signature that dataclasses and named tuples write."""
    text = inspect.getdoc(item) or ""
    return "" if inspect.isclass(item) and text.startswith(f"{item.__name__}(") else text


def exported(module):
    """Yield the name and the value of every public name of a module, and True if ``__all__`` lists it."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        yield from ((name, getattr(module, name), True) for name in listed)
        return
    for name, item in vars(module).items():
        if is_ours(item) and f"{item.__module__}.".startswith(f"{module.__name__}.") and not name.startswith("_"):
            yield name, item, False


def members(cls):
    """Yield the name and the value of every public method and property, inherited ones too, if they are ours."""
    for base in filter(is_ours, cls.__mro__):
        for name, item in vars(base).items():
            value = item.__func__ if isinstance(item, staticmethod | classmethod) else item
            documented = inspect.isfunction(value) or isinstance(value, property | cached_property)
            if documented and (name == "__call__" or not name.startswith("_")):
                yield f"{base.__name__}.{name}", value


def public():
    """Return the docstring of every public name, and True for a name that needs an example at any length."""
    found, seen = {}, {}

    def add(name, item, *, needs_example):
        """Note one name; another path to the same object is the same name."""
        name = seen.setdefault(id(item), name)
        found[name] = documentation(item), needs_example or found.get(name, ("", False))[1]

    for path in MODULES:
        module = importlib.import_module(path)
        add(path, module, needs_example=False)
        for name, item, listed in exported(module):
            if is_ours(item) or isinstance(item, ModuleType):
                add(f"{path}.{name}", item, needs_example=listed and is_ours(item))
            if inspect.isclass(item):
                for member, value in members(item):
                    add(f"{path}.{member}", value, needs_example=False)
    return found


def only_missing(name):
    """Raise the error of a package that cannot be imported, unless its library is missing."""
    if name not in MISSING:
        raise  # noqa: PLE0704  the error that is being handled


def examples(documented):
    """Return all docstrings with examples by name: those of public names, then the others of the package."""
    found = {name: text for name, (text, _) in documented.items() if ">>>" in text}
    known = set(found.values())
    finder = doctest.DocTestFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(ntkrs.__path__, "ntkrs.", onerror=only_missing):
        if info.name.rpartition(".")[2] in PROGRAMS or info.name.startswith(tuple(MISSING)):
            continue
        for test in finder.find(importlib.import_module(info.name)):
            text = inspect.cleandoc(test.docstring)
            if ">>>" in text and text not in known:
                known.add(text)
                found[test.name] = text
    return found


PUBLIC = public()
EXAMPLES = examples(PUBLIC)


@pytest.mark.parametrize("path", EXTRAS)
def test_modules_with_extras_are_read(path):
    if path in MISSING:
        pytest.skip(f"{path} needs {MISSING[path]}, which is absent: its docstrings are not read")
    assert any(name.startswith(f"{path}.") for name in PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    text, needs_example = PUBLIC[name]
    assert text, f"{name} has no docstring"
    if needs_example or len(text) > LONG:
        assert ">>>" in text, f"{name} has a docstring of {len(text)} characters without an example"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run_in_an_empty_namespace(name):
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], {}, name, None, None)
    source = "".join(example.source for example in test.examples)
    for library, pattern in OPTIONAL.items():
        if re.search(pattern, source) and importlib.util.find_spec(library) is None:
            pytest.skip(f"the example of {name} needs {library}, which is absent")
    assert not any(example.options.get(doctest.SKIP) for example in test.examples), "an example that is never run"
    output = []
    failures, _ = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert not failures, "".join(output)


def docstrings(source):
    """Yield the line and the text of every docstring, those that follow an attribute too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def comment_blocks(source):
    """Yield the line and the first line's text of every block of comments that stand on lines of their own."""
    before = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.line[: token.start[1]].strip():
            continue
        line = token.start[0]
        if line != before + 1:
            yield line, token.string
        before = line


def bare_beginnings(source):
    """Yield the line and the first words of docstrings and comments that begin with a bare word."""
    for line, text in sorted([*docstrings(source), *comment_blocks(source)]):
        words = " ".join(text.lstrip("#: \n").split()[:6])
        if BARE.match(words):
            yield line, words


@pytest.mark.parametrize("folder", ["python/ntkrs", "benches", "tests"])
def test_docstrings_and_comments_begin_with_what_they_are_about(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words}"
        for path in sorted((ROOT / folder).rglob("*.py*"))
        if path.suffix in {".py", ".pyi"}
        for line, words in bare_beginnings(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join([f"{len(found)} begin with a word that has no noun:", *found])


def test_bare_beginnings_are_found():
    source = '"""What this is."""\n\n#: Of two.\nx = 1  # which is fine\n# A block\n# of two lines\n'
    assert list(bare_beginnings(source)) == [(1, "What this is."), (3, "Of two.")]
