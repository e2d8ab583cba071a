"""Configuration of the documentation: ``sphinx-build -W -n docs docs/_build``. Nothing is fetched while it builds."""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

import sklearn  # noqa: F401  before torch is mocked: SciPy looks for torch's classes while it is imported
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.fileutil import copy_asset

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import _style  # noqa: E402  from this folder

import ntkrs  # noqa: E402

_style.configure_kernels()

project = "ntkrs"
author = "The ntkrs developers"
copyright = author  # noqa: A001  Sphinx reads this name
version = release = ntkrs.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_codeautolink",
    "sphinxcontrib.bibtex",
]
exclude_patterns = [
    "_build",
    "_templates",
    "scripts",
    "jupyter_execute",
    "gallery/*.ipynb",  # written for download, beside the pages
]
templates_path = ["_templates"]

# --- Markdown and executed pages ---------------------------------------------------------------------------------
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "smartquotes"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 60
nb_execution_raise_on_error = True
nb_ipywidgets_js = {}  # the default loads them from another host
nb_merge_streams = True


# --- Reference ---------------------------------------------------------------------------------------------------
autosummary_generate = True
autodoc_mock_imports = ["gpytorch", "torch"]  # large, and needed by signatures and docstrings of one module alone
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # docstrings give types with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template lists them
numpydoc_attributes_as_param_list = True
add_module_names = False
nitpicky = True
suppress_warnings = [
    "config.cache",  # sphinx-codeautolink replaces the name of a function in its setting by the function
    "codeautolink.match_name",  # the gallery links these names itself
    "codeautolink.match_block",  # an example whose output is left out by ELLIPSIS
]
nitpick_ignore_regex = [
    # No network while building, so no inventories of other projects.
    (r"py:.*", r"(numpy|scipy|matplotlib|sklearn|torch|gpytorch|np|collections|typing|enum)(\..*)?"),
    # Bases of our classes that are written in Python itself.
    (r"py:class", r"(tuple|object|abc\.ABC|Exception|Warning)"),
    # A property that NTKKernel inherits from scikit-learn, whose pages are not here.
    (r"py:obj", r"bounds"),
]
# The blocks of a page are one program, and those of executed pages are IPython's.
codeautolink_concat_default = True
codeautolink_custom_blocks = {"ipython3": "sphinx_codeautolink.clean_ipython"}
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# --- Gallery -----------------------------------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "scripts",
    "gallery_dirs": "gallery",
    "filename_pattern": r"[/\\][a-z]",
    "backreferences_dir": "api/generated/examples",
    "doc_module": ("ntkrs",),
    "reset_modules": ("_style.reset",),
    "capture_repr": (),
    "image_scrapers": ("_style.scraper",),
    "reference_url": {"ntkrs": None},
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1,
    "within_subsection_order": "FileNameSortKey",
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "abort_on_example_error": True,
}

# --- HTML --------------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "ntkrs"
html_static_path = ["_static"]
html_favicon = "_static/theta.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["ntkrs.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "ntkrs"},
    "show_prev_next": True,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}

# Formulas are typeset by a copy of MathJax that the pages bring along.
mathjax_path = "mathjax/tex-chtml-full.js"
mathjax3_config = {"options": {"enableMenu": False}}

#: Pages that show a file of the top folder, and these files.
TOP = {"about/changelog": "CHANGELOG.md", "about/contributing": "CONTRIBUTING.md", "about/security": "SECURITY.md"}

#: The name that a text starts with, if it is dotted, or called, or that of a class, or has several words.
NAME = re.compile(r"[a-z_]+\.[\w.]*\w|[A-Z]\w*(\.\w+)*|\w+(?=\()|[a-z]+_\w+$")

#: The classes of variables that all pages name alike.
VARIABLES = {"arch": "Sequential", "kernel": "Kernel", "net": "Network"}

