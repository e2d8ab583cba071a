"""
The NTK in other estimators
===========================

``NTKKernel`` is a kernel for every estimator of scikit-learn that takes one. This script draws a map of handwritten
digits by kernel PCA.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import KernelPCA

from ntkrs.sklearn import NTKKernel

images, labels = load_digits(n_class=5, return_X_y=True)
images = (images[:500] - images.mean()) / images.std()
labels = labels[:500]
places = KernelPCA(2, kernel="precomputed").fit_transform(NTKKernel(depth=3)(images))

fig, ax = plt.subplots(figsize=(6, 4.4))
for digit in range(5):
    ax.scatter(*places[labels == digit].T, s=8, label=str(digit))
ax.set(xlabel="first component", ylabel="second component")
ax.legend(title="digit")
plt.show()

# %%
# The kernel has seen no labels, and yet the digits form clusters. Those of 2 and 3 overlap.
