"""The bindings: a topic has one name in ``rust/python/src`` and in ``_core.pyi``, and no files import in a circle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {path.stem: path.read_text() for path in (ROOT / "rust" / "python" / "src").glob("*.rs")}
STUB = (ROOT / "python" / "ntkrs" / "_core.pyi").read_text()

#: Topics whose functions are methods of a class that another file exports.
METHODS = {"kernel": ["kernel_gradient"], "network": ["vector_products"]}


def exports():
    """Return (topic, name) for everything in ``#[pymodule]``, in its order."""
    exported = re.compile(r"#\[pymodule_export]\s*(?:use super::(\w+)::([^;]+)|const (\w+))")
    for topic, names, constant in exported.findall(SOURCES["lib"]):
        yield from ((topic or "lib", name) for name in re.findall(r"\w+", names or constant))


def imports():
    """Return the files that each file imports. Paths count wherever they stand, not only in ``use``."""
    return {
        name: {other for other in re.findall(r"\b(?:crate|super)::(\w+)", source) if other in SOURCES}
        for name, source in SOURCES.items()
    }


def circles(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def documented(body):
    """Return the names that a list of statements defines, each with its docstring or None."""
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name, ast.get_docstring(statement)
        elif isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            yield statement.target.id, following.value.value


def test_no_files_import_each_other_in_a_circle():
    assert circles(imports()) == []
    assert circles({"a": {"b"}, "b": {"a"}})  # a circle would be found


def test_the_stub_has_the_topics_of_the_module_in_its_order():
    expected = [
        part for topic in dict.fromkeys(topic for topic, _ in exports()) for part in (topic, *METHODS.get(topic, []))
    ]
    assert re.findall(r"^ *# (\w+)\.rs$", STUB, re.MULTILINE) == expected
    assert set(expected) <= set(SOURCES)


@pytest.mark.parametrize(("topic", "name"), list(exports()))
def test_every_export_is_in_the_stub_under_its_topic_with_a_docstring(topic, name):
    sections = dict(re.findall(r"^# (\w+)\.rs$(.*?)(?=^# \w+\.rs$|\Z)", STUB, re.MULTILINE | re.DOTALL))
    assert dict(documented(ast.parse(sections[topic]).body))[name]


def test_every_method_in_the_stub_has_a_docstring():
    classes = [statement for statement in ast.parse(STUB).body if isinstance(statement, ast.ClassDef)]
    methods = [(name, text) for statement in classes for name, text in documented(statement.body)]
    assert [name for name, text in methods if not text and name != "__new__"] == []
    assert {"gram", "jvp", "advance"} <= dict(methods).keys()
