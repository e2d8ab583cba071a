"""
Which features matter
=====================

The average gradient outer product of a fitted model shows which inputs it depends on. In this example of Friedman,
five of ten features enter the target, and the model finds them from 200 rows.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_friedman1

import ntkrs

X, y = make_friedman1(200, n_features=10, noise=0.5, random_state=0)
X = 2 * X - 1
kernel = ntkrs.mlp(2, width=1, outputs=1, sigma_w=2**0.5, sigma_b=0.5).kernel()
model = ntkrs.regression.KernelRegression(kernel(X), y)
A = ntkrs.regression.agop(kernel, X, model.coefficients(1e-2))

fig, ax = plt.subplots()
ax.bar(range(10), A.diagonal() / A.trace(), color=["#0072B2"] * 5 + ["0.75"] * 5)
ax.set(
    xlabel="feature", ylabel="share of the squared gradient", xticks=range(10), title="features 0 to 4 enter the target"
)
plt.show()

# %%
# The five features that enter the target have nearly all of the squared gradient.
