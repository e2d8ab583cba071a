"""
Equal rows, different labels
============================

Repeated rows make the kernel singular, and no network can fit two labels of one input. In the closed form, training
then ends at the mean of these labels. This needs no ridge on the diagonal.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkrs

X = np.array([[-2.0], [-1.0], [-1.0], [0.5], [0.5], [0.5], [2.0]])
y = np.array([0.0, 1.0, 0.2, -1.0, -0.6, -0.2, 0.5])
x = np.linspace(-3, 3, 200)[:, None]
kernel = ntkrs.mlp(2, width=1, outputs=1, activation="erf", sigma_w=2.0, sigma_b=0.5).kernel()

f = ntkrs.predict.gradient_descent_mse(kernel(X), y)
at_end, curve = f(t=None, k_test_train=kernel(x, X))
print("labels", y)
print("outputs at the end of training", at_end.round(12))

fig, ax = plt.subplots()
ax.plot(x, curve, label="end of training")
ax.plot(X, y, "o", color="#D55E00", label="labels")
ax.plot(X, at_end, "_", color="0.2", markersize=16, label="outputs")
ax.set(xlabel="x")
ax.legend()
plt.show()

# %%
# Where labels share an input, the curve passes through their mean. All other labels are fitted exactly.
