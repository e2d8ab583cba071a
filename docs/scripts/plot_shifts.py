"""
What a shift changes
====================

This script compares an image with shifted copies of it, by their cosine in the feature space of the CNTK. Without
pooling, a shift by one pixel makes a different image. Global pooling with circular padding does not see shifts at all;
with zero padding it sees them at the edges only. Pools of 2 × 2 pixels between the convolutions lie in between.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntkrs

image = load_digits().images[0] / 16
shifts = np.arange(5)
X = np.stack([np.roll(image, shift, axis=1) for shift in shifts])[..., None]

relu, pool, last = ntkrs.Relu(), ntkrs.AvgPool(2), ntkrs.Dense(1)
zeros = ntkrs.Conv(1, 3, sigma_w=2**0.5, sigma_b=0.1)
circular = ntkrs.Conv(1, 3, sigma_w=2**0.5, sigma_b=0.1, padding="circular")
networks = {
    "no pooling": ntkrs.Sequential(*[zeros, relu] * 3, ntkrs.Flatten(), last),
    "local pooling": ntkrs.Sequential(zeros, relu, pool, zeros, relu, pool, zeros, relu, ntkrs.Flatten(), last),
    "global pooling": ntkrs.Sequential(*[zeros, relu] * 3, ntkrs.GlobalAvgPool(), last),
    "global pooling, circular": ntkrs.Sequential(*[circular, relu] * 3, ntkrs.GlobalAvgPool(), last),
}

fig, ax = plt.subplots()
for name, arch in networks.items():
    K = arch.kernel()(X)
    ax.plot(shifts, K[0] / np.sqrt(K[0, 0] * np.diag(K)), "o-", label=name)
ax.set(xlabel="shift in pixels", ylabel="cosine with the image", xticks=shifts)
ax.legend()
plt.show()

# %%
# The more a network pools, the less a shift changes. Without pooling, a shift by one pixel halves the cosine.
