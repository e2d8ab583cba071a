from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ntkrs._typing import Array, Report, Wanted

# The name of an activation and its parameters, or a function from points to its values and slopes.
_Activation: TypeAlias = tuple[str, Sequence[float]] | Callable[[NDArray[np.float64]], tuple[Any, Any]]
# Inputs x and z, and the planes to write, each of shape (N, S, M, S), all of one dtype.
_Gram: TypeAlias = tuple[Array, Array | None, Sequence[NDArray[Any]]]

__all__ = [
    "PROFILE",
    "VERSION",
    "InfiniteKernel",
    "Network",
    "Trainer",
    "after_fork",
    "derivatives",
    "ensemble_ntk",
    "get_num_threads",
    "isa",
    "linear_gram",
    "peak_flops",
    "set_num_threads",
]

VERSION: Final[str]
PROFILE: Final[str]

def isa() -> str: ...
def peak_flops(single: bool) -> float: ...
def set_num_threads(count: int) -> None: ...
def after_fork() -> None: ...
def get_num_threads() -> int: ...
def linear_gram(arrays: tuple[Array, Sequence[NDArray[Any]]]) -> None: ...
def derivatives(activation: tuple[str, Sequence[float]], h: NDArray[np.float64]) -> list[NDArray[np.float64]]: ...
def ensemble_ntk(
    network: Network,
    layers: tuple[Sequence[int], Sequence[float]],
    inputs: tuple[Array, Array | None],
    moments_out: tuple[Array, Array],
    shape: Sequence[int],
    seeds: Sequence[int],
    outputs: str | int,
    progress: Report | None,
) -> None: ...

@final
class InfiniteKernel:
    def __new__(
        cls, layers: Sequence[tuple[float, float, float, float]], activations: Sequence[_Activation]
    ) -> InfiniteKernel: ...
    def gram(self, arrays: _Gram, wanted: Sequence[Wanted], progress: Report | None) -> tuple[float, float]: ...
    def error_bound(self, inputs: tuple[Array, Array | None]) -> tuple[float, float]: ...
    def diag(self, x: Array, wanted: Wanted) -> NDArray[np.float64]: ...
    def multiply(
        self,
        inputs: tuple[Array, Array | None],
        vectors: NDArray[np.float64],
        wanted: Wanted,
        progress: Report | None,
    ) -> NDArray[np.float64]: ...
    def gradient(
        self, arrays: _Gram, get: Sequence[str], follows: Sequence[tuple[bool, bool]], progress: Report | None
    ) -> tuple[float, float]: ...
    def contracted_gradient(
        self,
        inputs: tuple[Array, Array | None],
        weights: NDArray[np.float64],
        get: Sequence[str],
        follows: Sequence[tuple[bool, bool]],
        progress: Report | None,
    ) -> tuple[NDArray[np.float64], tuple[float, float]]: ...
    def scalar(self, rho: NDArray[np.float64], q: float, wanted: Wanted) -> NDArray[np.float64]: ...

@final
class Network:
    def __new__(
        cls,
        parameters: tuple[Sequence[Array], Sequence[Array | None]],
        scales: Sequence[tuple[float, float, float, float]],
        activations: Sequence[_Activation],
    ) -> Network: ...
    def forward(self, arrays: tuple[Array, Array]) -> None: ...
    def jacobian(self, arrays: tuple[Array, Array]) -> None: ...
    def jvp(self, arrays: tuple[Array, Array, Array]) -> None: ...
    def vjp(self, arrays: tuple[Array, Array, Array]) -> None: ...
    def ntk(self, arrays: _Gram, outputs: str | int, per_layer: bool, progress: Report | None) -> None: ...

@final
class Trainer:
    def __new__(
        cls, network: Network, arrays: tuple[Array, Array], loss: str, rule: tuple[float, float], centred: bool
    ) -> Trainer: ...
    def advance(self, steps: int, done: int, total: int, progress: Report | None) -> None: ...
    def state(self) -> tuple[float, float]: ...
    def outputs(self, out: Array) -> None: ...
    def parameters(self, out: Array) -> None: ...
