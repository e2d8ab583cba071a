"""
The pixels that matter
======================

``kernel.input_gradient`` differentiates the kernel with respect to the inputs, and therefore every prediction too. The
figure shows how the score of the right digit changes with each pixel, for five images that were not trained on.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntkrs

digits = load_digits()
images = digits.data / 16
one_hot = np.eye(10)[digits.target] - 0.1
kernel = ntkrs.mlp(2, width=1, outputs=1, activation="erf", sigma_w=2.0, sigma_b=0.5).kernel()
alpha = ntkrs.predict.gradient_descent_mse(kernel(images[:500]), one_hot[:500], diag_reg=1e-3).coefficients()

fig, axes = plt.subplots(2, 5, figsize=(8, 3.4))
for column, index in zip(axes.T, range(1000, 1005), strict=True):
    digit = digits.target[index]
    weights = alpha[:, digit][None]  # f(x) = Σ k(x, x_i) α_i
    slope = kernel.input_gradient(images[index : index + 1], images[:500], weights=weights)[0]
    column[0].imshow(images[index].reshape(8, 8), cmap="gray_r")
    column[0].set(title=f"a {digit}")
    scale = np.abs(slope).max()
    column[1].imshow(slope.reshape(8, 8), cmap="RdBu_r", vmin=-scale, vmax=scale)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].set(ylabel="image")
axes[1, 0].set(ylabel="gradient")
plt.show()

# %%
# Where the gradient is red, more ink raises the score of the right digit; where it is blue, more ink lowers it. A 0
# must not have ink in its middle.
