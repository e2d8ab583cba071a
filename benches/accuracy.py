"""Measure errors of infinite-width kernels and of special functions, for the tables of docs/accuracy.md.

Rows are random, equal, parallel, nearly equal (relative distances 1e-15 to 1e-2), opposite, nearly opposite,
orthogonal, zero, large and small. Uncentred rows are random and nearly equal, at least a thousand times as far from the
origin as from each other. An error is |K − K_exact| / √(K_ii K_jj), in units of ε: 2⁻⁵² for float64, 2⁻²³ for
float32. Kernels are compared with arithmetic of 50 digits, and so are the values that `cargo run --example special`
prints of the special functions, in units of the last place (ulp).

    python benches/accuracy.py [--write docs/accuracy.md]

Needs the test extra and cargo. Takes several minutes, because arithmetic with 50 digits is slow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import ntkrs
from oracles import infinite, jumps

if TYPE_CHECKING:
    from collections.abc import Callable

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
#: Activations that jump, whose tangent kernel is their NNGP.
JUMPS: dict[str, Any] = {"sign": "sign", "rectified_power 0": ("rectified_power", 0)}
DEPTHS = (1, 3, 10, 30)
SIGMA_W, FEATURES = 1.3, 5

mp: Any = mpmath.mp
#: The special functions of `benches/special.rs`, of their arguments.
SPECIAL: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda x, _: mp.exp(x),
    "exp_minus_square": lambda x, _: mp.exp(-x * x),
    "exp_minus_half_square": lambda x, _: mp.exp(-x * x / 2),
    "expm1": lambda x, _: mp.expm1(x),
    "log1p_unit": lambda x, _: mp.log1p(x),
    "tanh": lambda x, _: mp.tanh(x),
    "erf": lambda x, _: mp.erf(x),
    "erfcx": lambda x, _: mp.exp(x * x) * mp.erfc(x),
    "normal": lambda x, _: mp.ncdf(x),
    "sin": lambda x, _: mp.sin(x),
    "cos": lambda x, _: mp.cos(x),
    "angle": lambda x, _: 2 * mp.asin(mp.sqrt(x / 2)),
    "lift": lambda x, _: mp.sqrt(x * (2 - x)) - (1 - x) * 2 * mp.asin(mp.sqrt(x / 2)),
    "angle_of": mp.atan2,
    "angle_between": mp.atan2,
}
#: A function whose error is that of a right angle, not of its value.
ABSOLUTE = "angle_between"


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
    trained: bool = True

    def markdown(self) -> str:
        """One line of the table."""
        errors = (self.nngp, self.ntk, self.nngp_uncentred, self.ntk_uncentred, self.nngp_single, self.ntk_single)
        name = self.activation if self.trained else f"{self.activation}, read-out not trained"
        cells = [name, str(self.depth), f"{self.sigma_b:g}", *(f"{error:.1f}" for error in errors)]
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


def exact_kernels(x: Any, layers: list[Any], sigma_b: float, tau: tuple[list[float], list[float]]) -> tuple[Any, Any]:
    """(nngp, ntk), rounded once."""
    if layers[0] not in JUMPS.values():
        return infinite.kernels(x, None, SIGMA_W, sigma_b, layers, rounded=True, tau_w=tau[0], tau_b=tau[1])
    # Without biases, kernels of a zero row are 0.
    some = x.any(axis=1) | (sigma_b > 0)
    nngp = np.zeros((len(x), len(x)))
    nngp[np.ix_(some, some)] = jumps.nngp(x[some], SIGMA_W, sigma_b, layers)
    return nngp, nngp


def measure(activation: str, depth: int, sigma_b: float, trained: bool = True) -> Row:
    """All errors of one architecture, with or without a trained read-out."""
    layer = ntkrs.RectifiedPower(0) if activation == "rectified_power 0" else activation
    hidden = ntkrs.mlp(depth, 1, 1, layer, SIGMA_W, sigma_b).layers[:-1]
    kernel = ntkrs.Sequential(*hidden, ntkrs.Dense(1, SIGMA_W, sigma_b, trainable=trained)).kernel()
    tau = [SIGMA_W] * depth + [SIGMA_W * trained], [sigma_b] * depth + [sigma_b * trained]
    layers, errors = [(ACTIVATIONS | JUMPS)[activation]] * depth, []
    for rows, dtype in ((hard_rows(), np.float64), (uncentred_rows(), np.float64), (hard_rows(), np.float32)):
        x = rows.astype(dtype)
        exact = exact_kernels(x.astype(float), layers, sigma_b, tau)
        epsilon = float(np.finfo(dtype).eps)
        errors += [error(*pair, epsilon) for pair in zip(kernel(x, get=("nngp", "ntk")), exact, strict=True)]
        if not errors[2:]:
            with np.errstate(all="ignore"):  # the plain recursion gives 0/0 for the zero row
                plain = infinite.kernels_numpy(x, None, SIGMA_W, sigma_b, layers, *tau)[1]
            plain_error = error(np.where(np.isfinite(plain), plain, exact[1]), exact[1], epsilon)
    return Row(activation, depth, sigma_b, *errors, plain_error, trained=trained)


def kernel_table() -> str:
    """The table of kernels, as Markdown."""
    names = ("activation", "hidden layers", "σ_b", "NNGP", "NTK", "uncentred NNGP", "uncentred NTK", "NNGP float32")
    names += ("NTK float32", "NTK by plain NumPy, float64")
    lines = [f"| {' | '.join(names)} |", f"|---|{(len(names) - 1) * '--:|'}"]
    networks = [(activation, True) for activation in (*ACTIVATIONS, *JUMPS)] + [("cos", False), ("sin", False)]
    for activation, trained in networks:
        for depth in DEPTHS:
            for sigma_b in (0.0, 0.3):
                lines.append(measure(activation, depth, sigma_b, trained).markdown())
                print(lines[-1], flush=True)
    return "\n".join(lines)


def special_values() -> str:
    """The lines that `benches/special.rs` prints."""
    command = ["cargo", "run", "--locked", "--quiet", "-p", "ntkrs-core", "--example", "special"]
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout  # noqa: S603


def special_table(values: str) -> str:
    """The table of special functions, as Markdown, from these lines."""
    errors: dict[tuple[str, str, str], dict[bool, list[float]]] = defaultdict(lambda: defaultdict(list))
    exact: dict[tuple[str, ...], Any] = {}
    for line in values.splitlines():
        isa, name, start, end, *numbers, value = line.split()
        arguments = (name, *numbers)
        with mp.workdps(120):  # sin ψ − ψ cos ψ of the smallest ψ cancels all but its last 50 digits
            if arguments not in exact:
                exact[arguments] = +SPECIAL[name](*(mp.mpf(float(number)) for number in numbers))
            truth = exact[arguments]
            unit = 2.0**-52 if name == ABSOLUTE else np.spacing(abs(float(truth)))
            errors[name, start, end][isa == "portable"].append(float(abs(mp.mpf(float(value)) - truth) / unit))
    lines = [
        "| function | from | to | AVX2, AVX-512: max | mean | portable: max | mean |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for (name, start, end), by_set in errors.items():
        cells = [f"{fold(by_set[portable]):.2f}" for portable in (False, True) for fold in (max, np.mean)]
        lines.append(f"| `{name}` | {float(start):g} | {float(end):g} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def write(path: Path, mark: str, table: str) -> None:
    """Replace what stands between the marks of a table."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}")


def main() -> int:
    """Print the tables, and write them between the marks of the file if one is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the tables of this file")
    path = parser.parse_args().write
    tables = {"functions": special_table(special_values()), "table": kernel_table()}
    if path is not None:
        for mark, table in tables.items():
            write(path, mark, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
