"""
Intervals for new targets
=========================

``NTKRegressor.predict_interval`` gives an interval for each new target, by the jackknife+. It assumes only that rows
are exchangeable, and not that the noise is Gaussian.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from ntkrs.sklearn import NTKRegressor

X, y = load_diabetes(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
X, y = StandardScaler().fit_transform(X)[order], y[order]
model = NTKRegressor().fit(X[:300], y[:300])

low, high = model.predict_interval(X[300:], coverage=0.8).T
inside = (low <= y[300:]) & (y[300:] <= high)
print(f"depth {model.depth_}; {inside.mean():.1%} of the targets are inside their 80 % intervals")

# %%
# The figure has the new rows, sorted by their prediction. Targets outside their interval are marked.

rank = np.argsort(model.predict(X[300:]))
fig, ax = plt.subplots(figsize=(8, 3.4))
place = np.arange(len(rank))
ax.fill_between(
    place, low[rank], high[rank], step="mid", color="#0072B2", alpha=0.25, linewidth=0, label="80 % interval"
)
ax.plot(place[inside[rank]], y[300:][rank][inside[rank]], ".", color="0.3", label="target")
ax.plot(place[~inside[rank]], y[300:][rank][~inside[rank]], "x", color="#D55E00", label="target outside")
ax.set(xlabel="new row, sorted by prediction", ylabel="disease progression")
ax.legend(fontsize=8)
plt.show()

# %%
# About a fifth of the targets are outside, as they should be for 80 %. The intervals have about the same length
# everywhere except at the right end, where training rows are few.
