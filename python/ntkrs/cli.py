"""The command ``ntkrs``: ``demo`` runs experiments, ``bench`` measures, ``versions`` describes the build."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TextIO, TypeVar

import ntkrs
from ntkrs import bench, demo
from ntkrs._runtime.optional import require
from ntkrs._runtime.versions import versions
from ntkrs.demo import report, scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
# The stages of the demo and their approximate shares of its time, for the progress bar.
STAGES = {
    "data": 2,
    "Gram matrices": 1,
    "digits": 4,
    "diabetes": 1,
    "few labels": 4,
    "width scaling": 6,
    "dynamics": 1,
    "spectrum": 1,
    "finite training": 5,
    "lazy training": 4,
    "figures": 4,
}


class Progress:
    """A one-line progress bar over the stages. It is shown on terminals only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown = stream, stream.isatty()

    def __call__(self, stage: str, share: float = 0.0) -> None:
        """Show that ``stage`` is running, and that this share of it is done."""
        if self._shown:
            before = sum(STAGES[name] for name in list(STAGES)[: list(STAGES).index(stage)])
            done = round(30 * (before + share * STAGES[stage]) / sum(STAGES.values()))
            self._stream.write(f"\r[{'#' * done}{'-' * (30 - done)}] {stage:<14}")
            self._stream.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._shown:
            self._stream.write("\r" + " " * 48 + "\r")
            self._stream.flush()


def _experiments(seed: int, settings: demo.Settings, progress: Progress) -> report.Results:
    """Run every experiment, and time each stage."""
    seconds: dict[str, float] = {}

    def timed(stage: str, compute: Callable[[], T]) -> T:
        progress(stage)
        start = perf_counter()
        result = compute()
        seconds[stage] = perf_counter() - start
        return result

    data = timed("data", lambda: demo.load_digits(settings, seed))
    gram = timed("Gram matrices", lambda: demo.gram(data.x, settings))
    digits = timed("digits", lambda: scores.classification(data, gram, settings, seed))
    diabetes = timed("diabetes", lambda: scores.regression(settings, seed))
    images = timed("few labels", lambda: demo.few_labels(data, settings, seed))
    x = data.x[data.train[: settings.width_samples]]
    tell = partial(progress, "width scaling")
    width = timed("width scaling", lambda: demo.width_scaling(x, settings, seed, tell))
    flow, circle = timed("dynamics", lambda: (demo.dynamics(gram.ntk, data, settings), demo.circle(settings)))
    spectrum = timed("spectrum", lambda: demo.spectrum(gram, data))
    trained = timed("finite training", lambda: demo.finite_training(data, settings, seed))
    lazy = timed("lazy training", lambda: demo.lazy_training(data, settings, seed))
    return report.Results(
        settings, seed, data, gram, digits, diabetes, images, width, flow, circle, spectrum, trained, lazy, seconds
    )


def run_demo(output: Path, seed: int = 0, settings: demo.Settings | None = None) -> report.Results:
    """Run the demo, write its report to ``output``, and return the results.

    Parameters
    ----------
    output : Path
        The directory for ``report.html``, ``summary.json`` and the PNGs. It is created if missing.
    seed : int
        The seed of all splits and random networks, from 0 to 2**32 - 1.
    settings : Settings, optional
        The sizes of the experiments.

    Raises
    ------
    ImportError
        If scikit-learn or matplotlib is missing. The message says how to install it.
    OSError
        If the directory cannot be created or written to.
    """
    require("sklearn", "scikit-learn")
    require("matplotlib", "matplotlib")
    output.mkdir(parents=True, exist_ok=True)
    progress = Progress(sys.stderr)
    try:
        results = _experiments(seed, settings or demo.Settings(), progress)
        progress("figures")
        start = perf_counter()
        images = report.render(results)
        seconds = {**results.seconds, "figures": perf_counter() - start}
        results = replace(results, seconds=seconds)
        report.write(results, images, output)
    finally:
        progress.clear()
    return results


def _seed(text: str) -> int:
    """Return the seed given on the command line."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 2**32 - 1")
    return value


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="ntkrs", description="Neural tangent kernels on CPUs, from NumPy.")
    parser.add_argument("--version", action="version", version=f"ntkrs {ntkrs.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser("demo", help="experiments on real data, and a report, in about 30 seconds")
    run.add_argument("--output", type=Path, default=Path("ntkrs-demo"), help="output directory (default: %(default)s)")
    run.add_argument("--seed", type=_seed, default=0, help="seed of splits and networks (default: %(default)s)")
    describe = commands.add_parser("versions", help="print versions, build profile, instruction set and threads")
    describe.add_argument("--json", action="store_true", help="as a JSON object")
    bench.add_arguments(commands.add_parser("bench", help="benchmarks against rivals and the machine's limit"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``ntkrs`` with these arguments, by default those of the process, and return its exit status.

    Examples
    --------
    >>> from ntkrs.cli import main
    >>> main(["versions"])  # doctest: +ELLIPSIS
             ntkrs: ...
    0
    """
    arguments = _parser().parse_args(argv)
    try:
        COMMANDS[arguments.command](arguments)
    except (ImportError, OSError) as error:
        print(f"ntkrs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ntkrs: interrupted", file=sys.stderr)
        return 130
    return 0


def _demo(arguments: argparse.Namespace) -> None:
    """Run the demo, and print its table and conclusion."""
    results = run_demo(arguments.output, arguments.seed)
    print(report.table(results))
    print(f"\nReport: {arguments.output / 'report.html'}\n\n{report.conclusion(results)}")


def _versions(arguments: argparse.Namespace) -> None:
    """Print versions and build information."""
    if arguments.json:
        print(json.dumps(versions(), indent=2))
    else:
        ntkrs.show_versions()


#: The functions that run the commands.
COMMANDS = {"demo": _demo, "bench": bench.run_command, "versions": _versions}


if __name__ == "__main__":
    sys.exit(main())
