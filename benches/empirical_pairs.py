"""Time kernels of recorded layers, on one thread, in CPU seconds.

    OMP_NUM_THREADS=1 python benches/empirical_pairs.py

A network 784-512³-10 from recorded pairs is compared with ``Network.ntk``, and, where torch is installed, with the
contraction of Jacobians of ``torch.func`` (one output, float64). A layer of a transformer, T = 64, n = m = 256, N = 500
is compared with products of per-sample gradients in NumPy. Low-rank updates, n = 1024, r = 8, are compared with the
peak of this processor. The memory printed is the growth of the largest resident set during the call.
"""

import importlib.util
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import ntkrs
from ntkrs import _core


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Return the least CPU time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def megabytes(call: Callable[[], Any]) -> float:
    """Return the growth of the largest resident set during a call."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def recorded(net: ntkrs.Network, x: Any, output: int) -> list[tuple[Any, Any]]:
    """Return activations and gradients of one output of a ReLU network in standard parameters."""
    values = [x]
    for weights, bias in zip(net.weights[:-1], net.biases[:-1], strict=True):
        values.append(np.maximum(values[-1] @ weights + bias, 0))
    gradients = [np.zeros((len(x), net.weights[-1].shape[1]))]
    gradients[0][:, output] = 1
    for weights, value in zip(net.weights[:0:-1], values[:0:-1], strict=True):
        gradients.insert(0, (gradients[0] @ weights.T) * (value > 0))
    return list(zip(values, gradients, strict=True))


def plain(samples: int = 1000) -> None:
    """Time 784-512³-10, one output."""
    rng = np.random.default_rng(0)
    sizes = [(784, 512), (512, 512), (512, 512), (512, 10)]
    weights = [rng.normal(size=(n, m)) * (2 / n) ** 0.5 for n, m in sizes]
    net = ntkrs.Network.from_standard(
        ntkrs.mlp(3, 512, 10, "relu", sigma_b=1.0), weights, [np.zeros(m) for _, m in sizes]
    )
    x = rng.normal(size=(samples, 784))
    pairs = recorded(net, x, 0)
    own = seconds(lambda: net.ntk(x, outputs=0))
    found = seconds(lambda: ntkrs.empirical_ntk(pairs))
    difference = abs(ntkrs.empirical_ntk(pairs) - net.ntk(x, outputs=0)).max()
    print(f"784-512^3-10, N = {samples}, float64, one output (largest difference {difference:.1e}):")
    print(f"  Network.ntk {own:.3f} s, empirical_ntk {found:.3f} s: {found / own:.2f} of it")
    if importlib.util.find_spec("torch") is None:
        print("  torch is absent: no contraction of Jacobians")
        return
    few = 100
    theirs = seconds(lambda: contraction(weights, x[:few]), 1)
    ours = seconds(lambda: ntkrs.empirical_ntk([(a[:few], g[:few]) for a, g in pairs]), 10)
    print(f"  N = {few}: torch.func {theirs:.3f} s, empirical_ntk {ours:.4f} s: {theirs / ours:.0f} times faster")


def contraction(weights: list[Any], x: Any) -> Any:
    """Return the kernel of output 0 by the contraction of Jacobians, as in the tutorial of ``torch.func``."""
    import torch
    from torch.func import functional_call, jacrev, vmap

    torch.set_num_threads(1)
    layers: list[Any] = []
    for w in weights:
        layer = torch.nn.Linear(*w.shape, dtype=torch.float64)
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(w.T))
        layers += [layer, torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def output(values: Any, sample: Any) -> Any:
        return functional_call(net, values, (sample[None],))[0, 0]

    jacobian = vmap(jacrev(output), (None, 0))(parameters, torch.from_numpy(x))
    flat = [one.flatten(1) for one in jacobian.values()]
    return sum(torch.einsum("np,mp->nm", one, one) for one in flat)


def attention(samples: int = 500, tokens: int = 64, width: int = 256) -> None:
    """Time one layer of a transformer against per-sample gradients in NumPy."""
    rng = np.random.default_rng(0)
    a, g = (rng.normal(size=(samples, tokens, width)) for _ in range(2))
    grown = megabytes(lambda: ntkrs.empirical_ntk([(a, g)]))
    ours = seconds(lambda: ntkrs.empirical_ntk([(a, g)]), 2)

    def by_samples() -> Any:
        jacobian = np.einsum("nti,ntj->nij", g, a, optimize=True).reshape(samples, -1)
        return jacobian @ jacobian.T

    theirs = seconds(by_samples, 1)
    arrays = 2 * a.nbytes / 2**20
    print(f"T = {tokens}, n = m = {width}, N = {samples}, float64:")
    print(f"  empirical_ntk {ours:.2f} s and {grown:.0f} MB beside {arrays:.0f} MB of activations and gradients")
    print(f"  per-sample gradients and BLAS {theirs:.2f} s and {samples * width**2 / 2**17:.0f} MB")


def low_rank(samples: int = 3000, maps: int = 4) -> None:
    """Time low-rank maps: the share of multiply-adds of the peak."""
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        pairs = []
        for _ in range(maps):
            pairs.append((rng.normal(size=(samples, 1024)).astype(dtype), rng.normal(size=(samples, 8)).astype(dtype)))
            pairs.append((rng.normal(size=(samples, 8)).astype(dtype), rng.normal(size=(samples, 1024)).astype(dtype)))
        flops = 2 * len(pairs) * samples**2 / 2 * 1032
        peak = _core.peak_flops(dtype == np.float32)
        taken = seconds(lambda pairs=pairs: ntkrs.empirical_ntk(pairs, bias=False))
        print(
            f"{len(pairs)} low-rank maps, N = {samples}, {np.dtype(dtype)}: {taken:.2f} s, "
            f"{flops / taken / peak:.2f} of the peak"
        )


if __name__ == "__main__":
    ntkrs.set_num_threads(1)
    plain()
    attention()
    low_rank()
