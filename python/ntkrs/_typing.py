"""Types of the public signatures."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: What users may hold: float32 or float64.
Array: TypeAlias = NDArray[np.float64] | NDArray[np.float32]

#: What inputs may be: lists, arrays, data frames, tensors on the CPU.
ArrayLike: TypeAlias = Any

#: Called with (done, total).
Report: TypeAlias = Callable[[int, int], object]

#: What ``progress=`` takes: a callable, True for a bar, False for none, None for a bar where one would be missed.
Progress: TypeAlias = Report | bool | None

#: Which kernel of an infinitely wide network.
KernelName: TypeAlias = Literal["nngp", "ntk"]

#: What ``kernel(..., get=...)`` takes.
Get: TypeAlias = KernelName | tuple[KernelName, ...]

#: "nngp", "ntk" or "part", and the dense layer after which, or whose part.
Wanted: TypeAlias = tuple[str, int]

#: What a network's parameters are: W and b of the NTK parameterization, or V and c of the standard one.
Parameterization: TypeAlias = Literal["ntk", "standard"]

#: What ``net.ntk(..., outputs=...)`` takes.
Outputs: TypeAlias = Literal["full", "trace", "mean", "diagonal", "sum"] | int

#: Z of the square loss ``1/(2Z) Σ (f - y)²``: N·O, or 1.
LossScale: TypeAlias = Literal["mean", "sum"]

#: Training in continuous time, or in steps of gradient descent.
Optimizer: TypeAlias = Literal["flow", "gd"]

#: What ``net.train(..., loss=...)`` takes.
Loss: TypeAlias = Literal["mse", "softmax_cross_entropy"]

#: What ``net.train(..., record=...)`` takes.
Record: TypeAlias = Literal["outputs", "kernel_drift"]
