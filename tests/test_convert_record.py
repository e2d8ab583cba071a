"""Recorded torch modules: their kernels are J Jᵀ of automatic differentiation."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ntkrs
from ntkrs.empirical import Block, Linear, Lookup

torch = pytest.importorskip("torch", reason="torch is absent: modules cannot be recorded")
nn, functional = torch.nn, torch.nn.functional
from oracles import torch_jacobian  # noqa: E402  it needs torch

#: Both kernels are sums of up to 1e5 products in float64; entries are compared with the largest one.
TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def _double():
    """Make torch's numbers float64, drawn from one seed, on one thread."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)


class Residual(nn.Module):
    """One layer, used twice, and once more by its weight's twin, with a scale and an offset of the module's own."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.twin = nn.Linear(5, 5)
        self.twin.weight = self.shared.weight
        self.scale = nn.Parameter(torch.randn(5))
        self.offset = nn.Parameter(torch.randn(2))

    def forward(self, x):
        h = torch.tanh(self.first(x))
        h = h + self.shared(h)
        h = h + self.scale * self.twin(torch.relu_(self.shared(h)))
        return self.last(h) + self.offset


class Attention(nn.Module):
    """A small transformer on words: positions, two heads, layer norms, a mean over tokens."""

    def __init__(self, outputs=3):
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8, padding_idx=0), nn.Parameter(torch.randn(1, 6, 8))
        self.norm, self.qkv, self.mix = nn.LayerNorm(8), nn.Linear(8, 24, bias=False), nn.Linear(8, 8)
        self.wide, self.narrow, self.last = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, outputs)

    def forward(self, words):
        x = self.words(words) + self.places
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.mix(mixed.transpose(1, 2).reshape(len(x), 6, 8))
        x = x + self.narrow(functional.gelu(self.wide(x)))
        return self.last(x.mean(1))


class Pair(nn.Module):
    """Two inputs, and two outputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Bilinear(4, 2, 3)

    def forward(self, x, y):
        return {"f": self.b(torch.tanh(self.a(x)), y)}


def frozen(module, *names):
    """Freeze the parameters of these names."""
    for name in names:
        module.get_parameter(name).requires_grad_(False)
    return module


def with_statistics(norm):
    """Return a batch norm in evaluation mode, with statistics and parameters of its own."""
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(norm.weight)
    return norm


def flat(*layers, width, outputs=2):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, outputs)).eval()


IMAGE, SOUND = (5, 4, 7, 6), (5, 4, 9)

#: Modules, and the shape of their inputs (None for words).
MODULES = {
    "linear": (lambda: nn.Linear(3, 2), (6, 3)),
    "without biases": (lambda: nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 1)), (6, 3)),
    "in place": (lambda: nn.Sequential(nn.Linear(3, 9), nn.ReLU(inplace=True), nn.Linear(9, 2)), (6, 3)),
    "frozen": (lambda: frozen(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), "0.weight", "1.bias"), (6, 3)),
    "tied and residual": (Residual, (6, 4)),
    "tokens": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(21, 2)), (6, 7, 4)),
    "more axes": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2)), (6, 3, 2, 4)),
    "Conv1d": (lambda: flat(nn.Conv1d(4, 3, 3, stride=2, dilation=2, padding=2), nn.Tanh(), width=15), SOUND),
    "Conv1d same": (lambda: flat(nn.Conv1d(4, 3, 4, padding="same", dilation=2), nn.Tanh(), width=27), SOUND),
    "Conv1d groups": (lambda: flat(nn.Conv1d(4, 6, 3, groups=2, bias=False), nn.Tanh(), width=42), SOUND),
    "Conv2d": (lambda: flat(nn.Conv2d(4, 3, (3, 2), stride=(2, 1), padding=(1, 0)), nn.Tanh(), width=60), IMAGE),
    "Conv2d reflected": (
        lambda: flat(nn.Conv2d(4, 3, 3, padding=(2, 1), padding_mode="reflect"), nn.Tanh(), width=162),
        IMAGE,
    ),
    "depthwise": (lambda: flat(nn.Conv2d(4, 8, 3, groups=4, dilation=(2, 1)), nn.Tanh(), width=96), IMAGE),
    "Conv3d": (
        lambda: flat(nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding="valid"), nn.Tanh(), width=54),
        (4, 2, 4, 4, 4),
    ),
    "norms": (
        lambda: flat(
            nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), with_statistics(nn.BatchNorm2d(4)), nn.LayerNorm([7, 6]), width=168
        ),
        IMAGE,
    ),
    "norms of rows": (
        lambda: flat(nn.Linear(3, 4), nn.RMSNorm(4), nn.LayerNorm(4, bias=False), nn.BatchNorm1d(4), width=4),
        (6, 3),
    ),
    "sample by sample": (lambda: flat(nn.Linear(3, 4), nn.PReLU(4), width=4), (6, 3)),
    "recurrent": (lambda: nn.Sequential(nn.LSTM(3, 4, batch_first=True)), (5, 6, 3)),
    "transformer": (Attention, None),
}


