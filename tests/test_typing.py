"""Type checkers accept what is right and refuse nonsense, and know what calls return."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ntkrs
from ntkrs import _typing, typing

FILES = Path(__file__).with_name("typed")


def errors(name, folder):
    """Return the lines of a file on which mypy finds an error, and all that it says."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is absent: the types of public signatures are not checked")
    source = Path(ntkrs.__file__).parents[1]
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(folder),
        str(FILES / name),
    ]
    ignored = ["--ignore-missing-imports", "--disable-error-code", "type-arg"]
    found = subprocess.run(
        [*command, *ignored], capture_output=True, text=True, check=False, env={"MYPYPATH": str(source)}
    )
    assert found.returncode in (0, 1), found.stderr + found.stdout
    lines = re.findall(rf"{name}:(\d+): error", found.stdout)
    return {int(line) for line in lines}, found.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


def test_good_calls_are_accepted(cache):
    found, said = errors("accepted.py", cache)
    assert not found, said


def test_nonsense_is_refused(cache):
    found, said = errors("refused.py", cache)
    lines = (FILES / "refused.py").read_text(encoding="utf-8").splitlines()
    assert found == {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}, said


def test_the_public_module_has_the_types_of_the_signatures():
    assert typing.ArrayLike is _typing.Inputs
    assert all(hasattr(typing, name) for name in typing.__all__)
