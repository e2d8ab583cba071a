"""The kernel of an infinitely wide network as a module of PyTorch."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch

from ntkrs._architecture import check_dense, check_scales
from ntkrs._checks import numbers, tensors
from ntkrs.layers import Sequential
from ntkrs.torch.evaluation import Evaluation
from ntkrs.torch.function import KernelValues, Plan

if TYPE_CHECKING:
    from ntkrs._architecture import Architecture
    from ntkrs._typing import KernelName, Parameterization

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GPyTorch's own, on what torch will drop
        from gpytorch.kernels import Kernel as Base
except ImportError:
    Base = torch.nn.Module


class Kernel(Base):  # type: ignore[misc]  # torch and GPyTorch are read as Any
    """The kernel of an infinitely wide network, as a differentiable function of tensors.

    ``kernel(X, Z)`` has the values of ``arch.kernel()(X, Z)``, to the last bit, and gradients with respect to X, Z and
    the scales of all dense layers. Where GPyTorch is installed, this is a :class:`gpytorch.kernels.Kernel`: the
    ``covar_module`` of its models, on its own or in sums, products and a ``ScaleKernel``.

    Parameters
    ----------
    arch : Sequential
        The architecture, of dense layers.
    get : "ntk" or "nngp"
        The kernel: Θ or Σ.
    parameterization : "ntk" or "standard"
        As in :class:`ntkrs.Kernel`.
    dtype : torch.dtype, optional
        The type of the parameters, float32 or float64; by default ``torch.get_default_dtype()``.

    Attributes
    ----------
    sigma_w, sigma_b : (L,) torch.nn.Parameter
        The scales of the L dense layers. Kernels are even in each of them, so that an optimizer may cross 0: their
        absolute values are used. Where ``sigma_b`` is 0, its gradient is 0, and it stays so.

    Raises
    ------
    TypeError, ValueError
        If ``arch`` is not an architecture of dense layers with known scales, or an option is invalid. In a call, if an
        input is not a dense tensor of float32 or float64 on the CPU, or X and Z do not fit each other; if the kernel
        refuses them, or the scales. In a backward pass, if an incoming gradient is not finite.
    ImportError
        By ``import ntkrs.torch``, if torch is not installed.

    Notes
    -----
    A call returns a dense tensor, never one of GPyTorch's lazy matrices.

    If an activation has a kink, Θ has a cusp where two different rows are equal or opposite. It counts as 0, as in
    :meth:`ntkrs.Kernel.input_gradient`. The diagonal of ``kernel(X)`` has no cusp: x_i is both of its inputs, and its
    gradient is that of K(x_i, x_i).

    A backward pass takes the time of two to five kernels for the inputs, and of three to six for the scales. What does
    not require a gradient is not computed. Gradients have no gradients: a second backward pass raises an error.

    References
    ----------
    Gardner, Pleiss et al. (2018).

    Examples
    --------
    >>> import ntkrs.torch, torch
    >>> arch = ntkrs.mlp(depth=2, width=1, outputs=1, activation="erf", sigma_w=1.5, sigma_b=0.1)
    >>> kernel, X = ntkrs.torch.Kernel(arch, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    >>> target = torch.eye(4, dtype=torch.float64)
    >>> optimizer, losses = torch.optim.Adam(kernel.parameters(), lr=0.1), []
    >>> for _ in range(20):
    ...     loss = ((kernel(X) - target) ** 2).sum()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[-1] < losses[0] / 2, kernel.arch.dense[0].sigma_w == abs(kernel.sigma_w[0].item())  # the learned scales
    (True, True)
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        get: KernelName = "ntk",
        parameterization: Parameterization = "ntk",
        dtype: Any = None,
    ) -> None:
        check_dense(arch, "ntkrs.torch.Kernel")
        check_scales(arch, "ntkrs.torch.Kernel")
        super().__init__()
        self._given, self.parameterization = arch, parameterization
        self.get: KernelName = cast("KernelName", numbers.choice(get, "get", ("ntk", "nngp")))
        arch.kernel(parameterization)  # refuses what has no kernel
        if dtype not in {None, torch.float32, torch.float64}:
            raise TypeError(f"dtype is {dtype!r}, but torch.float32 or torch.float64 is needed")
        for name in ("sigma_w", "sigma_b"):
            values = [getattr(layer, name) for layer in arch.dense]
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(values, dtype=dtype)))

    @property
    def arch(self) -> Sequential:
        """The architecture with the present scales: ``kernel.arch.kernel()`` is the kernel for NumPy."""
        count = len(self._given.dense)
        found = (tensors.scales(getattr(self, name), name, count) for name in ("sigma_w", "sigma_b"))
        scales = iter(list(zip(*found, strict=True)))
        layers = list(self._given.layers)
        for index in range(0, len(layers), 2):  # dense layers and activations alternate
            sigma_w, sigma_b = next(scales)
            layers[index] = replace(layers[index], sigma_w=sigma_w, sigma_b=sigma_b)
        return Sequential(*layers)

    def __call__(self, X: Any, Z: Any = None, diag: bool = False, last_dim_is_batch: bool = False) -> Any:
        """Return the kernel between all rows of X and all rows of Z.

        Parameters
        ----------
        X : (..., N, n_0) tensor
            Inputs, float32 or float64, on the CPU. Leading axes are batches, which are evaluated one by one.
        Z : (..., M, n_0) tensor, optional
            Other inputs, by default X, at half the cost.
        diag : bool
            If True, return the entries K(x_i, z_i) alone. N and M are equal then.
        last_dim_is_batch : bool
            GPyTorch's option for kernels of single features. It must be False.

        Returns
        -------
        (..., N, M) tensor, or (..., N) if ``diag``
            In the dtype of the inputs.

        Examples
        --------
        >>> import ntkrs.torch, torch
        >>> kernel = ntkrs.torch.Kernel(ntkrs.mlp(depth=1, width=1, outputs=1))
        >>> X = torch.ones(2, 5, 3)
        >>> kernel(X).shape, kernel(X, X[0, :4]).shape, kernel(X, diag=True).shape
        (torch.Size([2, 5, 5]), torch.Size([2, 5, 4]), torch.Size([2, 5]))
        """
        return torch.nn.Module.__call__(self, X, Z, diag=diag, last_dim_is_batch=last_dim_is_batch)

    def forward(self, X: Any, Z: Any = None, diag: bool = False, last_dim_is_batch: bool = False) -> Any:
        """Return what a call returns."""
        if numbers.boolean(last_dim_is_batch, "last_dim_is_batch"):
            raise ValueError(
                "last_dim_is_batch is True, but must be False: the kernel is one of all features together. For kernels "
                "of single features pass X.transpose(-1, -2).unsqueeze(-1)."
            )
        x, z = tensors.pair(X, None if Z is X else Z)
        if numbers.boolean(diag, "diag") and z is not None and z.shape[-2] != x.shape[-2]:
            raise ValueError(f"diag is True, but X has {x.shape[-2]} rows and Z has {z.shape[-2]}: pairs are needed")
        evaluation = Evaluation(self.arch.kernel(self.parameterization), self.get, diag)
        batch = x.shape[:-2] if z is None else torch.broadcast_shapes(x.shape[:-2], z.shape[:-2])
        first = _batches(x, batch)
        second = [None] * len(first) if z is None else _batches(z, batch)
        found = [self._values(*both, evaluation) for both in zip(first, second, strict=True)]
        return torch.stack(found).reshape(*batch, *found[0].shape) if batch else found[0]

    def _values(self, x: Any, z: Any, evaluation: Evaluation) -> Any:
        """Return the kernel of two batches (N, n_0) and (M, n_0); of one if z is None."""
        same = z is not None and torch.equal(x, z)
        return KernelValues.apply(x, z, self.sigma_w, self.sigma_b, Plan(evaluation, same))

    def extra_repr(self) -> str:
        """Return the options, which the repr of a module shows."""
        return f"get={self.get!r}, parameterization={self.parameterization!r}, arch={self._given!r}"


def _batches(tensor: Any, batch: Any) -> list[Any]:
    """Return the batches (N, n_0) of a tensor (..., N, n_0), whose leading axes are first made those of ``batch``."""
    return list(tensor.expand(*batch, *tensor.shape[-2:]).flatten(0, -3)) if batch else [tensor]
