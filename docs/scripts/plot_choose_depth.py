"""
Choose a depth and a ridge without refits
=========================================

Leave-one-out is exact and costs a tenth of the fit, so all depths and ridges can be compared on the training data
alone. The figure compares the error of leave-one-out with that on other rows, for the diabetes data of scikit-learn.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

import ntkrs

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)
train, test = slice(0, 300), slice(300, None)
ridges = np.logspace(-4, 2, 40)

fig, ax = plt.subplots()
for depth, color in zip((1, 2, 4), ("#0072B2", "#D55E00", "#009E73"), strict=True):
    kernel = ntkrs.mlp(depth, width=1, outputs=1, sigma_w=2**0.5, sigma_b=0.5).kernel()
    model = ntkrs.regression.KernelRegression(kernel(X[train]), y[train])
    left_out = np.sqrt(((model.loo(ridges) - y[train]) ** 2).mean(axis=1))
    ax.semilogx(ridges, left_out, color=color, label=f"depth {depth}, leave-one-out")
    K = kernel(X[test], X[train])
    found = [model.coefficients(ridge) for ridge in ridges]
    errors = [np.sqrt(((K @ dual.coefficients + dual.intercept - y[test]) ** 2).mean()) for dual in found]
    ax.semilogx(ridges, errors, "--", color=color, label=f"depth {depth}, other rows")
ax.set(xlabel="ridge, relative to the diagonal of the kernel", ylabel="root mean squared error", ylim=(50, 80))
ax.legend(fontsize=8)
plt.show()

# %%
# The minimum of leave-one-out (solid) is at about the same ridge as that of the other rows (dashed), for each depth.
# It is higher because these other rows are easier to predict than the training rows.
