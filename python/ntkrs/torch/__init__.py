"""Kernels of infinite width as functions of PyTorch tensors, which the extra ``ntkrs[torch]`` installs.

- :class:`Kernel`: a module with the scales as parameters, and a kernel of GPyTorch where that is installed.

No other module of this package imports torch. Only :func:`ntkrs.convert.to_torch` loads it, to make its modules.

Examples
--------
>>> import ntkrs.torch, torch
>>> kernel = ntkrs.torch.Kernel(ntkrs.mlp(depth=2, width=1, outputs=1), dtype=torch.float64)
>>> X = torch.eye(3, dtype=torch.float64, requires_grad=True)
>>> kernel(X).sum().backward()
>>> X.grad.shape, kernel.sigma_w.grad.shape
(torch.Size([3, 3]), torch.Size([3]))
"""

from ntkrs._public import publish
from ntkrs._runtime.optional import require

require("torch", "PyTorch", "torch")

from ntkrs.torch.kernel import Kernel  # noqa: E402  only now is torch known to be there

__all__ = ["Kernel"]

publish(globals())
