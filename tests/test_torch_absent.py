"""The package without torch: ``ntkrs.torch`` alone asks for it."""

import ast
import subprocess
import sys
from pathlib import Path

import ntkrs

ROOT = Path(ntkrs.__file__).parent


def test_only_its_own_module_asks_for_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import ntkrs, ntkrs.convert, ntkrs.diagnostics, ntkrs.empirical\n"
        "assert 'torch' not in dir(ntkrs)\n"
        "try: ntkrs.torch\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("this needs PyTorch (")
    assert run.stdout.endswith("): pip install 'ntkrs[torch]'\n")


def test_no_other_file_imports_torch():
    importing = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & {"torch", "gpytorch"}:
                importing.add(path.relative_to(ROOT).parts[0])
    assert importing <= {"torch", "bench"}  # the benchmark has torch as a rival; convert.to_torch asks for it by name
