"""Type checkers accept what is right and refuse nonsense, and know what calls return."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ntkrs
from ntkrs import _typing, typing

FILES = Path(__file__).with_name("typed")
SOURCE = Path(ntkrs.__file__).parents[1]


def output(*command, **options):
    """Return what a checker prints. It exits with 1 if it finds errors."""
    found = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False, **options)
    assert found.returncode in (0, 1), found.stderr + found.stdout
    return found.stdout


def by_mypy(name, folder):
    """Return the lines of a file on which mypy finds an error, and all that it says."""
    options = ["--strict", "--config-file=", "--ignore-missing-imports", "--disable-error-code", "type-arg"]
    said = output("mypy", *options, "--cache-dir", folder, FILES / name, env={"MYPYPATH": str(SOURCE)})
    return {int(line) for line in re.findall(rf"{name}:(\d+): error", said)}, said


def by_pyright(name, folder):
    """Return the lines of a file on which pyright, which editors use, finds an error, and all that it says."""
    shutil.copy(FILES / name, folder)
    settings = {"include": [name], "extraPaths": [str(SOURCE)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    said = output("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", folder)
    found = json.loads(said)
    assert found["summary"]["filesAnalyzed"] == 1, said
    return {
        one["range"]["start"]["line"] + 1 for one in found["generalDiagnostics"] if one["severity"] == "error"
    }, said


@pytest.fixture(scope="module", params=[by_mypy, by_pyright], ids=["mypy", "pyright"])
def errors(request, tmp_path_factory):
    checker = request.param.__name__.removeprefix("by_")
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is absent: it does not check the types of public signatures")
    folder = tmp_path_factory.mktemp(checker)
    return lambda name: request.param(name, folder)


def test_good_calls_are_accepted(errors):
    found, said = errors("accepted.py")
    assert not found, said


def test_nonsense_is_refused(errors):
    found, said = errors("refused.py")
    lines = (FILES / "refused.py").read_text(encoding="utf-8").splitlines()
    assert found == {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}, said


def test_the_public_module_has_the_types_of_the_signatures():
    assert typing.ArrayLike is _typing.Inputs
    assert all(hasattr(typing, name) for name in typing.__all__)
