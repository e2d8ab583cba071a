"""The ``ntkrs`` command: ``demo`` writes a report of real experiments, ``versions`` describes the build."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TextIO, TypeVar

import ntkrs
from ntkrs import demo
from ntkrs._runtime.optional import require
from ntkrs.demo import report, scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
# Stages of the demo and their rough shares of its time, for the bar.
STAGES = {
    "data": 2,
    "Gram matrices": 1,
    "digits": 4,
    "diabetes": 1,
    "width scaling": 6,
    "dynamics": 1,
    "spectrum": 1,
    "finite training": 5,
    "lazy training": 4,
    "figures": 4,
}


class Progress:
    """A one-line bar over the stages, on a terminal only; elsewhere it writes nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown = stream, stream.isatty()

    def __call__(self, stage: str, share: float = 0.0) -> None:
        """Show ``stage`` as the current one, with this share of it done."""
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
    """Run every experiment; each stage is timed."""
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
    x = data.x[data.train[: settings.width_samples]]
    tell = partial(progress, "width scaling")
    width = timed("width scaling", lambda: demo.width_scaling(x, settings, seed, tell))
    flow, circle = timed("dynamics", lambda: (demo.dynamics(gram.ntk, data, settings), demo.circle(settings)))
    spectrum = timed("spectrum", lambda: demo.spectrum(gram, data))
    trained = timed("finite training", lambda: demo.finite_training(data, settings, seed))
    lazy = timed("lazy training", lambda: demo.lazy_training(data, settings, seed))
    return report.Results(
        settings, seed, data, gram, digits, diabetes, width, flow, circle, spectrum, trained, lazy, seconds
    )


def run_demo(output: Path, seed: int = 0, settings: demo.Settings | None = None) -> report.Results:
    """Run the demo, write its report to ``output``, and return the results.

    Parameters
    ----------
    output : Path
        Directory for ``report.html``, ``summary.json`` and the PNGs; made if missing.
    seed : int
        Seed of every split and every random network.
    settings : Settings, optional
        Sizes of the experiments.

    Raises
    ------
    ImportError
        If scikit-learn or matplotlib is missing; the message says how to install them.
    OSError
        If the directory cannot be made or written.
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
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 2**32 - 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ntkrs", description="Neural tangent kernels on CPUs, from NumPy.")
    parser.add_argument("--version", action="version", version=f"ntkrs {ntkrs.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser("demo", help="experiments on real data, and a report, in about 30 seconds")
    run.add_argument("--output", type=Path, default=Path("ntkrs-demo"), help="where to write (%(default)s)")
    run.add_argument("--seed", type=_seed, default=0, help="of splits and networks (%(default)s)")
    commands.add_parser("versions", help="print versions, build profile, instruction set, threads and platform")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the ``ntkrs`` command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "versions":
        ntkrs.show_versions()
        return 0
    try:
        results = run_demo(arguments.output, arguments.seed)
    except (ImportError, OSError) as error:
        print(f"ntkrs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ntkrs: interrupted", file=sys.stderr)
        return 130
    print(report.table(results))
    print(f"\nReport: {arguments.output / 'report.html'}\n\n{report.conclusion(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
