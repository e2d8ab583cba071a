"""The ``ntkrs`` command: its output, its files, and its one-line errors."""

import io
import json
import subprocess
import sys

import pytest

import ntkrs
from ntkrs import cli, demo

TINY = demo.Settings(
    samples=200,
    folds=2,
    ridges=(1e-2,),
    diabetes_splits=1,
    widths=(16, 32),
    width_seeds=2,
    width_samples=4,
    times=6,
    trained_widths=(8, 16),
    trained_samples=20,
    trained_steps=8,
    lazy_widths=(8, 16),
    lazy_seeds=2,
    lazy_samples=8,
    lazy_steps=5,
)


def test_versions_as_json(capsys):
    assert cli.main(["versions", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ntkrs"].startswith(ntkrs.__version__)
    assert int(found["threads"]) >= 1


def test_bench_is_a_command_too(capsys):
    assert cli.main(["bench", "--quick", "--list"]) == 0
    assert capsys.readouterr().out.startswith("linear Gram, N=500 d=100\n")


def test_bench_says_which_sides_it_measures(capsys):
    assert cli.main(["bench", "--quick", "--rivals", "--only", "nothing", "--dtype", "float32"]) == 0
    assert capsys.readouterr().out == (
        "measured: ntkrs, NumPy; 0 benchmarks in float32\n"
        "not measured: JAX, torch. Name them: --rivals jax torch; without --rivals all are measured.\n"
    )


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def tiny(monkeypatch):
    pytest.importorskip("sklearn", reason="the demo needs the extra ntkrs[demo]")
    pytest.importorskip("matplotlib", reason="the demo needs the extra ntkrs[demo]")
    monkeypatch.setattr(demo, "Settings", lambda: TINY)


@pytest.mark.usefixtures("tiny")
def test_demo_writes_a_report_and_prints_a_table_and_a_sentence(tmp_path, capsys):
    assert cli.main(["demo", "--output", str(tmp_path / "out"), "--seed", "5"]) == 0
    out, err = capsys.readouterr()
    assert err == ""  # no bar when piped
    assert out.isascii()
    assert "log-log slope" in out
    assert "total wall time" in out
    assert out.splitlines()[-1].startswith("The tangent kernel")
    assert out.splitlines()[-1].endswith(".")
    assert {path.name for path in (tmp_path / "out").iterdir()} > {"report.html", "summary.json"}


@pytest.mark.parametrize(("module", "package"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")])
def test_missing_extra_is_one_line_that_says_what_to_install(module, package, monkeypatch, tmp_path, capsys):
    for other in ("sklearn", "matplotlib"):
        monkeypatch.setitem(sys.modules, other, None if other == module else sys)
    assert cli.main(["demo", "--output", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"this needs {package}" in err
    assert "pip install 'ntkrs[demo]'" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_output_that_is_a_file_is_a_one_line_error(tmp_path, capsys):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    assert cli.main(["demo", "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("tiny")
def test_interrupt_ends_with_130_and_no_report(monkeypatch, tmp_path, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "spectrum", interrupt)
    assert cli.main(["demo", "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "ntkrs: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_version_and_versions(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"ntkrs {ntkrs.__version__}\n"
    called = []
    monkeypatch.setattr(ntkrs, "show_versions", lambda: called.append(True))
    assert cli.main(["versions"]) == 0
    assert called == [True]


def test_help_tells_what_the_commands_do(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "a report, in under a minute" in told
    assert "print versions, build profile, instruction set and threads" in told


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["demo", "--seed", "-1"], ["demo", "--seed", "x"], ["demo", "--seed", "4294967296"]],
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    told = capsys.readouterr().err
    assert "usage: ntkrs" in told
    if "--seed" in arguments:
        assert f"argument --seed: {arguments[-1]} is not a whole number from 0 to 2**32 - 1" in told


def test_bar_fills_on_a_terminal_and_leaves_nothing_behind():
    stream = Terminal()
    progress = cli.Progress(stream)
    for stage in cli.STAGES:
        progress(stage, 0.5)
    progress("figures", 1.0)
    shown = stream.getvalue().split("\r")[1:]
    filled = [line.count("#") for line in shown]
    assert filled == sorted(filled)
    assert filled[-1] == 30
    progress.clear()
    assert stream.getvalue().endswith("\r" + " " * 48 + "\r")
    assert max(map(len, shown)) <= 48


def test_bar_is_silent_in_a_pipe():
    stream = io.StringIO()
    progress = cli.Progress(stream)
    progress("digits", 0.5)
    progress.clear()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("module", ["ntkrs", "ntkrs.cli"])
def test_modules_are_the_command(module):
    result = subprocess.run([sys.executable, "-m", module, "versions"], capture_output=True, text=True, check=True)
    assert "ntkrs" in result.stdout