@pytest.mark.parametrize("name", MODULES)
def test_kernels_are_those_of_automatic_differentiation(name):
    make, shape = MODULES[name]
    module = make()
    x = torch.randint(0, 11, (5, 6)) if shape is None else torch.randn(shape)
    outputs = (lambda y: y[0][:, -1]) if name == "recurrent" else (lambda y: y)
    chosen = outputs if name == "recurrent" else "full"
    before = {key: value.clone() for key, value in module.state_dict().items()}
    expected = torch_jacobian.kernel(module, x, outputs)
    records = ntkrs.convert.record(module, x, batch_size=2, outputs=chosen)
    for form in ("tokens", "gradients"):
        found = ntkrs.empirical_ntk(records, form=form)
        assert found.shape == expected.shape
        assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(layer._forward_hooks for layer in module.modules())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from([1, 2, 3]),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)), min_size=3),
    st.sampled_from(["zeros", "circular", "replicate"]),
    st.booleans(),
)
def test_convolutions_of_any_shape(axes, channels, groups, sizes, mode, bias):
    window, stride, dilation, padding = (tuple(size[k] for size in sizes[:axes]) for k in range(4))
    convolution = getattr(nn, f"Conv{axes}d")(
        groups * channels[0],
        groups * channels[1],
        window,
        stride,
        padding,
        dilation,
        groups,
        bias=bias,
        padding_mode=mode,
    )
    module = nn.Sequential(convolution, nn.Tanh(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.randn(3, groups * channels[0], *[5, 6, 5][:axes])
    module(x)  # which tells the last layer its inputs
    expected = torch_jacobian.kernel(module, x)
    records = ntkrs.convert.record(module, x)
    for form in ("tokens", "gradients"):
        found = ntkrs.empirical_ntk(records, form=form)
        assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()


@pytest.mark.parametrize("outputs", ["full", "trace", "mean", "diagonal", "sum", 1])
def test_outputs_are_chosen_as_in_the_kernel(outputs):
    module, x = Attention(), torch.randint(0, 11, (5, 6))
    full = ntkrs.empirical_ntk(ntkrs.convert.record(module, x), outputs=outputs)
    records = ntkrs.convert.record(module, x, outputs=outputs)
    found = ntkrs.empirical_ntk(records, outputs=0 if outputs == 1 else outputs)
    assert np.allclose(found, full, rtol=1e-12, atol=1e-12 * abs(full).max())
    if outputs in {"sum", 1}:
        assert records[0].G.ndim == 3


def test_records_are_lists_with_names():
    records = ntkrs.convert.record(Attention(), torch.randint(0, 11, (5, 6)))
    kinds = {"words": Lookup, "norm.weight": Block, "norm.bias": Block, "qkv": Linear, "places": Block}
    found = dict(zip(records.names, records, strict=True))
    assert {name: type(found[name]) for name in kinds} == kinds
    assert not found["qkv"].bias
    assert found["mix"].bias
    assert found["wide"].A.shape == (5, 6, 8)
    assert found["wide"].G.shape == (5, 6, 12, 3)
    assert "places" in records.names
    tied = ntkrs.convert.record(Residual(), torch.randn(3, 4))
    assert set(tied.names) == {"first", "shared and twin", "last", "shared.bias", "twin.bias", "scale", "offset"}


def test_the_size_of_batches_changes_nothing_but_round_off():
    module, x = Attention(), torch.randint(0, 11, (7, 6))
    whole = ntkrs.empirical_ntk(ntkrs.convert.record(module, x))
    for size in (1, 3, 100):
        found = ntkrs.empirical_ntk(ntkrs.convert.record(module, x, batch_size=size))
        assert np.allclose(found, whole, rtol=1e-12, atol=1e-12 * abs(whole).max())


def test_kernels_of_layers_add_up():
    module, x = Attention(), torch.randint(0, 11, (5, 6))
    parts = [["words", "norm"], ["qkv", "mix", "wide", "narrow", "last"]]
    found = sum(ntkrs.empirical_ntk(ntkrs.convert.record(module, x, layers=part)) for part in parts)
    frozen(module, "places")
    assert np.allclose(found, torch_jacobian.kernel(module, x), rtol=1e-12)


def test_several_inputs_and_outputs_by_a_function():
    module, x, y = Pair(), torch.randn(6, 3), torch.randn(6, 2)
    records = ntkrs.convert.record(module, (x, y.numpy()), outputs=lambda result: result["f"])
    expected = torch_jacobian.kernel(module, (x, y), lambda result: result["f"])
    assert np.allclose(ntkrs.empirical_ntk(records), expected, rtol=1e-12)


def test_float32_and_bfloat16_modules():
    torch.set_default_dtype(torch.float32)
    module, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(6, 3)
    found = ntkrs.empirical_ntk(ntkrs.convert.record(module, x.numpy().astype(np.float64)))
    assert found.dtype == np.float32
    assert np.allclose(found, torch_jacobian.kernel(module, x), rtol=1e-4)
    half = ntkrs.empirical_ntk(ntkrs.convert.record(nn.Linear(3, 2).to(torch.bfloat16), x.numpy()))
    assert half.dtype == np.float32


def test_a_plain_network_has_the_kernel_of_its_conversion():
    module, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(9, 3)
    expected = ntkrs.convert.from_torch(module).ntk(x)
    assert np.allclose(ntkrs.empirical_ntk(ntkrs.convert.record(module, x)), expected, rtol=1e-12)


class Functional(nn.Module):
    """A layer whose weight is used in another way too."""

    def __init__(self, size=2):
        super().__init__()
        self.layer, self.extra = nn.Linear(2, 2), nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return self.layer(x) + functional.linear(x, self.layer.weight) + self.extra[:2]


class Tied(nn.Module):
    """An embedding that is also the last layer."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words):
        return self.head(self.words(words))


class Turned(nn.Module):
    """A layer that sees tokens first and samples second."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x.transpose(0, 1)).sum(0)


class Mixed(nn.Module):
    """A layer that sees the mean of a batch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x - 0.5 * x.mean(0))


class Silent(nn.Module):
    """A layer without gradients."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        with torch.no_grad():
            x = self.layer(x)
        return self.last(x)


WORDS, ROWS = torch.tensor([1, 2, 3]), torch.ones(3, 2)

REFUSED = {
    "no module": (lambda: nn.Linear, ROWS, {}, TypeError, "module is a type, but a torch.nn.Module is needed"),
    "other uses": (Functional, ROWS, {}, ValueError, "layer.weight has another gradient than the calls of its layer"),
    "tied": (Tied, WORDS, {}, ValueError, r"head \(Linear\) shares its weight with words \(Embedding\)"),
    "other axes": (Turned, torch.ones(3, 4, 2), {}, ValueError, r"layer \(Linear\) was called with .* the 1 samples"),
    "mixed samples": (Mixed, torch.eye(3)[:, :2], {}, ValueError, r"layer \(Linear\) has other values for a sample"),
    "no gradients": (Silent, ROWS, {}, ValueError, r"layer \(Linear\) is trained, but ran without gradients"),
    "batch norm": (lambda: nn.Sequential(nn.BatchNorm1d(2)), ROWS, {}, ValueError, r"0 \(BatchNorm1d\) mixes .*eval"),
    "no statistics": (
        lambda: nn.BatchNorm1d(2, track_running_stats=False).eval(),
        ROWS,
        {},
        ValueError,
        r"module \(BatchNorm1d\) mixes the samples of a batch, since it has no running statistics",
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Dropout()), ROWS, {}, ValueError, r"1 \(Dropout\) draws"),
    "frozen": (lambda: nn.Linear(2, 1).requires_grad_(False), ROWS, {}, ValueError, "no parameter is trained"),
    "large": (
        lambda: nn.Bilinear(200, 200, 2),
        (torch.ones(3, 200),) * 2,
        {},
        TypeError,
        "weight of Bilinear has 80000 entries",
    ),
    "max_norm": (lambda: nn.Embedding(5, 2, max_norm=1.0), WORDS, {}, ValueError, r"\(Embedding\) has max_norm=1.0"),
    "layers": (lambda: nn.Linear(2, 1), ROWS, {"layers": ["head"]}, ValueError, "layers names 'head', but"),
    "a layer": (lambda: nn.Linear(2, 1), ROWS, {"layers": "head"}, TypeError, r"layers=\['head'\]"),
    "no samples": (lambda: nn.Linear(2, 1), ROWS[:0], {}, ValueError, "at least 1, in all inputs, is needed"),
    "samples": (Pair, (ROWS, ROWS[:2]), {}, ValueError, r"X has \[2, 3\] samples"),
    "a dictionary": (Pair, (torch.ones(3, 3), ROWS), {}, ValueError, "the module returned a dict, but a tensor"),
    "axes": (lambda: nn.Linear(2, 1), ROWS[:, None], {}, ValueError, r"returned a Tensor of shape .* outputs=lambda"),
    "outputs": (lambda: nn.Linear(2, 1), ROWS, {"outputs": "all"}, ValueError, "outputs is 'all', but must be one of"),
    "output": (lambda: nn.Linear(2, 1), ROWS, {"outputs": 1}, ValueError, "outputs is 1, but"),
    "batch_size": (lambda: nn.Linear(2, 1), ROWS, {"batch_size": 0}, ValueError, "batch_size is 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_recorded_is_refused_by_name(case):
    make, x, options, error, message = REFUSED[case]
    x = tuple(one.double() for one in x) if isinstance(x, tuple) else x if x is WORDS else x.double()
    with pytest.raises(error, match=message):
        ntkrs.convert.record(make(), x, **options)


def test_recordings_that_do_not_fit_into_memory_are_refused(limit_memory):
    limit_memory(100)
    with pytest.raises(MemoryError, match="the recording of module needs"):
        ntkrs.convert.record(nn.Linear(30, 2), torch.ones(3, 30))
