"""
Which training images does a prediction depend on?
==================================================

Near the end of training a network is close to its linearization, which is a kernel regression with its empirical NTK.
There the prediction without one training image is known exactly, for all images at once
(:meth:`~ntkrs.regression.KernelRegression.influence`). This script trains a network to tell the digits 3 and 8 apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntkrs

images, labels = load_digits(return_X_y=True)
chosen = np.isin(labels, (3, 8))
X, y = images[chosen] / 16, np.where(labels[chosen] == 8, 1.0, -1.0)
train, test = slice(0, 250), slice(250, None)

net = ntkrs.mlp(depth=1, width=200, outputs=1, activation="relu", sigma_w=1.4, sigma_b=0.1).init(64, rng=0)
net, _ = net.train(X[train], y[train, None], learning_rate=0.5, steps=300)

# The linearized model learns what is left of the labels.
left = y[train] - net(X[train])[:, 0]
model = ntkrs.regression.KernelRegression(net.ntk(X[train], outputs=0), left, intercept=False)
influence = model.influence(1e-2, net.ntk(X[test], X[train], outputs=0))

# %%
# The figure has a row for each of the three test images that the network is least sure of. It shows the training images
# whose labels pull the prediction hardest towards "8", and towards "3".

unsure = np.argsort(abs(net(X[test])[:, 0]))[:3]
fig, axes = plt.subplots(3, 7, figsize=(6.4, 3.4))
for row, index in zip(axes, unsure, strict=True):
    order = np.argsort(influence[index])
    shown = [X[test][index], *X[train][order[:-4:-1]], *X[train][order[:3]]]
    pulls = [None, *influence[index][order[:-4:-1]], *influence[index][order[:3]]]
    for ax, image, pull in zip(row, shown, pulls, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[], xlabel="test image" if pull is None else f"{pull:+.4f}")
axes[0, 2].set_title("towards 8")
axes[0, 5].set_title("towards 3")
plt.show()

# %%
# The number below a training image is its part in the prediction, which would be missing without it. Only few of the
# 250 images matter.
