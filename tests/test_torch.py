"""Kernels of tensors: values of the NumPy kernel, gradients of a recursion that torch differentiates, GPyTorch."""

import copy
import math
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import ntkrs

torch = pytest.importorskip("torch", reason="torch is absent: ntkrs.torch cannot be imported")
import ntkrs.torch  # noqa: E402  it needs torch

#: Sums of some ten terms of size 1, through three layers, in float64.
TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def architecture(activation="relu", sigma_w=1.3, sigma_b=0.4, **last):
    """Return three dense layers with scales of their own."""
    chosen = {"relu": ntkrs.Relu, "erf": ntkrs.Erf, "tanh": ntkrs.Tanh}[activation]
    dense = [ntkrs.Dense(1, sigma_w + 0.1 * layer, sigma_b and sigma_b + 0.1 * layer) for layer in range(2)]
    return ntkrs.Sequential(dense[0], chosen(), dense[1], chosen(), ntkrs.Dense(1, 0.9, sigma_b and 0.7, **last))


def module(activation="relu", get="ntk", **options):
    return ntkrs.torch.Kernel(architecture(activation, **options), get=get, dtype=torch.float64)


def inputs(*sizes, seed=0, dtype=np.float64):
    """Return rows (N, 3) as a leaf, for each of the sizes."""
    rng = np.random.default_rng(seed)
    found = [torch.from_numpy(rng.normal(size=(size, 3)).astype(dtype)).requires_grad_() for size in sizes]
    return found[0] if len(found) == 1 else found


def oracle(x, z, sigma_w, sigma_b, get="ntk"):
    """Return K(x, z) of ReLU layers by the arc-cosine formulas, in operations that torch differentiates."""
    depth = len(sigma_w)
    d = x.shape[1]
    cross = sigma_w[0] ** 2 * x @ z.T / d + sigma_b[0] ** 2
    first = sigma_w[0] ** 2 * (x**2).sum(1) / d + sigma_b[0] ** 2
    second = sigma_w[0] ** 2 * (z**2).sum(1) / d + sigma_b[0] ** 2
    theta = cross
    for layer in range(1, depth):
        norms = (first[:, None] * second).sqrt()
        rho = (cross / norms).clamp(-1 + 1e-15, 1 - 1e-15)
        angle = torch.arccos(rho)
        slopes = (math.pi - angle) / (2 * math.pi)
        values = norms * (torch.sqrt(1 - rho**2) + (math.pi - angle) * rho) / (2 * math.pi)
        cross = sigma_w[layer] ** 2 * values + sigma_b[layer] ** 2
        theta = cross + sigma_w[layer] ** 2 * slopes * theta
        first, second = (sigma_w[layer] ** 2 * q / 2 + sigma_b[layer] ** 2 for q in (first, second))
    return theta if get == "ntk" else cross


def called(kernel, x, z, sigma_w, sigma_b, **options):
    """Return the kernel with other scales."""
    return torch.func.functional_call(kernel, {"sigma_w": sigma_w, "sigma_b": sigma_b}, (x, z), options)


@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_gradients_are_those_of_the_recursion(get):
    x, z = inputs(5, 4)
    kernel = module(get=get)
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 4)))
    leaves = [x, z, kernel.sigma_w, kernel.sigma_b]
    expected = torch.autograd.grad((oracle(*leaves, get) * weights).sum(), leaves)
    found = torch.autograd.grad((kernel(x, z) * weights).sum(), leaves)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_negative_scales_are_their_absolute_values():
    x, z = inputs(4, 3)
    kernel = module()
    signs = torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)
    leaves = [(kernel.sigma_w.detach() * signs).requires_grad_(), (kernel.sigma_b.detach() * -signs).requires_grad_()]
    assert torch.equal(called(kernel, x, z, *leaves), kernel(x, z))
    expected = torch.autograd.grad(oracle(x, z, *leaves).sum(), leaves)
    found = torch.autograd.grad(called(kernel, x, z, *leaves).sum(), leaves)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


