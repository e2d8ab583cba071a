"""Hash the results of fixed calls, to see that a change of the code changed no bit of them.

    python benches/bits.py --save before.json      # before the change
    python benches/bits.py --compare before.json   # after it, on the same machine

Every instruction set of this machine is pinned in turn, in a process of its own. Hashes can be compared on one machine
only: results that go through LAPACK depend on its build.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ntkrs
from ntkrs import diagnostics, predict

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTRUCTION_SETS = ("portable", "avx2", "avx512")
DTYPES = (np.float64, np.float32)

#: Every activation, with parameters away from the defaults where it has some.
ACTIVATIONS = [
    ntkrs.Abs(),
    ntkrs.Activation(np.arctan, lambda h: 1 / (1 + h * h)),
    ntkrs.Cos(0.7, 1.2, 0.3),
    ntkrs.Elu(0.7),
    ntkrs.Erf(),
    ntkrs.Exp(0.8, 0.5),
    ntkrs.Gaussian(0.7),
    ntkrs.Gelu(),
    ntkrs.GeluTanh(),
    ntkrs.Hermite(4),
    ntkrs.Identity(),
    ntkrs.LeakyRelu(0.1),
    ntkrs.Mish(),
    ntkrs.Monomial(3),
    ntkrs.Polynomial(0.5, -1.0, 0.25, 0.1),
    ntkrs.Rbf(0.6),
    ntkrs.RectifiedPower(2),
    ntkrs.Relu(),
    ntkrs.Selu(),
    ntkrs.Sigmoid(),
    ntkrs.Sign(),
    ntkrs.Silu(),
    ntkrs.Sin(1.3, 0.9, 0.4),
    ntkrs.Softplus(),
    ntkrs.Tanh(),
]


def inputs(rows: int, features: int, seed: int) -> np.ndarray:
    """Return rows among which some are equal, nearly equal, opposite, parallel and 0."""
    x = np.random.default_rng(seed).standard_normal((rows, features))
    x[1] = x[0]
    x[2] = x[0] * (1 + 2.0**-40)
    x[3] = -x[0]
    x[4] = 3 * x[0]
    x[5] = 0
    x[6] = x[7] + 1e-9
    return x


def arrays(result: Any) -> Iterator[np.ndarray]:
    """Yield the arrays of a result, however they are nested."""
    if result is None:
        return
    if isinstance(result, tuple | list):
        for part in result:
            yield from arrays(part)
    elif hasattr(result, "mean") and hasattr(result, "covariance"):
        yield from arrays((result.mean, result.covariance))
    elif hasattr(result, "sigma_w") and hasattr(result, "sigma_b"):
        yield from arrays((result.sigma_w, result.sigma_b))
    else:
        yield np.ascontiguousarray(result)


def digest(result: Any) -> str:
    """Return a hash of the bits, shapes and dtypes of a result."""
    state = hashlib.sha256()
    for array in arrays(result):
        if array.dtype.hasobject:
            raise TypeError(f"{array!r} holds objects, which have no bits to hash")
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()[:16]


def network(activation: Any, outputs: int = 1) -> ntkrs.Sequential:
    """Return a network with two hidden layers, one of which learns its biases at a scale of its own."""
    first = ntkrs.Dense(19, 0.3 if isinstance(activation, ntkrs.Exp) else 1.3, 0.2)  # exp of exp overflows soon
    second = ntkrs.Dense(23, 1.1, 0.3, tau_b=0.4)
    return ntkrs.Sequential(first, activation, second, activation, ntkrs.Dense(outputs, 0.9, 0.1))


def kernels(dtype: Any) -> Iterator[tuple[str, Any]]:
    """Yield results at infinite width."""
    x, z = (inputs(n, 13, seed).astype(dtype) for n, seed in ((37, 0), (21, 1)))
    for activation in ACTIVATIONS:
        kernel, name = network(activation).kernel(), repr(activation).split(" at ")[0].split("<")[0]
        yield f"kernel {name}", kernel(x, get=("nngp", "ntk"))
        yield f"kernel {name}, two batches", kernel(x, z, get=("nngp", "ntk"))
        yield f"diag {name}", (kernel.diag(x), kernel.diag(x, get="nngp"))
        yield f"gradient {name}", kernel.gradient(x, z)
        yield f"bound {name}", tuple(kernel.error_bound(x, z))
    for name in ("relu", "erf", "gelu", "tanh"):
        arch = ntkrs.mlp(5, 7, 1, name, 1.4, 0.1)
        kernel, v = arch.kernel(), np.linspace(-1, 1, 63).reshape(21, 3)
        large = inputs(301, 70, 2).astype(dtype)
        yield f"large {name}", kernel(large, get=("nngp", "ntk"))
        yield f"no biases {name}", ntkrs.mlp(20, 7, 1, name, 1.4).kernel()(large)
        yield f"standard {name}", arch.kernel("standard")(x)
        yield f"per layer {name}", kernel(x, per_layer=True)
        yield f"depths {name}", kernel.depths(x, z, get="nngp")
        yield f"scalar {name}", kernel.scalar(np.linspace(-1, 1, 33), q=1.7)
        yield f"operator {name}", (kernel.operator(x, z) @ v, kernel.operator(x, z).rmatvec(np.linspace(0, 1, 37)))
        weights = np.cos(np.arange(37 * 37)).reshape(37, 37)
        yield f"weighted gradient {name}", kernel.gradient(x, get=("nngp", "ntk"), weights=weights)


def networks(dtype: Any) -> Iterator[tuple[str, Any]]:
    """Yield results at finite width."""
    x, z = (inputs(n, 13, seed).astype(dtype) for n, seed in ((37, 0), (21, 1)))
    for activation in ACTIVATIONS:
        net, name = network(activation, 3).init(13, 5, dtype), repr(activation).split(" at ")[0].split("<")[0]
        yield f"parameters {name}", net.parameters
        yield f"forward {name}", net(x)
        for outputs in ("full", "trace", "mean", "diagonal", "sum", 1):
            yield f"ntk {outputs} {name}", net.ntk(x, outputs=outputs)
        yield f"ntk two batches {name}", net.ntk(x, z)
        yield f"ntk per layer {name}", net.ntk(x, z, outputs="trace", per_layer=True)
        yield f"jacobian {name}", net.jacobian(x)
        yield f"jvp {name}", net.jvp(x, np.sin(np.arange(net.parameters.size)))
        yield f"vjp {name}", net.vjp(x, np.cos(np.arange(37 * 3)).reshape(37, 3))
    wide = ntkrs.mlp(3, 97, 2, "relu", 1.4, 0.1).init(70, 3, dtype)
    large, y = inputs(301, 70, 2).astype(dtype), np.sin(np.arange(602)).reshape(301, 2)
    yield "ntk wide", (wide.ntk(large), wide.ntk(large, outputs="trace"))
    yield "operator wide", wide.operator(large) @ np.linspace(-1, 1, 602)
    yield "linearize", wide.linearize()(large, wide.parameters + np.float32(1e-3))
    for loss, targets in (("mse", y), ("softmax_cross_entropy", y**2 / (y**2).sum(axis=1, keepdims=True))):
        for momentum in (0.0, 0.9):
            trained, history = wide.train(large, targets, 0.1, 20, momentum=momentum, loss=loss, record_every=5)
            yield f"train {loss} {momentum}", (trained.parameters, *history)
    for draws in ("parameters", "law"):
        arch = ntkrs.mlp(2, 29, 2, "erf", 1.4, 0.1)
        yield f"ensemble {draws}", ntkrs.ensemble_ntk(arch, x, z, seeds=8, draws=draws)
    standard = ntkrs.mlp(1, 19, 2, "gelu", 1.4, 0.1)
    weights, biases = [np.cos(np.arange(13 * 19)).reshape(13, 19), np.ones((19, 2))], [np.ones(19), np.zeros(2)]
    yield "standard", ntkrs.Network.from_standard(standard, weights, biases).ntk(x)


def predictions(dtype: Any) -> Iterator[tuple[str, Any]]:
    """Yield predictions and diagnostics."""
    rng = np.random.default_rng(4)
    x, z = rng.standard_normal((41, 13)).astype(dtype), rng.standard_normal((17, 13)).astype(dtype)
    y = np.sin(x[:, :2]).astype(dtype)
    kernel = ntkrs.mlp(3, 7, 1, "relu", 1.4, 0.1).kernel()
    k, kz, times = kernel(x), kernel(z, x), np.array([0.0, 1.0, 30.0])
    for optimizer in ("flow", "gd"):
        dynamics = predict.gradient_descent_mse(k, y, 0.5, optimizer=optimizer, diag_reg=1e-4)
        yield f"mse {optimizer}", dynamics(times, 0.0, None, kz)
        yield f"mse {optimizer} infinity", dynamics(None, 0.0, None, kz)
    yield "ensemble", predict.gradient_descent_mse_ensemble(kernel, x, y)(times, z)
    gp = predict.gp_inference(kernel, x, y, diag_reg=1e-3)
    for get in ("nngp", "ntk", "ntkgp"):
        yield f"gp {get}", gp(z, get=get)
    classes = y**2 / (y**2).sum(axis=1, keepdims=True)
    yield "ode", predict.gradient_descent("softmax_cross_entropy", k, classes, 0.5)(times, 0.0, 0.0, kz)
    yield "learning rate", predict.max_learning_rate(k, y.size)
    yield "alignment", (diagnostics.centred_alignment(k, y), diagnostics.kernel_target_alignment(k, y))
    yield "label energy", diagnostics.label_energy(k, y)
    net = ntkrs.mlp(2, 31, 1, "tanh", 1.4, 0.1).init(13, 5, dtype)
    yield "kappa", diagnostics.kappa(net, x, y[:, :1])


def results() -> dict[str, str]:
    """Return the hash of every result, in the instruction set that this process is pinned to."""
    warnings.simplefilter("ignore")
    hashes = {}
    for dtype in DTYPES:
        for part in (kernels, networks, predictions):
            for name, result in part(dtype):
                hashes[f"{np.dtype(dtype).name} {name}"] = digest(result)
    return hashes


def pinned(name: str) -> dict[str, str] | None:
    """Return :func:`results` of a process pinned to an instruction set; None if this machine lacks it."""
    environment = {**os.environ, "NTKRS_ISA": name, "OPENBLAS_NUM_THREADS": "1"}
    probe = [sys.executable, "-c", "from ntkrs import _core; _core.isa()"]
    if subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:  # noqa: S603
        return None
    command = [sys.executable, __file__, "--results"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"the calls failed with {name}:\n{done.stderr}")
    return dict(json.loads(done.stdout))


def compare(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> int:
    """Print every result that is not the same; return how many there are."""
    lines = [f"{name}: measured in one run only" for name in sorted({*before} ^ {*after})]
    for name in sorted({*before} & {*after}):
        cases = {**before[name], **after[name]}
        lines += [f"{name}: {case}" for case in cases if before[name].get(case) != after[name].get(case)]
    for line in lines:
        print(line)
    total = sum(map(len, after.values()))
    print(f"{total} results on {', '.join(after)}: {len(lines) or 'none'} changed")
    return len(lines)


def main() -> int:
    """Save the hashes, compare them with saved ones, or print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the hashes to a file")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with the hashes of a file")
    parser.add_argument("--results", action="store_true", help="print the hashes of the current instruction set")
    options = parser.parse_args()
    if options.results:
        print(json.dumps(results()))
        return 0
    hashes = {name: found for name in INSTRUCTION_SETS if (found := pinned(name)) is not None}
    if options.save:
        options.save.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
    before = json.loads(options.compare.read_text(encoding="utf-8")) if options.compare else hashes
    return min(compare(before, hashes), 1)


if __name__ == "__main__":
    sys.exit(main())
