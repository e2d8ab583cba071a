"""Fine-tune a small transformer by low-rank updates, beside what its kernel at the start predicts.

    python docs/figures/low_rank.py

draws ``docs/_static/low_rank.svg`` for docs/any_network.md. It needs torch, and takes about half a minute. The
transformer is made and trained on the spot: 12 words a sentence, of a vocabulary of 20, and a target that is the mean
value of its words, times their spread. The second task has other values. There the matrices are frozen, and each gets
an update of rank 4, which starts at 0.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import ntkrs

HERE = Path(__file__).parent
WORDS, TOKENS, WIDTH, HEADS = 20, 12, 32, 4


class LowRank(nn.Module):
    """A frozen layer, and an update of low rank that starts at 0."""

    def __init__(self, layer, rank):
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.normal_(self.down.weight, std=rank**-0.5)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


class Transformer(nn.Module):
    """One block with attention, and the mean over tokens."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Parameter(0.1 * torch.randn(TOKENS, WIDTH))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.qkv, self.mix = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow, self.last = nn.Linear(WIDTH, 64), nn.Linear(64, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, words):
        x = self.words(words) + self.places
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.mix(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.narrow(functional.gelu(self.wide(self.norms[1](x))))
        return self.last(x.mean(1))


def task(samples, seed):
    """Return sentences and targets."""
    values = torch.randn(WORDS, generator=torch.Generator().manual_seed(seed))
    words = torch.randint(WORDS, (samples, TOKENS), generator=torch.Generator().manual_seed(seed + 1))
    return words, (values[words].mean(1) * (1 + values[words].std(1)))[:, None]


def trained(model, parameters, words, y, steps, optimizer):
    """Train a model on the loss ½ mean (f − y)², and return the losses."""
    losses = []
    chosen = optimizer(parameters)
    for _ in range(steps):
        chosen.zero_grad()
        loss = ((model(words) - y) ** 2).mean() / 2
        loss.backward()
        chosen.step()
        losses.append(loss.item())
    return losses


def pretrained():
    """Return a transformer of the first task, frozen, with low-rank updates that start at 0."""
    model = Transformer()
    trained(model, model.parameters(), *task(500, 0), 300, lambda p: torch.optim.Adam(p, lr=3e-3))
    model.requires_grad_(requires_grad=False)
    for name in ("qkv", "mix", "wide", "narrow"):
        setattr(model, name, LowRank(getattr(model, name), 4))
    return model


def draw(losses, expected, outputs):
    """Draw losses, measured and expected at some steps, and outputs, by the kernel and fine-tuned."""
    import matplotlib.pyplot as plt

    sys.path.insert(0, str(HERE.parent))
    import _style

    _style.reset()
    fig, axes = plt.subplots(1, 2)
    axes[0].semilogy(losses, color="#0072B2", label="fine-tuned")
    axes[0].semilogy(*expected, "k--", label="kernel")
    axes[0].set(xlabel="step", ylabel="training loss")
    axes[0].legend()
    axes[1].scatter(*outputs, s=8, color="#0072B2")
    axes[1].axline((0, 0), slope=1, color="0.6", lw=0.8)
    axes[1].set(xlabel="prediction of the kernel", ylabel="fine-tuned", title="new sentences")
    fig.savefig(HERE.parent / "_static" / "low_rank.svg", metadata={"Date": None})


def main():
    """Fine-tune, predict, and draw."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    model, (words, y) = pretrained(), task(200, 10)
    words, new, y, y_new = words[:100], words[100:], y[:100], y[100:]
    train, test = (ntkrs.convert.record(model, one, outputs=0) for one in (words, new))
    k_train_train, k_test_train = ntkrs.empirical_ntk(train), ntkrs.empirical_ntk(test, train)
    start, start_new = (model(one).detach().numpy() for one in (words, new))

    steps, rate = 400, 0.4 * ntkrs.predict.max_learning_rate(k_train_train, y.numel())
    predict = ntkrs.predict.gradient_descent_mse(k_train_train, y.numpy(), rate, optimizer="gd")
    times = np.arange(0, steps, 10)
    expected = ((predict(times, start) - y.numpy()) ** 2).mean((1, 2)) / 2
    _, last = predict(steps, start, start_new, k_test_train)

    updates = [parameter for parameter in model.parameters() if parameter.requires_grad]
    losses = trained(model, updates, words, y, steps, lambda p: torch.optim.SGD(p, lr=rate))
    tuned = model(new).detach().numpy()
    draw(losses, (times, expected), (last, tuned))
    before, after = (np.corrcoef(one[:, 0], tuned[:, 0])[0, 1] for one in (start_new, last))
    errors = [((one - y_new.numpy()) ** 2).mean() for one in (tuned, last)]
    print(f"correlation with the fine-tuned outputs: {before:.2f} at the start, {after:.2f} by the kernel")
    print(f"test errors: {errors[0]:.3f} fine-tuned, {errors[1]:.3f} by the kernel")


if __name__ == "__main__":
    main()
