"""
Scales learned from the data
============================

``NTKGaussianProcessRegressor`` maximizes the evidence over σ_w, σ_b and the noise, so the initial scales hardly matter.
The figure compares fits with and without learning, on 40 noisy samples of a sine.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkrs.sklearn import NTKGaussianProcessRegressor

rng = np.random.default_rng(1)
X = rng.uniform(-3, 3, (40, 1))
y = np.sin(2 * X[:, 0]) + 0.2 * rng.standard_normal(40)
x = np.linspace(-4, 4, 200)[:, None]

fixed = {"sigma_w_bounds": "fixed", "sigma_b_bounds": "fixed", "noise_bounds": "fixed"}
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), sharey=True)
for ax, title, options in ((axes[0], "given scales", fixed), (axes[1], "learned scales", {})):
    model = NTKGaussianProcessRegressor(depth=2, activation="erf", **options).fit(X, y)
    mean, deviation = model.predict(x, return_std=True)
    ax.plot(x, mean)
    ax.fill_between(x[:, 0], mean - 2 * deviation, mean + 2 * deviation, alpha=0.25, linewidth=0)
    ax.plot(X, y, ".", color="0.3")
    ax.set(
        title=f"{title}: σ_w = {np.mean(model.sigma_w_):.2f}, noise = {model.noise_:.3f}", xlabel="x", ylim=(-2.5, 2.5)
    )
plt.show()

# %%
# With the initial scales the curve is too stiff for the data. The evidence prefers a larger σ_w, and the curve
# follows the wave.
