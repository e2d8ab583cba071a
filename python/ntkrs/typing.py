"""Types of the public signatures, for the annotations of users.

- ``Array``: a result, a float32 or float64 array.
- ``ArrayLike``: numbers, nested sequences of them, and whatever NumPy converts (``SupportsArray``).
- ``Progress``, ``Report``: the values of ``progress=``, and a function that is called with (done, total).
- ``KernelName``, ``Get``: "nngp" or "ntk", and the values of ``get=``.
- ``Parameterization``, ``Outputs``, ``Loss``, ``LossScale``, ``Optimizer``, ``Record``: the values of these arguments.

Examples
--------
>>> from ntkrs import Network
>>> from ntkrs.typing import Array, ArrayLike
>>> def spread(nets: list[Network], x: ArrayLike) -> Array: ...
"""

from ntkrs._public import publish
from ntkrs._typing import (
    Array,
    Get,
    KernelName,
    Loss,
    LossScale,
    Optimizer,
    Outputs,
    Parameterization,
    Progress,
    Record,
    Report,
    SupportsArray,
)
from ntkrs._typing import Inputs as ArrayLike

__all__ = [
    "Array",
    "ArrayLike",
    "Get",
    "KernelName",
    "Loss",
    "LossScale",
    "Optimizer",
    "Outputs",
    "Parameterization",
    "Progress",
    "Record",
    "Report",
    "SupportsArray",
]

publish(globals())
