"""Types of the public signatures."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: An array of results: float32 or float64.
Array: TypeAlias = NDArray[np.float64] | NDArray[np.float32]

#: User input: lists, arrays, data frames, tensors on the CPU.
ArrayLike: TypeAlias = Any


class SupportsArray(Protocol):
    """An object that NumPy converts: arrays, data frames, tensors on the CPU.

    Examples
    --------
    >>> import numpy as np
    >>> hasattr(np.eye(2), "__array__")
    True
    """

    def __array__(self) -> NDArray[Any]: ...


#: User input where type checkers refuse nonsense: numbers, nested sequences of them, or objects that NumPy converts.
Inputs: TypeAlias = (
    SupportsArray
    | float
    | Sequence[float | SupportsArray]
    | Sequence[Sequence[float | SupportsArray]]
    | Sequence[Sequence[Sequence[float]]]
    | Sequence[Sequence[Sequence[Sequence[float]]]]
)

#: A progress callback, called with (done, total).
Report: TypeAlias = Callable[[int, int], object]

#: The values of ``progress=``: a callable, True for a bar, False for none, None for a bar in a terminal or notebook.
Progress: TypeAlias = Report | bool | None

#: A kernel of an infinitely wide network: Σ or Θ.
KernelName: TypeAlias = Literal["nngp", "ntk"]

#: The values of ``kernel(..., get=...)``.
Get: TypeAlias = KernelName | tuple[KernelName, ...]

#: A kernel for the core to compute: "nngp" or "ntk" after a dense layer, or the "part" that this layer adds to Θ.
Wanted: TypeAlias = tuple[str, int]

#: The parameters of a network: W and b (NTK parameterization), or V and c (standard parameterization).
Parameterization: TypeAlias = Literal["ntk", "standard"]

#: The values of ``net.ntk(..., outputs=...)``.
Outputs: TypeAlias = Literal["full", "trace", "mean", "diagonal", "sum"] | int

#: The divisor Z of the square loss ``1/(2Z) Σ (f - y)²``: N·O for "mean", 1 for "sum".
LossScale: TypeAlias = Literal["mean", "sum"]

#: Training in continuous time ("flow"), or in steps of gradient descent ("gd").
Optimizer: TypeAlias = Literal["flow", "gd"]

#: The values of ``net.train(..., loss=...)``.
Loss: TypeAlias = Literal["mse", "softmax_cross_entropy"]

#: The values of ``net.train(..., record=...)``.
Record: TypeAlias = Literal["outputs", "kernel_drift"]
