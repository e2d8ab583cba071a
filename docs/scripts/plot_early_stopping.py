"""
When to stop training
=====================

``loo_flow`` gives the leave-one-out predictions of gradient flow at any time, without training. If labels are noisy,
these predictions show when to stop.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkrs

rng = np.random.default_rng(0)
X, X_test = rng.uniform(-1, 1, (150, 2)), rng.uniform(-1, 1, (1000, 2))


def truth(x):
    """Return the labels without noise."""
    return np.sin(3 * x[:, 0]) * x[:, 1]


y = truth(X) + 0.3 * rng.standard_normal(150)
kernel = ntkrs.mlp(2, width=1, outputs=1, sigma_w=2**0.5, sigma_b=0.5).kernel()
K, k = kernel(X), kernel(X_test, X)
times = np.logspace(0, 6, 40)

left_out = ((ntkrs.regression.KernelRegression(K, y).loo_flow(times) - y) ** 2).mean(axis=1)
f_train, f_test = ntkrs.predict.gradient_descent_mse(K, y - y.mean())(t=times, k_test_train=k)

error = ((f_test + y.mean() - truth(X_test)) ** 2).mean(axis=1) + 0.3**2  # of labels that have the same noise

fig, ax = plt.subplots()
ax.loglog(times, ((f_train + y.mean() - y) ** 2).mean(axis=1), ":", label="training error")
ax.loglog(times, left_out, label="leave-one-out")
ax.loglog(times, error, "--", label="test error")
ax.axvline(times[left_out.argmin()], color="0.7", zorder=0)
ax.set(xlabel="time of training", ylabel="mean squared error", ylim=(1e-2, 1))
ax.legend()
plt.show()

# %%
# Leave-one-out has its minimum (grey line) near that of the test error. The training error goes on falling.
