"""Time kernels of recorded layers, on one thread, in CPU seconds.

    OMP_NUM_THREADS=1 python benches/empirical_pairs.py

A network 784-512³-10 from recorded pairs is compared with ``Network.ntk``, and, where torch is installed, with the
contraction of Jacobians of ``torch.func`` (one output, float64). So is a block of a transformer, T = 64, n = 256,
N = 500, in float32, with its recording. A single layer of that size, n = m = 256, is compared with products of
per-sample gradients in NumPy, and an embedding with products of all pairs of its tokens. Low-rank updates, n = 1024,
r = 8, are compared with the peak of this processor. The memory printed is the growth of the largest resident set during
the call.
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
    """Return the kernel of output 0 of a ReLU network by the contraction of Jacobians."""
    import torch

    layers: list[Any] = []
    for w in weights:
        layer = torch.nn.Linear(*w.shape, dtype=torch.float64)
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(w.T))
        layers += [layer, torch.nn.ReLU()]
    return contracted(torch.nn.Sequential(*layers[:-1]), torch.from_numpy(x))


def contracted(net: Any, x: Any) -> Any:
    """Return the kernel of output 0 of a module by the contraction of Jacobians, as in the ``torch.func`` tutorial."""
    import torch
    from torch.func import functional_call, jacrev, vmap

    torch.set_num_threads(1)
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def output(values: Any, sample: Any) -> Any:
        return functional_call(net, values, (sample[None],))[0, 0]

    jacobian = vmap(jacrev(output), (None, 0))(parameters, x)
    flat = [one.flatten(1) for one in jacobian.values()]
    return sum(torch.einsum("np,mp->nm", one, one) for one in flat)


def transformer(samples: int = 500, tokens: int = 64, width: int = 256) -> None:
    """Time a block of a transformer, with its recording, against the contraction of Jacobians."""
    if importlib.util.find_spec("torch") is None:
        print("torch is absent: no block of a transformer")
        return
    import torch
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]  # torch is read as Any
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.last = nn.Linear(width, 1)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
            weights = torch.softmax(q @ k.transpose(-1, -2) / (width / 4) ** 0.5, -1)
            x = x + self.mix((weights @ v).transpose(1, 2).flatten(2))
            x = x + self.narrow(torch.nn.functional.gelu(self.wide(self.norms[1](x))))
            return self.last(x.mean(1))

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, x = Block(), torch.randn(samples, tokens, width)
    records: list[Any] = []
    recording = seconds(lambda: records.extend(ntkrs.convert.record(net, x, outputs=0)), 1)
    grown = megabytes(lambda: ntkrs.empirical_ntk(records))
    ours = seconds(lambda: ntkrs.empirical_ntk(records), 2)
    found: list[Any] = []
    theirs = seconds(lambda: found.append(contracted(net, x)), 1)
    difference = abs(ntkrs.empirical_ntk(records) - found[0].numpy()).max() / abs(found[0]).max().item()
    print(f"block of a transformer, T = {tokens}, n = {width}, N = {samples}, float32 (difference {difference:.1e}):")
    print(f"  record {recording:.2f} s, empirical_ntk {ours:.2f} s and {grown:.0f} MB beside the records")
    print(f"  torch.func {theirs:.2f} s: {theirs / (recording + ours):.1f} times as long as both")


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


def embedding(samples: int = 500, tokens: int = 64, width: int = 256, words: int = 5000) -> None:
    """Time an embedding against the linear layer of its one-hot words, whose tokens all meet."""
    rng = np.random.default_rng(0)
    indices, g = rng.integers(0, words, (samples, tokens)), rng.normal(size=(samples, tokens, width))
    ours = seconds(lambda: ntkrs.empirical_ntk([ntkrs.empirical.Lookup(indices, g)]))
    few = rng.normal(size=(samples, tokens, 1))
    theirs = seconds(lambda: ntkrs.empirical_ntk([(few, g)], form="tokens"), 1)
    print(f"embedding of {words} words, T = {tokens}, m = {width}, N = {samples}, float64:")
    print(f"  empirical_ntk {ours:.3f} s; products of all pairs of tokens {theirs:.2f} s")


if __name__ == "__main__":
    ntkrs.set_num_threads(1)
    plain()
    transformer()
    attention()
    embedding()
    low_rank()
