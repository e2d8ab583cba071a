"""A watch over training: its numbers are those of the kernels at the recorded steps."""

import numpy as np
import pytest

import ntkrs
from ntkrs import diagnostics

X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.sign(X[:, 0])


def trained(steps=4):
    """Yield networks in training, one for each step."""
    net = ntkrs.mlp(1, 16, 2, "relu").init(3, rng=0)
    for _ in range(steps):
        yield net
        net, _ = net.train(X, np.stack([Y, -Y], 1), learning_rate=1.0, steps=5)


def test_numbers_are_those_of_the_kernels():
    watch = diagnostics.watch(X, every=2, y=Y)
    nets = list(trained())
    for step, net in enumerate(nets):
        watch(step + 1, net)  # step 1 is the first, 2 and 4 are multiples of 2
    assert [sight.step for sight in watch.sights] == [1, 2, 4]
    kernels = [nets[index].ntk(X, outputs="trace") / 2 for index in (0, 1, 3)]
    for sight, kernel in zip(watch.sights, kernels, strict=True):
        values = np.linalg.eigvalsh(kernel)[::-1]
        share = values / values.sum()
        # Eigenvalues are right to some ε of the largest one.
        assert np.allclose(sight.eigenvalues, values, atol=1e-12 * values[0])
        assert np.isclose(sight.effective_rank, np.exp(-np.sum(share * np.log(share))), rtol=1e-10)
        drift = np.linalg.norm(kernel - kernels[0]) / np.linalg.norm(kernels[0])
        assert np.isclose(sight.drift, drift, rtol=1e-10, atol=1e-14)
        assert np.isclose(sight.alignment, Y @ kernel @ Y / (np.linalg.norm(kernel) * 8), rtol=1e-12)
    assert watch.sights[0].drift == 0


def test_state_dicts_are_watched():
    net = ntkrs.Network.from_standard(ntkrs.mlp(1, 4, 1, "relu"), [np.eye(3, 4), np.ones((4, 1))])
    state = {"0.weight": net.weights[0].T, "2.weight": net.weights[1].T}
    watches = [diagnostics.watch(X, activation="relu"), diagnostics.watch(X)]
    for watch, model in zip(watches, (state, net), strict=True):
        watch(0, model)
    assert np.array_equal(*(watch.sights[0].eigenvalues for watch in watches))
    with pytest.raises(ValueError, match="a state dict does not tell its activation"):
        watches[1](1000, state)


def test_modules_are_watched_and_left_in_their_mode():
    torch = pytest.importorskip("torch", reason="torch is absent: modules are not watched")
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Dropout(), torch.nn.Tanh(), torch.nn.Linear(5, 2)
    ).double()
    module[3].eval()
    watch = diagnostics.watch(X)
    watch(0, module)
    expected = ntkrs.convert.from_torch(module).ntk(X, outputs="mean")
    assert np.allclose(watch.sights[0].eigenvalues, np.linalg.eigvalsh(expected)[::-1], rtol=1e-9, atol=1e-12)
    assert [layer.training for layer in module] == [True, True, True, False]


def test_the_table_and_the_data_frame():
    watch = diagnostics.watch(X, every=1)
    for step, net in enumerate(trained(2)):
        watch(step, net)
    lines = str(watch).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[0] == "0"
    assert lines[1].split()[-1] == "-"
    pandas = pytest.importorskip("pandas", reason="pandas is absent: there are no data frames")
    frame = watch.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == [0, 1]
    assert frame["drift"].tolist() == [sight.drift for sight in watch.sights]


def test_the_figure():
    pytest.importorskip("matplotlib", reason="matplotlib is absent: there are no figures")
    watch = diagnostics.watch(X, every=1, y=Y)
    with pytest.raises(ValueError, match="no step is recorded yet"):
        watch.plot()
    for step, net in enumerate(trained(3)):
        watch(step, net)
    (ax,) = watch.plot().axes
    assert ax.get_lines()[0].get_ydata().tolist() == [sight.drift for sight in watch.sights]
    assert len(ax.get_lines()) == 3
    assert watch.plot(ax=ax) is ax.figure


def test_what_cannot_be_watched_is_refused():
    net = next(trained())
    watch = diagnostics.watch(X, every=1)
    watch(3, net)
    with pytest.raises(ValueError, match="step is 3, but step 3 is recorded already"):
        watch(3, net)
    with pytest.raises(TypeError, match="model is 7, but a Network, a torch module or a state dict"):
        watch(4, 7)
    with pytest.raises(ValueError, match="every is 0"):
        diagnostics.watch(X, every=0)
    with pytest.raises(ValueError, match="y holds nan"):
        diagnostics.watch(X, y=Y * np.nan)
    with pytest.raises(ValueError, match="the kernel at step 0 is all 0"):
        diagnostics.watch(np.zeros((3, 3)))(0, net)
