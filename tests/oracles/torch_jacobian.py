"""The NTK of a torch module by automatic differentiation: one backward pass for each sample and output."""

import numpy as np
import torch


def jacobian(module, inputs, outputs=lambda result: result):
    """Return ∂f_o(x_i)/∂θ of all parameters with ``requires_grad``, (N, O, P)."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    rows = []
    for i in range(len(inputs[0])):
        values = outputs(module(*(tensor[i : i + 1] for tensor in inputs)))[0]
        row = []
        for value in values if values.ndim else [values]:
            found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            pairs = zip(parameters, found, strict=True)
            row.append(torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in pairs]))
        rows.append(torch.stack(row))
    return torch.stack(rows).detach().numpy()


def kernel(module, inputs, outputs=lambda result: result):
    """Return J Jᵀ, (N, N, O, O)."""
    found = jacobian(module, inputs, outputs)
    return np.einsum("iop,jqp->ijoq", found, found)
