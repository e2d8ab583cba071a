"""
Where to pool
=============

Three convolutional networks of the same depth on digits of 8 × 8 pixels: without pooling, with one pool over the whole
image at the end, and with 2 × 2 pools between the convolutions, as in the Myrtle kernels of Shankar et al. (2020).
There are only few labels, so each point is the mean over ten draws of the training images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntkrs

digits = load_digits()
rng = np.random.default_rng(0)
chosen = rng.permutation(len(digits.target))[:300]
images, target = digits.images[chosen, ..., None] / 16, digits.target[chosen]
one_hot = np.eye(10)[target] - 0.1

conv, relu = ntkrs.Conv(1, 3, sigma_w=2**0.5, sigma_b=0.1), ntkrs.Relu()
pool, last = ntkrs.AvgPool(2), ntkrs.Dense(10)
networks = {
    "no pooling": ntkrs.Sequential(*[conv, relu] * 3, ntkrs.Flatten(), last),
    "global pooling": ntkrs.Sequential(*[conv, relu] * 3, ntkrs.GlobalAvgPool(), last),
    "local pooling": ntkrs.Sequential(conv, relu, pool, conv, relu, pool, conv, relu, ntkrs.Flatten(), last),
}

sizes = [20, 40, 80, 160]
draws = [rng.permutation(len(target)) for _ in range(10)]
fig, ax = plt.subplots()
for name, arch in networks.items():
    K = arch.kernel()(images)
    errors = np.empty((len(sizes), len(draws)))
    for row, n in zip(errors, sizes, strict=True):
        for index, order in enumerate(draws):
            train, test = order[:n], order[n:]
            f = ntkrs.predict.gradient_descent_mse(K[np.ix_(train, train)], one_hot[train], diag_reg=1e-4)
            scores = f(t=None, k_test_train=K[np.ix_(test, train)])[1]
            row[index] = np.mean(scores.argmax(axis=1) != target[test])
    ax.plot(sizes, 100 * errors.mean(axis=1), "o-", label=name)
ax.set(xscale="log", xlabel="labelled images", ylabel="error, %", ylim=(0, None))
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# One pool over the whole image makes the fewest errors. Pools of 2 × 2 pixels beat no pooling from 80 labels on.
