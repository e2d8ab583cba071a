"""Measure the errors of infinite-width kernels against 50-digit arithmetic, for the table of docs/accuracy.md.

Rows are random, equal, parallel, nearly equal (relative distances 1e-15 to 1e-2), opposite, nearly opposite,
orthogonal, zero, large and small. Uncentred rows are random and nearly equal, at least a thousand times as far from the
origin as from each other. An error is |K − K_exact| / √(K_ii K_jj), in units of ε: 2⁻⁵² for float64, 2⁻²³ for
float32.

    python benches/accuracy.py [--write docs/accuracy.md]

Needs the test extra. Takes several minutes, because arithmetic with 50 digits is slow.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import ntkrs
from oracles import infinite

#: Activations in closed form that grow no faster than their argument, by their names for mlp() and for the oracles.
ACTIVATIONS: dict[str, Any] = {
    "identity": "identity",
    "relu": "relu",
    "leaky_relu": ("leaky_relu", 0.01),
    "abs": "abs",
    "erf": "erf",
    "gelu": "gelu",
    "sin": "sin",
    "cos": "cos",
    "rbf": "rbf",
    "gaussian": "gaussian",
}
DEPTHS = (1, 3, 10, 30)
SIGMA_W, FEATURES = 1.3, 5

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True)
class Row:
    """Largest errors of one architecture, in ε."""

    activation: str
    depth: int
    sigma_b: float
    nngp: float
    ntk: float
    nngp_uncentred: float
    ntk_uncentred: float
    nngp_single: float
    ntk_single: float
    plain_ntk: float

    def markdown(self) -> str:
        """One line of the table."""
        errors = (self.nngp, self.ntk, self.nngp_uncentred, self.ntk_uncentred, self.nngp_single, self.ntk_single)
        cells = [self.activation, str(self.depth), f"{self.sigma_b:g}", *(f"{error:.1f}" for error in errors)]
        return f"| {' | '.join(cells)} | {self.plain_ntk:.1e} |"


def hard_rows() -> Any:
    """Rows in every relative position that costs digits somewhere."""
    x = np.random.default_rng(0).standard_normal((16, FEATURES))
    x[1] = x[0]
    x[2] = 3 * x[0]
    for row, distance in zip(range(3, 8), (1e-15, 1e-12, 1e-9, 1e-5, 1e-2), strict=True):
        x[row] = x[0] * (1 + distance * x[row])
    x[8] = 0.0
    x[9] *= 1e3
    x[10] *= 1e-3
    x[11] -= x[0] * (x[11] @ x[0]) / (x[0] @ x[0])
    x[12] = -2 * x[0]
    x[13] = -x[0] * (1 + 1e-9 * x[13])
    return x


def uncentred_rows() -> Any:
    """Rows whose distances are small compared with their norms, some of them nearly equal."""
    x = np.random.default_rng(1).standard_normal((12, FEATURES)) + 1000
    x[1] = x[0]
    for row, distance in zip(range(2, 5), (1e-15, 1e-9, 1e-5), strict=True):
        x[row] = x[0] * (1 + distance * (x[row] - 1000))
    x[5] = 1.7 * x[0] * (1 + 1e-7 * (x[5] - 1000))
    x[6] = -x[6]
    return x


def error(kernel: Any, exact: Any, epsilon: float) -> float:
    """The largest error in units of √(K_ii K_jj) and ε."""
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    units = np.where(scale > 0, scale, np.finfo(float).tiny)
    return float((np.abs(kernel.astype(float) - exact) / units).max() / epsilon)


def measure(activation: str, depth: int, sigma_b: float) -> Row:
    """All errors of one architecture."""
    kernel = ntkrs.mlp(depth, 1, 1, activation, SIGMA_W, sigma_b).kernel()
    layers = [ACTIVATIONS[activation]] * depth
    errors = []
    for rows, dtype in ((hard_rows(), np.float64), (uncentred_rows(), np.float64), (hard_rows(), np.float32)):
        x = rows.astype(dtype)
        exact = infinite.kernels(x.astype(float), None, SIGMA_W, sigma_b, layers, rounded=True)
        epsilon = float(np.finfo(dtype).eps)
        errors += [error(*pair, epsilon) for pair in zip(kernel(x, get=("nngp", "ntk")), exact, strict=True)]
        if not errors[2:]:
            with np.errstate(all="ignore"):  # the plain recursion gives 0/0 for the zero row
                plain = infinite.kernels_numpy(x, None, SIGMA_W, sigma_b, layers)[1]
            plain_error = error(np.where(np.isfinite(plain), plain, exact[1]), exact[1], epsilon)
    return Row(activation, depth, sigma_b, *errors, plain_error)


def table() -> str:
    """The table, as Markdown."""
    names = ("activation", "hidden layers", "σ_b", "NNGP", "NTK", "uncentred NNGP", "uncentred NTK", "NNGP float32")
    names = (*names, "NTK float32", "NTK by plain NumPy, float64")
    lines = [f"| {' | '.join(names)} |", f"|---|{(len(names) - 1) * '--:|'}"]
    for activation in ACTIVATIONS:
        for depth in DEPTHS:
            for sigma_b in (0.0, 0.3):
                lines.append(measure(activation, depth, sigma_b).markdown())
                print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> int:
    """Print the table, and write it between the marks of the file if one is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table of this file")
    path = parser.parse_args().write
    measured = table()
    if path is not None:
        before, _, rest = path.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n{measured}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
