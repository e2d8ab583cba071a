"""
How much more data?
===================

``learning_curve`` predicts the test error of kernel regression for any number of samples, from the spectrum of the
kernel and the labels, without fitting anything. Here it is compared with real fits on handwritten digits.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntkrs

digits = load_digits()
X = digits.data[:500] / 16
y = np.where(digits.target[:500] % 2 == 0, 1.0, -1.0)
K = ntkrs.mlp(2, width=1, outputs=1, sigma_w=2**0.5, sigma_b=0.1).kernel()(X)
sizes = np.array([25, 50, 100, 200])
theory = ntkrs.diagnostics.learning_curve(K, y, sizes, diag_reg=1e-3)

rng = np.random.default_rng(0)
measured = []
for n in sizes:
    errors = []
    for _ in range(8):
        order = rng.permutation(len(y))
        train, test = order[:n], order[n:]
        f = ntkrs.predict.gradient_descent_mse(K[np.ix_(train, train)], y[train], diag_reg=1e-3)
        errors.append(((f(t=None, k_test_train=K[np.ix_(test, train)])[1] - y[test]) ** 2).mean())
    measured.append((np.mean(errors), np.std(errors)))

fig, ax = plt.subplots()
theory.plot(ax=ax)
mean, deviation = np.transpose(measured)
ax.errorbar(sizes, mean, deviation, fmt="s", color="#D55E00", capsize=3, label="measured, 8 draws")
ax.legend()
plt.show()

# %%
# At every size the theory is within one standard deviation of the measured errors.
