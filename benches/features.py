"""Compare features with the exact kernel on MNIST: errors of the kernel, test accuracy, processor seconds.

    OMP_NUM_THREADS=1 NTKRS_NUM_THREADS=1 python benches/features.py --data DIR [--rows 5000] [--ridge 1e-4]

DIR has the four gzipped files of MNIST. Every line is one method: the exact solution by Cholesky, Nyström features of
ranks 500 and 1500, and random features, all with a ridge relative to the mean diagonal. ``trace`` is the share of the
trace that features leave, ``error`` is |K − FFᵀ|/|K| in the Frobenius norm on 2000 training rows. Seconds are processor
seconds for training and prediction.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time

import numpy as np
from scipy.linalg import cho_factor, cho_solve

import mnist
import ntkrs

RANKS = (500, 1500)
LENGTHS = (500, 1000, 2000, 4000)


def main() -> None:
    """Print one JSON line for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of MNIST")
    parser.add_argument("--rows", type=int, default=5000, help="training rows (default: %(default)s)")
    parser.add_argument("--ridge", type=float, default=1e-4, help="(default: %(default)s)")
    arguments = parser.parse_args()
    ridge = arguments.ridge
    digits = mnist.load(arguments.data, arguments.rows)
    kernel = ntkrs.mlp(mnist.DEPTH, 1, 1, "relu", sigma_w=mnist.SIGMA_W).kernel()
    report("exact", digits, *exact(kernel, digits, ridge))
    for rank in RANKS:
        start = process_time()
        found = ntkrs.features.nystrom(kernel, digits.x, rank)
        report(f"nystrom {rank}", digits, *fitted(found, kernel, digits, ridge, start))
    for length in LENGTHS:
        start = process_time()
        drawn = ntkrs.features.random(kernel, in_features=digits.x.shape[1], n_features=length)
        report(f"random {length}", digits, *fitted(drawn, kernel, digits, ridge, start))


def exact(kernel: ntkrs.Kernel, digits: mnist.Digits, ridge: float) -> tuple[np.ndarray, dict[str, float]]:
    """Return predictions by Cholesky in float64, and figures."""
    start = process_time()
    k = kernel(digits.x).astype(np.float64)
    k[np.diag_indices_from(k)] += ridge * k.trace() / len(k)
    alpha = cho_solve(cho_factor(k, lower=True, overwrite_a=True), digits.targets)
    return kernel.operator(digits.x_test, digits.x) @ alpha, {"seconds": process_time() - start}


def fitted(
    features: ntkrs.features.NystromFeatures | ntkrs.features.RandomFeatures,
    kernel: ntkrs.Kernel,
    digits: mnist.Digits,
    ridge: float,
    start: float,
) -> tuple[np.ndarray, dict[str, float]]:
    """Return predictions by ridge regression on features, and figures. ``start`` is when they were begun."""
    weights = ntkrs.features.ridge(features, digits.x, digits.targets, ridge)
    predictions = features.transform(digits.x_test) @ weights
    figures = {"seconds": process_time() - start}
    some = digits.x[:2000]
    k, phi = kernel(some), features.transform(some)
    figures["error"] = float(np.linalg.norm(k - phi @ phi.T) / np.linalg.norm(k))
    if hasattr(features, "residual_trace"):
        figures["trace"] = features.residual_trace
    return predictions, figures


def report(method: str, digits: mnist.Digits, predictions: np.ndarray, figures: dict[str, float]) -> None:
    """Print the figures of a method."""
    accuracy = float((predictions.argmax(axis=1) == digits.labels_test).mean())
    rounded = {name: float(f"{value:.3g}") for name, value in figures.items()}
    print(json.dumps({"method": method, "rows": len(digits.x), "accuracy": accuracy, **rounded}), flush=True)


if __name__ == "__main__":
    main()
