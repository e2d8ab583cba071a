"""
How large a learning rate may be
================================

With a constant kernel, gradient descent converges at rates below ``2Z/λ_max``, where Z is the number of labels, and
diverges above. Just above that edge, a real network first diverges along the leading eigenvector, until its kernel
has changed. Then it converges after all, with a smaller λ_max. This is called the *catapult*.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkrs

rng = np.random.default_rng(0)
X, y = rng.standard_normal((20, 5)), rng.standard_normal(20)
net = ntkrs.mlp(1, width=4096, outputs=1, activation="erf", sigma_w=1.5, sigma_b=0.1).init(5, rng=0)
largest = ntkrs.predict.max_learning_rate(net.ntk(X, outputs=0), y.size)

fig, ax = plt.subplots()
for share, style in ((0.5, "-"), (0.95, "--"), (1.05, ":")):
    _, history = net.train(X, y, share * largest, steps=40, record_every=1)
    ax.semilogy(history.step, history.loss, style, label=f"{share:g} of the largest rate")
ax.set(xlabel="step", ylabel="loss of a network of 4096 units")
ax.legend()
plt.show()

# %%
# Below the largest rate, larger steps train faster. Just above it, the loss first grows, until the kernel has changed,
# and then falls after all.
