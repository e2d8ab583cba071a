"""
The cross-entropy, in function space
====================================

Only the square loss has a closed form. For any other loss, ``predict.gradient_descent`` integrates the outputs of the
infinitely wide network as an ordinary differential equation. The data are three classes of wine.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import ntkrs

X, classes = load_wine(return_X_y=True)
order = np.random.default_rng(0).permutation(len(classes))
X, classes = StandardScaler().fit_transform(X)[order], classes[order]
train, test = slice(0, 60), slice(60, None)
one_hot = np.eye(3)[classes[train]]
kernel = ntkrs.mlp(2, width=1, outputs=3, sigma_w=2**0.5, sigma_b=0.1).kernel()

times = np.logspace(-1, 3, 30)
f = ntkrs.predict.gradient_descent("softmax_cross_entropy", kernel(X[train]), one_hot, learning_rate=1.0)
outputs = f(t=times, fx_train_0=np.zeros((60, 3)), fx_test_0=np.zeros((118, 3)), k_test_train=kernel(X[test], X[train]))


def log_loss(values, labels):
    """Mean cross-entropy of the softmax."""
    return (np.log(np.exp(values).sum(axis=-1)) - values[..., np.arange(len(labels)), labels]).mean(axis=-1)


fig, ax = plt.subplots()
for values, labels, style, name in zip(
    outputs, (classes[train], classes[test]), ("-", "--"), ("training", "test"), strict=True
):
    ax.loglog(times, log_loss(values, labels), style, label=name)
ax.set(xlabel="time", ylabel="cross-entropy")
ax.legend()
plt.show()

# %%
# The loss on the training rows falls about like one over the time. The loss on the test rows levels off.
