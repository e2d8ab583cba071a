"""Types of the public signatures."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Arrays of float32 or float64.
Array: TypeAlias = NDArray[np.float64] | NDArray[np.float32]

#: Inputs as users pass them: lists, arrays, data frames, tensors on the CPU.
ArrayLike: TypeAlias = Any

#: A function that is called with (done, total).
Report: TypeAlias = Callable[[int, int], object]

#: Values of ``progress``: a callable, True for a bar, False for none, None for a bar on interactive terminals.
Progress: TypeAlias = Report | bool | None

#: Names of the kernels of an infinitely wide network.
KernelName: TypeAlias = Literal["nngp", "ntk"]

#: Values of ``get`` in ``kernel(..., get=...)``.
Get: TypeAlias = KernelName | tuple[KernelName, ...]

#: "nngp" or "ntk" with the dense layer after which it is taken, or "part" with the dense layer whose part is taken.
Wanted: TypeAlias = tuple[str, int]

#: The parameters of a network: W and b in the NTK parameterization, V and c in the standard one.
Parameterization: TypeAlias = Literal["ntk", "standard"]

#: Values of ``outputs`` in ``net.ntk(..., outputs=...)``.
Outputs: TypeAlias = Literal["full", "trace", "mean", "diagonal", "sum"] | int

#: Z of the square loss ``1/(2Z) Σ (f - y)²``: N·O for "mean", 1 for "sum".
LossScale: TypeAlias = Literal["mean", "sum"]

#: Training in continuous time, or by steps of gradient descent.
Optimizer: TypeAlias = Literal["flow", "gd"]

#: Values of ``loss`` in ``net.train(..., loss=...)``.
Loss: TypeAlias = Literal["mse", "softmax_cross_entropy"]

#: Values of ``record`` in ``net.train(..., record=...)``.
Record: TypeAlias = Literal["outputs", "kernel_drift"]