#: The second inputs of a call, given the leaves of the first and of others. A copy moves with what it is a copy of.
SECOND = {"none": lambda _x, _z: None, "another": lambda _x, z: z, "a copy": lambda x, _z: x.clone()}


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("diag", [False, True])
@pytest.mark.parametrize("second", SECOND)
def test_gradients_are_finite_differences(activation, diag, second):
    kernel, (x, z) = module(activation), inputs(4, 4)

    def function(x, z, *scales):
        return called(kernel, x, SECOND[second](x, z), *scales, diag=diag)

    assert torch.autograd.gradcheck(function, (x, z, kernel.sigma_w, kernel.sigma_b))


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_those_of_the_numpy_kernel(parameterization, dtype):
    arch = architecture("erf", trainable=False)
    x, z = inputs(40, 70, dtype=dtype)
    for get in ("ntk", "nngp"):
        kernel = ntkrs.torch.Kernel(arch, get=get, parameterization=parameterization, dtype=torch.float64)
        plain = arch.kernel(parameterization)
        first, second = x.detach().numpy(), z.detach().numpy()
        assert kernel(x, z).detach().numpy().dtype == dtype
        assert np.array_equal(kernel(x, z).detach(), plain(first, second, get=get))
        for again in (None, x, x.detach().clone()):
            assert np.array_equal(kernel(x, again).detach(), plain(first, get=get))
            assert np.array_equal(kernel(x, again, diag=True).detach(), plain.diag(first, get=get))
        pairs = np.diagonal(plain(first, second[:40], get=get))
        assert np.array_equal(kernel(x, z[:40], diag=True).detach(), pairs)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_gradients_of_layers_that_learn_otherwise(parameterization):
    x = inputs(4)
    arch = ntkrs.Sequential(
        ntkrs.Dense(3, 1.2, 0.3, trainable=False), ntkrs.Erf(), ntkrs.Dense(4, 0.8, 0.5), ntkrs.Erf(), ntkrs.Dense(1)
    )
    kernel = ntkrs.torch.Kernel(arch, parameterization=parameterization, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *leaves: called(kernel, leaves[0], None, *leaves[1:]), (x, kernel.sigma_w, kernel.sigma_b)
    )


def test_gradients_of_many_pairs_are_those_of_the_diagonal():
    kernel, (x, z) = module("erf"), inputs(70, 70)
    weights = torch.linspace(-1, 2, 70, dtype=torch.float64)
    for second in (None, z):
        leaves = [x, kernel.sigma_w, kernel.sigma_b]
        found = torch.autograd.grad((kernel(x, second, diag=True) * weights).sum(), leaves)
        expected = torch.autograd.grad((kernel(x, second).diagonal() * weights).sum(), leaves)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_scale_of_biases_that_is_0_stays_so():
    kernel, x = module(sigma_b=0.0), inputs(4)
    kernel(x).sum().backward()
    assert torch.equal(kernel.sigma_b.grad, torch.zeros(3, dtype=torch.float64))
    assert (kernel.sigma_w.grad > 0).all()


@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_the_cusp_of_equal_rows_counts_as_0(get):
    kernel, x = module(get=get), inputs(1)
    z = x.detach().clone().requires_grad_()
    kernel(x, z).sum().backward()
    step = 1e-6
    for k in range(3):
        shift = torch.zeros(1, 3, dtype=torch.float64)
        shift[0, k] = step
        with torch.no_grad():
            both_sides = (kernel(x + shift, z) - kernel(x - shift, z)).item() / (2 * step)
        # The cusp cancels in the difference, up to √ε of the kernel, 1e-8, over the step.
        assert abs(x.grad[0, k].item() - both_sides) < 1e-3
        assert x.grad[0, k] == z.grad[0, k]
    twice = x.detach().clone().requires_grad_()
    kernel(twice).sum().backward()
    assert torch.allclose(twice.grad, 2 * x.grad, rtol=1e-14)


def test_float32_gradients_have_the_types_of_the_leaves():
    kernel = ntkrs.torch.Kernel(architecture("erf"))
    x, z = inputs(6, 5, dtype=np.float32)
    kernel(x, z).sum().backward()
    exact = module("erf")
    exact.load_state_dict(kernel.state_dict())
    both = [one.detach().double().requires_grad_() for one in (x, z)]
    exact(*both).sum().backward()
    pairs = [(x, both[0]), (z, both[1]), (kernel.sigma_w, exact.sigma_w), (kernel.sigma_b, exact.sigma_b)]
    for ours, theirs in pairs:
        assert ours.grad.dtype == torch.float32
        # Sums of 30 entries, each with some ulps of float32.
        assert torch.allclose(ours.grad.double(), theirs.grad, rtol=1e-5, atol=1e-5)


