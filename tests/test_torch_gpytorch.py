"""Kernels of tensors in the models of GPyTorch."""

import numpy as np
import pytest

import ntkrs

torch = pytest.importorskip("torch", reason="torch is absent: ntkrs.torch cannot be imported")
import ntkrs.torch  # noqa: E402  it needs torch, and imports GPyTorch without the warnings of the latter

gpytorch = pytest.importorskip("gpytorch", reason="GPyTorch is absent: kernels in its models are not tested")
from gpytorch import kernels  # noqa: E402


class Model(gpytorch.models.ExactGP):
    """A Gaussian process of mean 0."""

    def __init__(self, x, y, covariance):
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = 0.05
        super().__init__(x, y, likelihood)
        self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), covariance

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def kernel(**options):
    arch = ntkrs.mlp(depth=2, width=1, outputs=1, activation="erf", sigma_w=1.5, sigma_b=0.3)
    return ntkrs.torch.Kernel(arch, dtype=torch.float64, **options)


def data(samples=30):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 2))
    return torch.from_numpy(x), torch.from_numpy(np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=samples))


#: Covariances that are a kernel alone, or hold one.
COVARIANCES = {
    "alone": lambda k: k,
    "scaled": lambda k: kernels.ScaleKernel(k).double(),
    "in a sum": lambda k: k + kernels.RBFKernel().double(),
    "in a product": lambda k: kernels.RBFKernel().double() * k,
    "lazily": kernels.AdditiveKernel,
}


def dense(covariance, x, z):
    """Return K(x, z) as an array, by GPyTorch's own evaluation."""
    return covariance(x, z).to_dense().detach().numpy()


@pytest.mark.parametrize("name", COVARIANCES)
def test_the_posterior_is_that_of_its_matrices(name):
    (x, y), covariance = data(), COVARIANCES[name](kernel())
    new = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 2)))
    model = Model(x, y, covariance).eval()
    with torch.no_grad():
        found = model(new)
    noisy = dense(covariance, x, x) + model.likelihood.noise.item() * np.eye(30)
    k = dense(covariance, new, x)
    # The condition of the matrix is below 1e4.
    np.testing.assert_allclose(found.mean.numpy(), k @ np.linalg.solve(noisy, y.numpy()), rtol=1e-10, atol=1e-10)
    expected = dense(covariance, new, new) - k @ np.linalg.solve(noisy, k.T)
    np.testing.assert_allclose(found.covariance_matrix.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_parts_of_a_lazy_matrix_are_those_of_the_whole():
    x, _ = data()
    lazy, whole = kernels.ScaleKernel(kernel()).double()(x), kernels.ScaleKernel(kernel()).double()(x).to_dense()
    assert torch.allclose(lazy[2:7, 3:].to_dense(), whole[2:7, 3:], rtol=1e-14)
    assert torch.allclose(lazy.diagonal(), whole.diagonal(), rtol=1e-14)


@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_the_gradient_of_the_evidence(get):
    (x, y), covariance = data(), kernel(get=get)
    model = Model(x, y, covariance).train()
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)(model(x), y) * len(y)
    evidence.backward()
    plain = covariance.arch.kernel()
    inverse = np.linalg.inv(plain(x, get=get) + model.likelihood.noise.item() * np.eye(len(y)))
    alpha = inverse @ y.numpy()
    expected = plain.gradient(x, get=get, weights=(np.outer(alpha, alpha) - inverse) / 2)  # Rasmussen & Williams, 5.9
    np.testing.assert_allclose(covariance.sigma_w.grad, expected.sigma_w, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(covariance.sigma_b.grad, expected.sigma_b, rtol=1e-9, atol=1e-9)


def test_scales_are_learned():
    (x, y), covariance = data(), kernel()
    model = Model(x, y, kernels.ScaleKernel(covariance).double()).train()
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = -evidence(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2
    assert not torch.allclose(covariance.sigma_w.detach(), torch.tensor(1.5, dtype=torch.float64))


@pytest.mark.parametrize("name", COVARIANCES)
def test_predictions_have_gradients_with_respect_to_inputs(name):
    (x, y), covariance = data(), COVARIANCES[name](kernel())
    model = Model(x, y, covariance).eval()
    new = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 2))).requires_grad_()

    def moments(new):
        found = model(new)
        return found.mean, found.variance

    assert torch.autograd.gradcheck(moments, (new,))


def test_a_batch_of_models():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 6, 3)))
    found = kernels.ScaleKernel(kernel()).double()(x).to_dense()
    assert found.shape == (2, 6, 6)
    assert torch.equal(found[1], kernels.ScaleKernel(kernel()).double()(x[1]).to_dense())


def test_batches_of_scales_are_refused():
    many = kernels.ScaleKernel(kernel()).double().expand_batch(torch.Size([2]))
    with pytest.raises(ValueError, match=r"sigma_w has shape \(2, 3\), but \(3,\) is needed: one for each dense layer"):
        many(data()[0]).to_dense()
