"""The command ``ntkrs``: ``demo``, ``bench``, ``versions``, and two jobs for the night, ``kernel`` and ``solve``."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import numpy as np

import ntkrs
from ntkrs import bench, demo
from ntkrs._checks import memory, paths
from ntkrs._runtime import console
from ntkrs._runtime.files import replaced
from ntkrs._runtime.optional import require
from ntkrs._runtime.versions import versions
from ntkrs.demo import report, scores
from ntkrs.solvers.choose import FACTORIZED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ntkrs.solvers.solution import Solution

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
    "one dimension": 1,
    "spectrum": 1,
    "finite training": 5,
    "lazy training": 4,
    "figures": 4,
}


class Bar:
    """A bar on one line, with a text of at most ``TEXT`` characters beside it. It is shown on terminals only."""

    TEXT = 45

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None

    def draw(self, share: float, text: str) -> None:
        """Show this share, and the text."""
        if self._stream is not None:
            done = round(30 * share)
            self._stream.write(f"\r[{'#' * done}{'-' * (30 - done)}] {text}")
            self._stream.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._stream is not None:
            self._stream.write("\r" + " " * (33 + self.TEXT) + "\r")
            self._stream.flush()


class Progress(Bar):
    """The bar over the stages of the demo."""

    TEXT = 15

    def __call__(self, stage: str, share: float = 0.0) -> None:
        """Show that ``stage`` is running, and that this share of it is done."""
        before = sum(STAGES[name] for name in list(STAGES)[: list(STAGES).index(stage)])
        self.draw((before + share * STAGES[stage]) / sum(STAGES.values()), f"{stage:<14}")


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
    digits = timed("digits", lambda: scores.classification(data, settings, seed))
    diabetes = timed("diabetes", lambda: scores.regression(settings, seed))
    images = timed("few labels", lambda: demo.few_labels(data, settings, seed))
    x = data.x[data.train[: settings.width_samples]]
    tell = partial(progress, "width scaling")
    width = timed("width scaling", lambda: demo.width_scaling(x, settings, seed, tell))
    flow, circle = timed("dynamics", lambda: (demo.dynamics(gram.ntk, data, settings), demo.circle(settings)))
    line = timed("one dimension", lambda: demo.line(settings, seed))
    spectrum = timed("spectrum", lambda: demo.spectrum(gram, data))
    trained = timed("finite training", lambda: demo.finite_training(data, settings, seed))
    lazy = timed("lazy training", lambda: demo.lazy_training(data, settings, seed))
    return report.Results(
        settings,
        seed,
        data,
        gram,
        digits,
        diabetes,
        images,
        width,
        flow,
        circle,
        line,
        spectrum,
        trained,
        lazy,
        seconds,
    )


def run_demo(output: Path, seed: int = 0, settings: demo.Settings | None = None) -> report.Results:
    """Run the demo, write its report to ``output``, and return the results.

    Parameters
    ----------
    output : Path
        The directory for ``report.html``, ``summary.json`` and the figures. It is created if missing.
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
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to 2**32 - 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="ntkrs", description="Neural tangent kernels on CPUs, from NumPy.")
    parser.add_argument("--version", action="version", version=f"ntkrs {ntkrs.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser("demo", help="experiments on real data, and a report, in under a minute")
    run.add_argument("--output", type=Path, default=Path("ntkrs-demo"), help="output directory (default: %(default)s)")
    run.add_argument("--seed", type=_seed, default=0, help="seed of splits and networks (default: %(default)s)")
    describe = commands.add_parser("versions", help="print versions, build profile, instruction set and threads")
    describe.add_argument("--json", action="store_true", help="as a JSON object")
    bench.add_arguments(commands.add_parser("bench", help="benchmarks against rivals and the machine's limit"))
    _add_kernel(commands.add_parser("kernel", help="compute a kernel matrix into a file; the same command continues"))
    _add_solve(commands.add_parser("solve", help="solve (K + r I) alpha = y; the same command continues"))
    return parser


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ntkrs kernel``."""
    parser.add_argument("inputs", type=Path, metavar="X.npy", help="the inputs, (N, n_0)")
    parser.add_argument("--out", type=Path, required=True, metavar="K.npy", help="the file for the kernel")
    parser.add_argument("--depth", type=int, default=3, help="hidden layers (default: %(default)s)")
    parser.add_argument("--activation", default="relu", help="their activation (default: %(default)s)")
    parser.add_argument("--sigma-w", type=float, default=2**0.5, help="scale of weights (default: %(default).4f)")
    parser.add_argument("--sigma-b", type=float, default=0.0, help="scale of biases (default: %(default)s)")
    parser.add_argument("--get", default="ntk", help="ntk or nngp (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="write the (N, N) matrix, not half of it")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of another matrix")


def _add_solve(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ntkrs solve``."""
    parser.add_argument("kernel", type=Path, metavar="K.npy", help="the kernel, from ntkrs kernel, or any (N, N)")
    parser.add_argument("labels", type=Path, metavar="y.npy", help="the labels, (N,) or (N, O)")
    parser.add_argument("--out", type=Path, required=True, metavar="alpha.npy", help="the file for alpha")
    parser.add_argument(
        "--diag-reg", type=float, default=0.0, help="ridge over the mean diagonal (default: %(default)s)"
    )
    parser.add_argument("--method", default="auto", help="auto, cholesky or pcg (default: %(default)s)")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="relative residual (default: %(default)s)")
    parser.add_argument("--rank", type=int, help="rank of the preconditioner")
    parser.add_argument("--max-iterations", type=int, help="the most iterations")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="file to continue from; without one, pcg on more than 12000 rows keeps OUT.checkpoint while it runs",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``ntkrs`` with these arguments, by default those of the process, and return its exit status.

    Examples
    --------
    >>> from ntkrs.cli import main
    >>> main(["versions"])  # doctest: +ELLIPSIS
             ntkrs: ...
    0
    """
    arguments = console.parsed(_parser(), argv)
    if arguments.command in JOBS:
        refusals, interrupted = (ImportError, OSError, ValueError, TypeError, MemoryError), "the same command continues"
        return console.run(partial(_run, arguments), refusals, f"interrupted; {interrupted}")
    return console.run(partial(_run, arguments), (ImportError, OSError))


def _run(arguments: argparse.Namespace) -> None:
    """Run a command."""
    console.check_environment()
    COMMANDS[arguments.command](arguments)


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


class JobBar(Bar):
    """The bar of a single call: the share that is done, and the time so far."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__(stream)
        self._clock = clock
        self._start = self._last = clock()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done, ten times a second at most."""
        now = self._clock()
        if now - self._last >= 0.1:
            self._last = now
            minutes, seconds = divmod(int(now - self._start), 60)
            self.draw(done / max(total, 1), f"{done}/{total} {minutes}:{seconds:02} ")


@contextmanager
def _job() -> Iterator[JobBar]:
    """Yield a progress bar. At the end remove it, and print warnings as lines of this program."""
    bar = JobBar(sys.stderr)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield bar
        finally:
            bar.clear()
            for warning in caught:
                console.tell(f"warning: {warning.message}")


def _matrix(path: Path) -> Any:
    """Return the array of a .npy file. One that fills half of the memory is read when it is used.

    Raises
    ------
    ValueError
        If the file does not hold one array of numbers.
    OSError
        If it is no file.
    """
    try:
        found = np.lib.format.open_memmap(paths.file_path(path, "the input"), mode="r")
        # A process ends at once where it uses a map of a file that another one has truncated.
        return found if memory.lacking(2 * found.nbytes) else np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole .npy file of numbers: {error}. Write one with numpy.save.") from error


def _output(arguments: argparse.Namespace, *inputs: Path) -> Path:
    """Return the path of the result.

    Raises
    ------
    ValueError
        If it is one of the inputs.
    OSError
        If it is a folder, or in one that does not exist.
    """
    out = paths.new_file(arguments.out, "--out")
    if any(out.exists() and path.exists() and out.samefile(path) for path in inputs):
        raise ValueError(
            f"--out is {str(out)!r}, an input of this command, which it would replace: choose another name"
        )
    return out


def _kernel(arguments: argparse.Namespace) -> None:
    """Compute a kernel matrix into a file."""
    out = _output(arguments, arguments.inputs)
    arch = ntkrs.mlp(arguments.depth, 1, 1, arguments.activation, arguments.sigma_w, arguments.sigma_b)
    options = {"get": arguments.get, "packed": not arguments.full, "overwrite": arguments.overwrite}
    with _job() as bar:
        gram = ntkrs.gram(arch.kernel(), _matrix(arguments.inputs), out, progress=bar, **options)
    print(f"{out}: {gram.shape[0]} x {gram.shape[1]}, {gram.dtype}, {gram.nbytes / 1e9:.3g} GB")


def _solve(arguments: argparse.Namespace) -> None:
    """Solve a linear system with a kernel of a file, and write the solution to another one."""
    out = _output(arguments, arguments.kernel, arguments.labels)
    if out.exists() and not arguments.overwrite:
        raise FileExistsError(f"{out} exists. Pass --overwrite to replace it.")
    ours = any(Path(f"{arguments.kernel}.{part}").exists() for part in ("json", "journal"))
    kernel, labels = ntkrs.open_gram(arguments.kernel) if ours else _matrix(arguments.kernel), _matrix(arguments.labels)
    checkpoint = arguments.checkpoint
    if checkpoint is None and (arguments.method == "pcg" or kernel.shape[:1] > (FACTORIZED,)):
        checkpoint = Path(f"{out}.checkpoint")
    with _job() as bar:
        solution = ntkrs.solve(
            kernel,
            labels,
            arguments.diag_reg,
            method=arguments.method,
            tolerance=arguments.tolerance,
            rank=arguments.rank,
            max_iterations=arguments.max_iterations,
            checkpoint=None if arguments.method == "cholesky" else checkpoint,
            progress=bar,
        )
    alpha = np.ascontiguousarray(solution.alpha)
    with replaced(out) as file:
        # The bytes are those of numpy.save, whose error for a full disk has no reason.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(alpha))
        file.write(alpha.data)
    if checkpoint != arguments.checkpoint and solution.converged:
        for name in (checkpoint, Path(f"{checkpoint}.preconditioner")):
            name.unlink(missing_ok=True)
    print(_summary(solution, out))


def _summary(solution: Solution, out: Path) -> str:
    """Return what was solved, and how well."""
    state = "converged" if solution.converged else "not converged"
    return (
        f"{out}: alpha {solution.alpha.shape}, {state}\n{solution.method}, {solution.iterations} iterations, residual "
        f"{solution.residual:.3g}, estimated error {solution.error:.3g}"
    )


#: The functions that run the commands.
COMMANDS = {"demo": _demo, "bench": bench.run_command, "versions": _versions, "kernel": _kernel, "solve": _solve}

#: Commands on users' files, whose errors are refusals, and which continue after an interruption.
JOBS = {"kernel", "solve"}


if __name__ == "__main__":
    sys.exit(main())
