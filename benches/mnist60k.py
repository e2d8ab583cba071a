"""NTK regression on MNIST, 60 000 × 60 000, on a machine that does not hold the matrix in float64.

    python benches/mnist60k.py --data DIR --method pcg | cholesky | operator [--rows N] [--path K.npy] [--tolerance T]
        [--predicted DIGITS.npy]

DIR has the four gzipped files of MNIST. The kernel has 3 hidden layers of ReLU, σ_w = √2, σ_b = 0, on pixels in [0, 1]
in float32; the labels are one-hot, minus 0.1; the ridges 0 and 1e-4 of the mean diagonal are solved as one path.

Methods:

- pcg: preconditioned conjugate gradients on the packed matrix, in memory, or with --path in a file.
- cholesky: a factorization of the matrix, which is refined in float64.
- operator: conjugate gradients without a matrix; every iteration computes it again.

Every stage prints one JSON line, which --json appends to a file: its seconds of wall time and of all processors, the
largest memory of the process up to its end in GB, and what it reached: residual and estimated error of the worst
column, iterations, and the accuracy on the 10 000 test digits, each for both ridges. --predicted keeps the predicted
digits in a file; where that file is there, the last line has the number of digits on which this run agrees with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mnist
import ntkrs
from ntkrs.demo import peak_megabytes

if TYPE_CHECKING:
    from collections.abc import Callable

RIDGES = (0.0, 1e-4)


def main() -> None:
    """Run all stages."""
    arguments = parsed()
    stage = Stages(arguments.json)
    digits = stage("data", lambda: mnist.load(arguments.data, arguments.rows), rows=arguments.rows)
    kernel = ntkrs.mlp(mnist.DEPTH, 1, 1, "relu", sigma_w=mnist.SIGMA_W).kernel()
    matrix = stage("kernel", lambda: matrix_of(kernel, digits.x, arguments), method=arguments.method)
    found = stage("solve", lambda: solved(matrix, digits, arguments), described, tolerance=arguments.tolerance)
    stage(
        "predict",
        lambda: predictions(kernel, digits, found.alpha),
        lambda predicted: judged(predicted, digits.labels_test, arguments.predicted),
    )


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of MNIST")
    parser.add_argument("--method", choices=("pcg", "cholesky", "operator"), required=True)
    parser.add_argument("--rows", type=int, default=60_000, help="training digits (default: %(default)s)")
    parser.add_argument("--path", type=Path, help="a file for the kernel, which is continued or opened if it is there")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative residual (default: %(default)s)")
    parser.add_argument("--predicted", type=Path, help="a .npy file of predicted digits, kept or compared with")
    parser.add_argument("--json", type=Path, help="a file to append the lines to")
    return parser.parse_args()


def matrix_of(kernel: ntkrs.Kernel, x: np.ndarray, arguments: argparse.Namespace) -> Any:
    """Return the kernel in the form that the method takes."""
    if arguments.method == "operator":
        return kernel.operator(x, progress=False)
    return ntkrs.gram(kernel, x, arguments.path, progress=False)


def solved(matrix: Any, digits: mnist.Digits, arguments: argparse.Namespace) -> Any:
    """Solve for both ridges, with a line on the terminal."""

    def progress(done: int, most: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of at most {most} iterations ", end="", file=sys.stderr, flush=True)

    method = "cholesky" if arguments.method == "cholesky" else "pcg"
    return ntkrs.solve(
        matrix, digits.targets, np.array(RIDGES), method=method, tolerance=arguments.tolerance, progress=progress
    )


def described(solution: Any) -> dict[str, Any]:
    """Return how well it was solved, for each ridge."""
    return {
        "residual": rounded(solution.residual),
        "error": rounded(solution.error),
        "iterations": solution.iterations,
        "products": solution.products,
        "rank": solution.rank,
    }


def predictions(kernel: ntkrs.Kernel, digits: mnist.Digits, alpha: np.ndarray) -> np.ndarray:
    """Return the digit of each test image, a column for each ridge: one product serves both."""
    columns = np.concatenate(list(alpha), axis=1)
    outputs = kernel.operator(digits.x_test, digits.x, progress=False) @ columns
    return outputs.reshape(len(outputs), len(alpha), -1).argmax(axis=2).astype(np.int8)


def judged(predicted: np.ndarray, labels: np.ndarray, file: Path | None) -> dict[str, Any]:
    """Return the share of digits that are recognized, and how many agree with the file's, for each ridge."""
    figures: dict[str, Any] = {"accuracy": (predicted == labels[:, None]).mean(axis=0).tolist()}
    if file is None:
        return figures
    if not file.exists():
        np.save(file, predicted)
        return figures
    return figures | {"agree": (predicted == np.load(file)).sum(axis=0).tolist(), "of": len(predicted)}


def rounded(values: np.ndarray) -> list[float]:
    """Return numbers with three digits."""
    return [float(f"{value:.3g}") for value in values]


class Stages:
    """Runs stages, and prints a line for each, to a file too if there is one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def __call__(
        self, name: str, work: Callable[[], Any], describe: Callable[[Any], dict[str, Any]] = lambda _: {}, **also: Any
    ) -> Any:
        """Run a stage, and return its result."""
        start, processors = time.perf_counter(), time.process_time()
        result = work()
        figures = {
            "stage": name,
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(time.process_time() - processors, 2),
            "peak_gb": round(peak_megabytes() / 1e3, 2),
        }
        line = json.dumps(figures | also | describe(result))
        print(line, flush=True)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return result


if __name__ == "__main__":
    main()
