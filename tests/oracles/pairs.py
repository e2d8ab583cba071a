"""The empirical NTK of recorded layers by its definition: products of per-sample gradients."""

import numpy as np


def gradients(record, *, bias):
    """Return ∂f_o/∂θ of one layer, (N, O, p): of W, and of b if ``bias``.

    ``record`` is (A, G), (indices, G) or (J,), as in ``ntkrs.empirical``, with an axis O of outputs in G and J.
    """
    if len(record) == 1:
        return np.moveaxis(np.asarray(record[0], np.longdouble), -1, 1)
    entering, leaving = record[0], np.asarray(record[1], np.longdouble)
    tokens = entering.shape[1:2] if np.issubdtype(entering.dtype, np.integer) else entering.shape[1:-1]
    if not tokens:
        entering, leaving = entering[:, None], leaving[:, None]
    if np.issubdtype(entering.dtype, np.integer):
        entering = np.eye(1 + int(entering.max(initial=0)))[entering]
    n = len(entering)
    # The index of a row comes before that in a row, so that a table of more rows has further columns at the end.
    weights = np.einsum("isko,isl->iolk", leaving, entering.astype(np.longdouble)).reshape(n, leaving.shape[-1], -1)
    return np.concatenate([weights, leaving.sum(axis=1).swapaxes(1, 2)], axis=2) if bias else weights


def kernel(records, others=None, *, bias=True, weights=None):
    """Return Σ_l w_l ⟨∂f_o/∂θ_l, ∂f_p/∂θ_l⟩, (N, M, O, O), and the sum of the absolute values of its terms."""
    total = magnitude = 0.0
    for index, record in enumerate(records):
        other = record if others is None else others[index]
        linear = len(record) == 2 and not np.issubdtype(record[0].dtype, np.integer)
        x, z = (gradients(one, bias=bias and linear) for one in (record, other))
        factor = 1.0 if weights is None else weights[index]
        width = max(x.shape[2], z.shape[2])  # the largest index may differ
        x, z = (np.pad(one, [(0, 0), (0, 0), (0, width - one.shape[2])]) for one in (x, z))
        total = total + factor * np.einsum("iop,jqp->ijoq", x, z)
        magnitude = magnitude + factor * np.einsum("iop,jqp->ijoq", abs(x), abs(z))
    return total, magnitude