#: Marks the place of the guide's list where pages of this folder stand that no other list names.
FURTHER = "FURTHER_PAGES"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy MathJax and its fonts from the package that has them into the built pages."""
    if error is not None or app.builder.format != "html":
        return
    root = Path(str(distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax")))
    target = app.outdir / "_static" / "mathjax"
    copy_asset(root / "tex-chtml-full.js", target)
    fonts = Path("output/chtml/fonts/woff-v2")
    copy_asset(root / fonts, target / fonts)


def show_top_file(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace a page by the file of the top folder that it shows, with links that are right where the page is."""
    if page in TOP:
        path = HERE.parent / TOP[page]
        app.env.note_dependency(path)
        text = path.read_text(encoding="utf-8").replace("](docs/", "](../")
        pages = {f"]({name})": f"]({shown.rpartition('/')[2]}.md)" for shown, name in TOP.items()}
        source[0] = re.sub(r"\]\([A-Z]+\.md\)", lambda link: pages.get(link[0], link[0]), text)


def always_outdated(*_: object) -> list[str]:
    """Return the page that lists further pages: it depends on the names of files, which Sphinx does not see."""
    return ["guide/index"]


def list_further_pages(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add every page of this folder to the user guide, unless the guide or another list has it: ``docs/new.md``."""
    if page == "guide/index":
        lists = source[0] + (HERE / "about" / "index.md").read_text(encoding="utf-8")
        names = sorted(path.stem for path in HERE.glob("*.md") if path.stem != "index")
        further = [f"../{name}" for name in names if f"../{name}\n" not in lists]
        source[0] = source[0].replace(f"{FURTHER}\n", "".join(f"{name}\n" for name in further))


def skip_foreign(_app: Sphinx, _kind: str, name: str, item: object, skip: bool, _options: object) -> bool | None:
    """Leave out the members that classes inherit from other packages, and ``count`` and ``index`` of tuples."""
    inner = getattr(item, "fget", None) or getattr(item, "__func__", None) or getattr(item, "func", None) or item
    foreign = str(getattr(inner, "__module__", "ntkrs")).split(".")[0] != "ntkrs"
    return True if foreign or name in {"count", "index"} else (skip or None)


def find_member(_app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element) -> nodes.Element | None:
    """Resolve ``Kernel.diag`` and ``ntkrs.kernel.Kernel.diag``, whose page is that of ``ntkrs.Kernel``."""
    owner, _, member = str(node.get("reftarget", "")).rpartition(".")
    if node.get("refdomain") != "py" or not owner:
        return None
    target = f"ntkrs.{owner.rpartition('.')[2]}.{member}"
    return env.domains["py"].resolve_xref(env, node["refdoc"], _app.builder, node["reftype"], target, node, text)


def link_names(app: Sphinx, document: nodes.document, page: str) -> None:
    """Link names in texts, such as ``ntkrs.solve(K, y)`` and ``arch.kernel()``, to their pages, once in a paragraph."""
    objects = {
        short: known
        for name, known in app.env.domains["py"].objects.items()
        if known.objtype != "module" and known.docname != page
        for short in (name.removeprefix("ntkrs."), re.sub(r"^[a-z_.]*\.(?=[A-Z]|[a-z]+_\w+$)", "", name))
    }
    linked: set[tuple[nodes.Element, str]] = set()
    for literal in list(document.findall(nodes.literal)):
        text = NAME.match(literal.astext())
        if text is None or isinstance(literal.parent, nodes.reference):
            continue
        first, dot, rest = text[0].removeprefix("ntkrs.").partition(".")
        name = (VARIABLES.get(first, first) if dot else first) + dot + rest
        if name in objects and (literal.parent, name) not in linked:
            linked.add((literal.parent, name))
            known = objects[name]
            address = f"{app.builder.get_relative_uri(page, known.docname)}#{known.node_id}"
            link = nodes.reference("", "", internal=True, refuri=address)
            literal.replace_self(link)
            link += literal


def setup(app: Sphinx) -> None:
    """Connect the functions of this file."""
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("build-finished", copy_mathjax)
    app.connect("doctree-resolved", link_names)
    app.connect("env-get-outdated", always_outdated)
    app.connect("missing-reference", find_member)
    app.connect("source-read", list_further_pages)
    app.connect("source-read", show_top_file)
