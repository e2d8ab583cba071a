"""
Spectra, and the labels in them
===============================

The part of the labels that lies along the leading eigenvectors of a kernel is learned first. ``spectrum`` shows how the
eigenvalues fall, and how much of the labels the leading eigenvectors hold.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntkrs

digits = load_digits()
X = digits.data[:500] / 16
labels = np.eye(10)[digits.target[:500]] - 0.1
both = ntkrs.mlp(3, width=1, outputs=1, sigma_w=2**0.5).kernel()(X, get=("nngp", "ntk"))
spectra = {name: ntkrs.diagnostics.spectrum(K, labels) for name, K in (("NNGP", both.nngp), ("NTK", both.ntk))}

index = np.arange(1, 501)
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.4))
for name, found in spectra.items():
    shares = found.eigenvalues / found.eigenvalues.sum()
    axes[0].loglog(index, shares, label=f"{name}: effective rank {found.effective_rank_entropy:.0f}")
    axes[1].semilogx(index, np.cumsum(found.label_energy), label=name)
axes[0].set(xlabel="index", ylabel="eigenvalue / trace")
axes[1].set(xlabel="leading eigenvectors", ylabel="share of the labels")
axes[0].legend()
axes[1].legend()
plt.show()

# %%
# The eigenvalues of the NTK fall more slowly, so its effective rank is larger. For both kernels, ten of 500
# eigenvectors hold more than half of the labels.
