"""
Kernels against the angle
=========================

On a sphere, the kernel of an infinitely wide network is a function of the angle between two inputs. Its shape tells
how smooth the network's functions are: a kink at angle 0, as for ReLU, makes them rough.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkrs

angle = np.linspace(0, np.pi, 200)
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), sharey=True)
for name, style in [("relu", "-"), ("gelu", "--"), ("erf", "-."), ("sin", ":")]:
    for ax, get in zip(axes, ("nngp", "ntk"), strict=True):
        kernel = ntkrs.mlp(depth=3, width=1, outputs=1, activation=name, sigma_w=1.5).kernel()
        values = kernel.scalar(np.cos(angle), get=get)
        ax.plot(np.degrees(angle), values / values[0], style, label=name)
        ax.set(xlabel="angle between the inputs (degrees)", title=get.upper())
axes[0].set_ylabel("kernel, relative to angle 0")
axes[0].legend()
plt.show()

# %%
# Functions of networks with erf or sine are odd if there are no biases, so their kernels are −1 at 180°. ReLU and
# GELU treat x and −x differently, and their kernels stay positive.
