"""
The kernel of a network before and after training
==================================================

``from_sklearn`` takes the weights of a fitted ``MLPClassifier``. Its NTK in its own weights shows what training
changed: after it, two images of the same digit have a larger kernel. This is *feature learning*, which an infinitely
wide network in the NTK parameterization does not do.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import ntkrs

images, labels = load_digits(n_class=4, return_X_y=True)
images = images / 16
order = np.argsort(labels[:120], kind="stable")

fig, axes = plt.subplots(1, 2, figsize=(8, 3.6))
for ax, title, rate in zip(axes, ("before training", "after training"), (1e-12, 1e-3), strict=True):
    model = MLPClassifier((64,), learning_rate_init=rate, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may stop before it has converged
        model.fit(images, labels)
    net = ntkrs.convert.from_sklearn(model)
    K = net.ntk(images[order], outputs="trace")
    scale = np.sqrt(K.diagonal())
    picture = ax.imshow(K / np.outer(scale, scale), vmin=0, vmax=1)
    alignment = ntkrs.diagnostics.centred_alignment(K, np.eye(4)[labels[order]])
    ax.set(title=f"{title}: alignment {alignment:.2f}", xlabel="image, sorted by digit")
fig.colorbar(picture, ax=axes, label="cosine of the gradients")
plt.show()

# %%
# The bright blocks on the diagonal are the four digits. Training makes them brighter than the rest, and the alignment
# of the kernel with the labels grows.