def test_batches_are_those_of_single_calls():
    kernel, rng = module("erf"), np.random.default_rng(0)
    x, z = torch.from_numpy(rng.normal(size=(2, 1, 4, 3))), torch.from_numpy(rng.normal(size=(3, 4, 3)))
    x.requires_grad_()
    whole, pairs = kernel(x, z), kernel(x, z, diag=True)
    assert whole.shape == (2, 3, 4, 4)
    assert pairs.shape == (2, 3, 4)
    for a in range(2):
        for b in range(3):
            assert torch.equal(whole[a, b], kernel(x[a, 0], z[b]))
            assert torch.equal(pairs[a, b], kernel(x[a, 0], z[b]).diagonal())
    assert kernel(x).shape == (2, 1, 4, 4)
    whole.sum().backward()
    single = x.detach()[1, 0].clone().requires_grad_()
    sum(kernel(single, one).sum() for one in z).backward()
    assert torch.allclose(x.grad[1, 0], single.grad, rtol=1e-13)


def test_only_the_gradients_that_are_needed_are_computed(monkeypatch):
    kernel, (x, z) = module("erf"), inputs(4, 3)
    refused = lambda *_, **__: pytest.fail("this gradient is not needed")  # noqa: E731
    kernel.requires_grad_(False)
    monkeypatch.setattr(ntkrs.Kernel, "gradient", refused)
    kernel(x, z.detach()).sum().backward()
    monkeypatch.undo()
    kernel.requires_grad_(True)
    monkeypatch.setattr(ntkrs.Kernel, "input_gradient", refused)
    kernel(x.detach(), z.detach()).sum().backward()
    assert kernel(x.detach()).requires_grad
    with torch.no_grad():
        assert not kernel(x).requires_grad


def test_empty_batches():
    kernel, (x, z) = module(), inputs(0, 3)
    for values, shape in [(kernel(x), (0, 0)), (kernel(x, z), (0, 3)), (kernel(x, diag=True), (0,))]:
        assert values.shape == shape
        values.sum().backward()
    assert x.grad.shape == (0, 3)


def test_second_derivatives_are_refused():
    kernel, x = module("erf"), inputs(3)
    message = "ntkrs.torch.Kernel has no second derivatives"
    for leaf in (x, kernel.sigma_w):
        (gradient,) = torch.autograd.grad(kernel(x).sum(), leaf, create_graph=True)
        with pytest.raises(NotImplementedError, match=message):
            (kernel(x).sum() + (gradient**2).sum()).backward()
    with pytest.raises(NotImplementedError, match=message):
        torch.func.grad(lambda y: torch.func.grad(lambda x: kernel(x).sum())(y).sum())(x.detach())
    ours = torch.func.grad(lambda y: kernel(y).sum())(x.detach())
    assert torch.equal(ours, torch.autograd.grad(kernel(x).sum(), x)[0])


def test_scales_that_an_optimizer_changes_before_the_backward_pass_are_refused():
    kernel, x = module("erf"), inputs(3)
    values = kernel(x)
    with torch.no_grad():
        kernel.sigma_w += 0.1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()


def test_the_architecture_has_the_present_scales():
    kernel = module("erf", trainable=False)
    with torch.no_grad():
        kernel.sigma_w *= -2
        kernel.sigma_b += 1
    for layer, w, b in zip(kernel.arch.dense, kernel.sigma_w, kernel.sigma_b, strict=True):
        assert (layer.sigma_w, layer.sigma_b) == (-w.item(), b.item())
    assert not kernel.arch.dense[-1].trainable
    x = inputs(3)
    assert np.array_equal(kernel.arch.kernel()(x.detach()), kernel(x).detach())


