"""The documentation: examples of all pages run, links lead somewhere, and every public name has a page."""

import ast
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import ntkrs
import test_docstrings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    if not {"_build", "generated", "gallery", "jupyter_execute"}
    & set(path.relative_to(DOCS if DOCS in path.parents else ROOT).parts)
)
SCRIPTS = sorted((DOCS / "scripts").glob("*.py"))

#: Pages whose fenced examples are not run here, but by test_readme, test_docs_any_network and test_docs_autodiff, which
#: know the libraries of each part.
ELSEWHERE = {"README.md", "docs/any_network.md", "docs/autodiff.md"}

#: Libraries that the examples of a page may need.
OPTIONAL = ("sklearn", "torch", "gpytorch")


def name_of(path):
    """Return the path of a page below the top folder, the name of its tests."""
    return path.relative_to(ROOT).as_posix()


def blocks(path):
    """Return the fenced Python examples of a page that are not executed while the site is built."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(path):
    """Return the targets of a page's links to files, without the places in them."""
    text = re.sub(r"```.*?```|`[^`\n]*`|\$[^$\n]*\$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"\]\(<?([^)\s>]+)>?\)", text)
    return [target.partition("#")[0] for target in found if not re.match(r"[a-z]+:|#", target)]


def imported(code):
    """Return the top names of all modules that this code imports."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    names += [node.module + ".sklearn" for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "ntkrs"]
    return {part for name in names for part in name.split(".")}


def listed():
    """Return all names that the reference has a page for, with the module that lists them."""
    text = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    entries = re.findall(r"^ {3}([A-Za-z_][\w.]*)$", text, flags=re.MULTILINE)
    found = {f"ntkrs.{entry}" for entry in entries}
    at_the_top = {"ntkrs.activations", "ntkrs.errors"}
    for path in [name for name in found if name in {*test_docstrings.MODULES, *at_the_top}]:
        module = importlib.import_module(path)
        home = "ntkrs" if path in at_the_top else path  # as in the template of modules
        found |= {f"{home}.{name}" for name in module.__all__}
    return found


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path)], ids=name_of)
def test_examples_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    if name_of(path) in ELSEWHERE:
        return
    code = "\n".join(blocks(path))
    for library in OPTIONAL:
        if library in imported(code) and importlib.util.find_spec(library) is None:
            pytest.skip(f"{name_of(path)} needs {library}, which is absent: its examples are not run")
    exec(compile(code, name_of(path), "exec"), {})  # noqa: S102 it is ours


def test_the_kernel_of_scikit_ntk_is_that_of_its_formula():
    """Its recursion for depth 3: biases start at 0, learn at the scale ``bias``, and there is no factor 1/n_0."""
    (code,) = [block for block in blocks(DOCS / "guide" / "coming_from.md") if "depth, bias = " in block]
    names = {"ntkrs": ntkrs}
    exec(code, names)  # noqa: S102 it is ours
    sigma = names["features"] @ names["features"].T
    theta, scale = sigma + 0.1**2, np.sqrt(np.outer(sigma.diagonal(), sigma.diagonal()))
    for _ in range(3):
        rho = np.clip(sigma / scale, -1, 1)
        slope = 1 - np.arccos(rho) / np.pi
        sigma = scale * (np.sqrt(1 - rho**2) / np.pi + rho * slope)
        theta = theta * slope + sigma + 0.1**2
    # arccos near 1 gives slopes on the diagonal an error of √ε.
    np.testing.assert_allclose(names["K"], theta / (4 * (0.1**2 + 1)), rtol=1e-7)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_to_files(path):
    built = {"generated", "gallery"}  # pages that exist once the site is built
    missing = [
        target for target in links(path) if not (path.parent / target).exists() and not built & set(Path(target).parts)
    ]
    assert not missing, f"{name_of(path)} links to {missing}, which do not exist"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_nothing_is_said_twice(path):
    """A merge that keeps both sides of a page doubles its paragraphs."""
    text = re.sub(r"^```.*?^```|^:::.*?^:::", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=- )|\n(?=\| )", text)]
    long = [part for part in parts if len(part) > 60 or part.startswith("## ")]
    assert sorted(set(long)) == sorted(long), (
        f"{name_of(path)}: {sorted({part for part in long if long.count(part) > 1})}"
    )


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_to_the_reference_name_pages(path):
    pages = listed()
    for target in links(path):
        found = re.search(r"api/generated/(.+)\.rst$", target)
        assert found is None or found[1] in pages, (
            f"{name_of(path)} links to {target}, but the reference has no such page"
        )


@pytest.mark.parametrize("name", sorted(ntkrs.__all__))
def test_names_have_a_page(name):
    assert name == "__version__" or f"ntkrs.{name}" in listed(), f"ntkrs.{name} is not in docs/api/index.md"


def test_modules_have_a_page():
    own = {"ntkrs", "ntkrs.layers", "ntkrs.kernel", "ntkrs.network"}  # their names are listed one by one
    missing = {path for path in test_docstrings.MODULES if path not in own} - listed()
    assert not missing, f"{missing} are not in docs/api/index.md"


@pytest.mark.parametrize("module", ["ntkrs.layers", "ntkrs.kernel", "ntkrs.network"])
def test_results_have_a_page(module):
    names = importlib.import_module(module).__all__
    missing = [name for name in names if not {f"{module}.{name}", f"ntkrs.{name}"} & listed()]
    assert not missing, f"{missing} of {module} are not in docs/api/index.md"


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_begin_with_a_title(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    title, _, rest = text.partition("\n")
    assert re.match(r"=+\n\n\S", rest), f"{name_of(path)} needs a title, a line of = below it, and a text"
    assert len(rest.split("\n")[0]) >= len(title)
