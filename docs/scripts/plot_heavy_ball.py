"""
Momentum in closed form
=======================

The heavy ball has a closed form, too: each eigenvector of the kernel is a damped oscillator. Lines are that formula,
and dots are a network that was trained step by step.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkrs

rng = np.random.default_rng(0)
X, y = rng.standard_normal((15, 4)), rng.standard_normal(15)
net = ntkrs.mlp(1, width=2048, outputs=1, activation="erf", sigma_w=1.5, sigma_b=0.3).init(4, rng=0)
K = net.ntk(X, outputs=0)
rate = 0.2 * ntkrs.predict.max_learning_rate(K, y.size)

fig, ax = plt.subplots()
for momentum, color in ((0.0, "#0072B2"), (0.7, "#D55E00"), (0.95, "#009E73")):
    _, history = net.train(X, y, rate, steps=100, momentum=momentum, record_every=4)
    dynamics = ntkrs.predict.gradient_descent_mse(K, y, rate, optimizer="gd", momentum=momentum)
    outputs = dynamics(t=history.step, fx_train_0=net(X)[:, 0])
    ax.semilogy(history.step, ((outputs - y) ** 2).mean(axis=1) / 2, color=color, label=f"momentum {momentum:g}")
    ax.semilogy(history.step, history.loss, ".", color=color)
ax.set(xlabel="step", ylabel="loss")
ax.legend()
plt.show()

# %%
# The dots are on the lines, also where the loss oscillates. At the lowest losses the finite width begins to show.