def test_copies_and_states():
    kernel, x = module("erf"), inputs(3)
    assert list(kernel.state_dict()) == ["sigma_w", "sigma_b"]
    for copied in (copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        assert torch.equal(copied(x), kernel(x))
    assert kernel.double().sigma_w.dtype == torch.float64
    assert "sigma_w=1.3" in repr(kernel)
    assert "get='ntk'" in repr(kernel)


NUMBERS = torch.zeros(2, 3, dtype=torch.float64)

REFUSED = {
    "a NumPy array": (lambda k: k(np.zeros((2, 3))), TypeError, "X is an array of shape (2, 3) and dtype float64, but"),
    "another device": (
        lambda k: k(NUMBERS.to("meta")),
        ValueError,
        "X is on meta, but kernels are computed on the CPU",
    ),
    "Z elsewhere": (lambda k: k(NUMBERS, NUMBERS.to("meta")), ValueError, "Z is on meta"),
    "scales elsewhere": (lambda k: k.to("meta")(NUMBERS), ValueError, "sigma_w is on meta"),
    "sparse": (lambda k: k(NUMBERS.to_sparse()), TypeError, "X has layout torch.sparse_coo, but must be dense"),
    "integers": (
        lambda k: k(torch.ones(2, 3, dtype=torch.int64)),
        TypeError,
        "X has dtype torch.int64, but float32 or",
    ),
    "half": (lambda k: k(NUMBERS.half()), TypeError, "X has dtype torch.float16, but float32 or float64"),
    "complex": (lambda k: k(NUMBERS.to(torch.complex128)), TypeError, "X has dtype torch.complex128"),
    "two types": (
        lambda k: k(NUMBERS, NUMBERS.float()),
        TypeError,
        "Z has dtype torch.float32, but X has torch.float64",
    ),
    "one axis": (lambda k: k(NUMBERS[0]), ValueError, "X has shape (3,), but (N, n_0)"),
    "other features": (lambda k: k(NUMBERS, NUMBERS[:, :2]), ValueError, "Z has 2 features, but X has 3"),
    "no feature": (lambda k: k(NUMBERS[:, :0]), ValueError, "0 features"),
    "no batch": (lambda k: k(NUMBERS[None][:0]), ValueError, "X has shape (0, 2, 3), but at least 1 batch"),
    "batches": (
        lambda k: k(NUMBERS.expand(2, 2, 3), NUMBERS.expand(3, 2, 3)),
        ValueError,
        "Z has shape (3, 2, 3), but X has (2, 2, 3): their batches do not fit each other",
    ),
    "no pairs": (
        lambda k: k(NUMBERS, NUMBERS[:1], diag=True),
        ValueError,
        "diag is True, but X has 2 rows and Z has 1",
    ),
    "diag": (lambda k: k(NUMBERS, diag=1), TypeError, "diag is 1, but True or False is needed"),
    "single features": (
        lambda k: k(NUMBERS, last_dim_is_batch=True),
        ValueError,
        "last_dim_is_batch is True, but must",
    ),
    "NaN": (lambda k: k(NUMBERS * float("nan")), ValueError, "X holds nan at (row 0, column 0)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_calls_that_are_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=re.escape(message)):
        call(module())


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, float("nan"), 1.0], ValueError, "sigma_w holds nan at dense layer 1, but must be finite"),
        ([1.0, 1.0, float("inf")], ValueError, "sigma_w holds inf at dense layer 2"),
        ([1.0, 0.0, 1.0], ValueError, "sigma_w is 0.0, but must be"),
        ([1.0], ValueError, "sigma_w has shape (1,), but (3,) is needed: one for each dense layer"),
    ],
)
def test_scales_that_are_refused(values, error, message):
    kernel = module()
    kernel.sigma_w = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
    with pytest.raises(error, match=re.escape(message)):
        kernel(inputs(2))


def test_a_gradient_that_is_not_finite_is_refused():
    values = module()(inputs(2))
    with pytest.raises(ValueError, match=re.escape("the gradient of the loss with respect to the kernel holds nan at")):
        (values * float("nan")).sum().backward()


IMAGES = ntkrs.Sequential(ntkrs.Conv(1, (3, 3)), ntkrs.Relu(), ntkrs.Flatten(), ntkrs.Dense(1))
UNKNOWN = ntkrs.Sequential(ntkrs.Dense(1, None, None))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("relu",), TypeError, "arch is 'relu', but a Sequential is needed"),
        ((IMAGES,), ValueError, "but ntkrs.torch.Kernel needs a network of Dense layers"),
        ((UNKNOWN,), ValueError, "whose sigma_w is unknown, but ntkrs.torch.Kernel needs it"),
    ],
)
def test_architectures_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ntkrs.torch.Kernel(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"get": "both"}, ValueError, "get is 'both', but must be 'ntk' or 'nngp'"),
        ({"parameterization": "lecun"}, ValueError, "parameterization is 'lecun'"),
        ({"dtype": torch.float16}, TypeError, "dtype is torch.float16, but torch.float32 or torch.float64 is needed"),
    ],
)
def test_options_that_are_refused(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ntkrs.torch.Kernel(architecture(), **options)


def test_without_gpytorch_it_is_a_module_with_the_same_values():
    code = (
        "import sys; sys.modules['gpytorch'] = None\n"
        "import ntkrs, ntkrs.torch, torch\n"
        "assert ntkrs.torch.Kernel.__bases__ == (torch.nn.Module,)\n"
        "kernel = ntkrs.torch.Kernel(ntkrs.mlp(2, 1, 1, 'erf'), dtype=torch.float64)\n"
        "X = torch.eye(3, dtype=torch.float64)\n"
        "assert (kernel(X).detach().numpy() == kernel.arch.kernel()(X.numpy())).all()\n"
        "assert list(kernel.state_dict()) == ['sigma_w', 'sigma_b']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
