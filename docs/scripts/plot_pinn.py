"""
Loss weights of a physics-informed network
==========================================

A network u solves u'' = q with u = 0 at both ends. Its loss has two parts: residuals r = u'' − q inside, and values of
u at the boundary. The kernel of both together has the blocks K_uu, K_ur and K_rr. Wang, Yu & Perdikaris (2022) read
from it why training fails: residuals have large eigenvalues and are learned first, and the boundary is learned last.
They weight each part by the trace of the kernel over the trace of its own block.

:func:`~ntkrs.jacobian_ntk` adds up per-sample gradients of any origin. Here NumPy has them in closed form.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkrs

rng = np.random.default_rng(0)
width = 500
w, b, v = rng.normal(size=(3, width))
w *= 4
inside, ends = np.linspace(0, 1, 64)[:, None], np.array([[0.0], [1.0]])


def gradients(x):
    """Return the gradients of u(x) = v·tanh(w x + b)/√width, and of u'', with respect to v, w and b."""
    t = np.tanh(x * w + b)
    t1 = 1 - t**2
    t2, t3 = -2 * t * t1, t1 * (6 * t**2 - 2)
    of_u = t, v * x * t1, v * t1
    of_second = w**2 * t2, v * (2 * w * t2 + w**2 * x * t3), v * w**2 * t3
    return of_u, of_second


boundary, residuals = gradients(ends)[0], gradients(inside)[1]
K = ntkrs.jacobian_ntk([np.vstack(both) / width**0.5 for both in zip(boundary, residuals, strict=True)])
parts = {"boundary": slice(0, 2), "residuals": slice(2, None)}

# %%
# The kernel of two losses, each the mean over its points, is K times their weights over the numbers of points. Its root
# on both sides makes it symmetric, so :mod:`ntkrs.predict` follows the training in closed form.

start = np.concatenate([(gradients(ends)[0][0] @ v), (gradients(inside)[1][0] @ v)]) / width**0.5
target = np.concatenate([np.zeros(2), -((4 * np.pi) ** 2) * np.sin(4 * np.pi * inside[:, 0])])
counts = np.array([2.0] * 2 + [64.0] * 64)
traces = {name: K[part, part].trace() / counts[part][0] for name, part in parts.items()}
weighted = np.concatenate([np.full(2, 1 / traces["boundary"]), np.full(64, 1 / traces["residuals"])])

fig, axes = plt.subplots(1, 2, sharey=True)
times = np.geomspace(1e-1, 1e6, 100)
for ax, weights, title in zip(axes, (np.ones(66), weighted), ("weights 1", "weights by the traces"), strict=True):
    root = np.sqrt(weights / counts)
    kernel = root[:, None] * K * root
    fastest = np.linalg.eigvalsh(kernel)[-1]
    predict = ntkrs.predict.gradient_descent_mse(kernel, root * target, loss_scale="sum")
    f = predict(times / fastest, fx_train_0=root * start) / root
    for name, part in parts.items():
        error = np.linalg.norm(f[:, part] - target[part], axis=1) / np.linalg.norm(start[part] - target[part])
        ax.loglog(times, error, label=name)
    ax.set(title=title, xlabel="time · largest eigenvalue", ylim=(1e-3, 1e2))
axes[0].set_ylabel("error over that at the start")
axes[0].legend()
plt.show()

# %%
# With weights 1 the error at the boundary grows tenfold before it falls. Weighted by the traces, it falls before the
# error of the residuals does.
