"""The compiled core of ntkrs. Private: use the functions of ``ntkrs``.

Arrays that are passed in one tuple must share a dtype, float64 or float32. Functions write to the arrays ``out`` and
``planes``. Inputs are copied when a call begins, so other threads may change them while it runs.

Some errors can come from any function that computes, and are not repeated below:

TypeError
    From ``arrays.rs``: the arrays of a tuple are neither all float64 nor all float32, or have the wrong number of axes.
    Also if an array that must be contiguous is not.
ValueError
    From ``arrays.rs``: an array is in use by another call. From the core: an array has the wrong shape, X and Z differ
    in their number of features, an input holds NaN or an infinity, or ``NTKRS_ISA`` or ``NTKRS_NUM_THREADS`` cannot be
    honoured.
MemoryError
    From the core: a buffer could not be allocated.
RuntimeError
    From the core: threads could not be started, or a worker failed, which is a defect of ntkrs.

A call that takes ``progress`` calls it as ``progress(done, total)`` about every 50 ms. An exception raised there, or by
a signal handler, ends the call. So does an exception raised by an activation that is a Python callable.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ntkrs._typing import Array, Report, Wanted

# The name of an activation and its parameters, a function from (n,) points to φ and φ' there, or one to φ alone, with
# False.
_Activation: TypeAlias = (
    tuple[str, Sequence[float]]
    | Callable[[NDArray[np.float64]], tuple[Any, Any]]
    | tuple[Callable[[NDArray[np.float64]], Any], bool]
)
# Inputs X (N, d), and Z (M, d) or None for X.
_Batches: TypeAlias = tuple[Array, Array | None]
# The same for a kernel, which may have prepared them.
_KernelBatches: TypeAlias = tuple[Array | PreparedInputs, Array | PreparedInputs | None]
# The values (N, 1, T, n) that enter a layer, indices (N·T,) into a table, or None; and the gradients of each plane,
# (N, S, T, m).
_LayerBatch: TypeAlias = tuple[NDArray[Any] | None, Sequence[Array]]
# A convolution and its activation: window, strides, padding, (σ_w, σ_b, τ_w, τ_b), activation. A pool: window, strides.
_GridLayer: TypeAlias = (
    tuple[tuple[int, int], tuple[int, int], str, tuple[float, float, float, float], _Activation]
    | tuple[tuple[int, int], tuple[int, int]]
)
# Inputs X and Z, and the planes to write, each of shape (N, S, M, S).
_Gram: TypeAlias = tuple[Array, Array | None, Sequence[NDArray[Any]]]
_KernelGram: TypeAlias = tuple[Array | PreparedInputs, Array | PreparedInputs | None, Sequence[NDArray[Any]]]

__all__ = [
    "PROFILE",
    "VERSION",
    "ConvolutionalKernel",
    "InfiniteKernel",
    "Network",
    "PreparedInputs",
    "StoredProduct",
    "Trainer",
    "add_layer_kernel",
    "after_fork",
    "derivatives",
    "dual",
    "ensemble_ntk",
    "get_num_threads",
    "isa",
    "limit_threads",
    "linear_gram",
    "max_num_threads",
    "packed_offset",
    "peak_flops",
    "set_num_threads",
    "stored_product",
]

# lib.rs

VERSION: Final[str]
"""The version of the crate, which is that of the package."""

PROFILE: Final[str]
"""The build profile: "release", or "debug" for a build that is many times slower."""

# runtime.rs

def set_num_threads(count: int) -> None:
    """Set the number of threads that computations use.

    Raises ValueError if ``count`` is 0, or exceeds ``max_num_threads()``.
    """

def max_num_threads() -> int:
    """Return the largest number of threads that can be set: 64, or four for each processor of this process."""

def limit_threads(count: int) -> int:
    """Limit the threads of computations that this Python thread starts, and return the limit before."""

def get_num_threads() -> int:
    """Return the number of threads that computations use, with the limit of this Python thread.

    Raises ValueError if an environment variable that sets it is not a number, or exceeds ``max_num_threads()``.
    """

def after_fork() -> None:
    """Mark this process as a forked child, whose threads must be started again."""

def isa() -> str:
    """Return the name of the instruction set in use: "portable", "avx2" or "avx512".

    Raises ValueError if ``NTKRS_ISA`` names one that this machine does not have.
    """

def peak_flops(single: bool) -> float:
    """Measure the flops per second of all threads together, all operands in registers, in float32 if ``single``."""

# gram.rs

def linear_gram(arrays: tuple[Array, Sequence[NDArray[Any]]]) -> None:
    """Write ``⟨x_i, x_j⟩`` to the only plane (N, 1, N, 1), for ``arrays = (x, planes)``.

    This measures the engine alone, without a network.
    """

# stored.rs

@final
class StoredProduct:
    """The product K V of a stored symmetric matrix K of this order N with vectors V (N, r), from its rows in pieces.

    The bits depend neither on the pieces nor on the number of threads, nor on the form in which K is stored.
    """

    def __new__(cls, order: int, vectors: NDArray[np.float64]) -> StoredProduct: ...
    def add(self, start: int, rows: tuple[Array, Array | None], progress: Report | None) -> None:
        """Add rows j of the packed array, from ``start`` on: ``rows = (packed, None)``, contiguous.

        ``rows = (upper, lower)`` are rows j and h + j of K itself, for h = N // 2. Pieces come once each, in ascending
        order, from j = 0 to (N + 1) // 2, and begin at multiples of 96. They are not copied: they must not change
        during the call. After an exception the sums must not be used.

        Raises ValueError if the rows do not fit.
        """

    def total(self) -> NDArray[np.float64]:
        """Return the product, (N, r), once all rows are added.

        Raises ValueError if it is not finite.
        """

def packed_offset(order: int, i: int, j: int) -> int:
    """Return the place of entry (i, j) of a symmetric matrix of this order in the packed array, in C order."""

def stored_product(matrix: Array, vectors: NDArray[np.float64], progress: Report | None) -> NDArray[np.float64]:
    """Return K V (N, r) in float64 for a symmetric matrix K (N, N) of either dtype and vectors V (N, r).

    Entries below the diagonal are not read, except near it. The bits do not depend on the number of threads. K is not
    copied: it must not change during the call.

    Raises ValueError if the product is not finite.
    """

# activations.rs

def derivatives(activation: tuple[str, Sequence[float]], h: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return φ, φ' and φ'' at each point of ``h`` (n,), for an activation of the catalogue.

    Raises ValueError if the core has no activation of this name and these parameters.
    """

def dual(
    activation: _Activation, pairs: tuple[NDArray[np.float64], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return T and Ṫ (n,) for ``pairs = (q1, q2, c)``, variances and covariances (n,), and the truncation error.

    Raises ValueError if a variance is negative, ``|c|`` exceeds ``√(q1 q2)`` by more than rounding, the activation is
    not known, or a result exceeds float64.
    """

# prepared_inputs.rs

@final
class PreparedInputs:
    """Inputs (N, d) that stay prepared for one kernel: :meth:`InfiniteKernel.keep` returns them.

    The first call that needs them packs them, takes their norms, and runs the recursion along their diagonal.
    """

    @property
    def array(self) -> Array:
        """The inputs, (N, d). Nobody may write to them."""

# kernel.rs

@final
class InfiniteKernel:
    """The NNGP and NTK of an infinitely wide network.

    ``layers`` are (σ_w, σ_b, τ_w, τ_b) of each dense layer, τ being the learning scales. A kernel ``wanted`` is "nngp"
    or "ntk" after a dense layer, or the "part" that the layer contributes to the NTK of the whole network.

    Raises ValueError if the numbers of layers and activations do not match, a scale is out of its domain, or an
    activation has no kernel at infinite width.
    """

    def __new__(
        cls, layers: Sequence[tuple[float, float, float, float]], activations: Sequence[_Activation]
    ) -> InfiniteKernel: ...
    def keep(self, x: Array) -> PreparedInputs:
        """Return inputs (N, d) that stay prepared for this kernel from their first use on. ``x`` must not change."""

    def prepare(self, inputs: PreparedInputs, progress: Report | None) -> None:
        """Prepare inputs of :meth:`keep` now, if they are not.

        Raises ValueError as :meth:`error_bound`.
        """

    def gram(self, arrays: _KernelGram, wanted: Sequence[Wanted], progress: Report | None) -> tuple[float, float]:
        """Write each kernel to a plane (N, 1, M, 1). Return the bounds of :meth:`error_bound`.

        Raises ValueError if a kernel is not known, or overflows float64, or if another kernel prepared the inputs. All
        methods that take prepared inputs raise the latter.
        """

    def error_bound(self, inputs: _KernelBatches) -> tuple[float, float]:
        """Return bounds on the errors of Σ and Θ for all pairs of rows, round-off excluded.

        Raises ValueError if the kernel of a row with itself overflows float64.
        """

    def diag(self, x: Array | PreparedInputs, wanted: Wanted) -> NDArray[np.float64]:
        """Return the diagonal of one kernel, (N,).

        Raises ValueError as :meth:`gram`.
        """

    def multiply(
        self, inputs: _KernelBatches, vectors: NDArray[np.float64], wanted: Wanted, progress: Report | None
    ) -> NDArray[np.float64]:
        """Return K V (N, r) for vectors V (M, r), without storing K.

        Raises ValueError as :meth:`gram`, and if the product is not finite.
        """

    def scalar(self, rho: NDArray[np.float64], q: float, wanted: Wanted) -> NDArray[np.float64]:
        """Return Σ or Θ of inputs with ``|x|²/n_0 = q`` and correlation ρ, for each ρ (n,).

        Raises ValueError if a correlation is not in [−1, 1], or if q is negative or not finite.
        """

    # kernel_gradient.rs

    def gradient(
        self, arrays: _KernelGram, get: Sequence[str], tied: Sequence[tuple[bool, bool]], progress: Report | None
    ) -> tuple[float, float]:
        """Write the derivatives of each kernel to planes (N, 1, M, 1). Return the bounds of :meth:`error_bound`.

        The planes of a kernel are ∂K/∂σ_w of every dense layer, then ∂K/∂σ_b of every dense layer. ``tied`` says for
        each layer whether τ_w equals σ_w and changes with it, and whether τ_b does so with σ_b.

        Raises ValueError as :meth:`gram`.
        """

    def contracted_gradient(
        self,
        inputs: _KernelBatches,
        weights: NDArray[np.float64],
        get: Sequence[str],
        tied: Sequence[tuple[bool, bool]],
        progress: Report | None,
    ) -> tuple[NDArray[np.float64], tuple[float, float]]:
        """Return ``Σ_ij A_ij ∂K_ij`` for weights A (N, M), one sum for each plane of :meth:`gradient`, and its bounds.

        Raises ValueError as :meth:`gram`, and if a sum is not finite.
        """

    def input_gradient(
        self,
        inputs: _KernelBatches,
        weights: tuple[NDArray[np.float64], bool],
        get: Sequence[str],
        progress: Report | None,
    ) -> tuple[list[Array], tuple[float, float]]:
        """Return ``Σ_j W_ij ∂₁K(x_i, z_j)``, (N, n_0, O), for each kernel in ``get``, and the bounds of its error.

        ``weights`` are (W, True) with W (N, M), or (α, False) with ``W_ij = α_j`` and α (M, O).

        Raises ValueError as :meth:`gram`, and if a sum is not finite.
        """

# convolution.rs

@final
class ConvolutionalKernel:
    """The NNGP and NTK of an infinitely wide convolutional network, on images (N, H, W, C).

    ``head`` is "flatten" or "global_avg_pool". ``dense`` holds (σ_w, σ_b, τ_w, τ_b) of each dense layer after it, and
    the activations between them. A kernel ``wanted`` is "nngp" or "ntk", with the index of the last dense layer.

    Raises ValueError if the first layer is not a convolution, a name is not known, a window, stride or scale is out of
    its domain, or an activation has no kernel at infinite width.
    """

    def __new__(
        cls,
        layers: Sequence[_GridLayer],
        head: str,
        dense: tuple[Sequence[tuple[float, float, float, float]], Sequence[_Activation]],
    ) -> ConvolutionalKernel: ...
    def grid(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of the grid that the head sees, for images of these rows and columns.

        Raises ValueError if a window does not fit, or a circular layer follows one that breaks the circle.
        """

    def gram(self, arrays: _Gram, wanted: Sequence[Wanted], progress: Report | None) -> tuple[float, float]:
        """Write each kernel to a plane (N, 1, M, 1). Return the bounds of :meth:`error_bound`.

        Raises ValueError as :meth:`grid`, if a kernel is not known, or overflows float64.
        """

    def error_bound(self, inputs: _Batches) -> tuple[float, float]:
        """Return bounds on the errors of Σ and Θ for all pairs of images, round-off excluded.

        Raises ValueError as :meth:`grid`, and if a variance overflows float64.
        """

    def diag(self, x: Array, wanted: Wanted) -> NDArray[np.float64]:
        """Return the diagonal of one kernel, (N,).

        Raises ValueError as :meth:`gram`.
        """

    def multiply(
        self, inputs: _Batches, vectors: NDArray[np.float64], wanted: Wanted, progress: Report | None
    ) -> NDArray[np.float64]:
        """Return K V (N, r) for vectors V (M, r), without storing K.

        Raises ValueError as :meth:`gram`, and if the product is not finite.
        """

# network.rs

@final
class Network:
    """A network and its packed parameters, in float64 or float32.

    ``parameters`` are the weights (n_l, n_{l+1}) and the biases (n_{l+1},) or None. ``scales`` are four factors of each
    dense layer: of W and b, (σ_w/√n_l, σ_b), and of the derivatives with respect to them.

    Raises ValueError if the layers and activations do not fit together, or a parameter is not finite. Methods raise
    TypeError if an array does not have the dtype of the parameters.
    """

    def __new__(
        cls,
        parameters: tuple[Sequence[Array], Sequence[Array | None]],
        scales: Sequence[tuple[float, float, float, float]],
        activations: Sequence[_Activation],
    ) -> Network: ...
    def forward(self, arrays: tuple[Array, Array]) -> None:
        """Write f(x) to ``out`` (N, O), for ``arrays = (x, out)``.

        Raises ValueError if a value exceeds the dtype.
        """

    def jacobian(self, arrays: tuple[Array, Array]) -> None:
        """Write ∂f_m(x_i)/∂θ to ``out`` (N, O, P), for ``arrays = (x, out)``, with ``out`` in C order.

        Raises ValueError if a value exceeds the dtype.
        """

    def input_jacobian(self, arrays: tuple[Array, Array]) -> None:
        """Write ∂f_m(x_i)/∂x to ``out`` (N, O, n_0), for ``arrays = (x, out)``, with ``out`` in C order.

        Raises ValueError if a value exceeds the dtype.
        """

    def layers(self, arrays: tuple[Array, Sequence[Array], Sequence[Array]]) -> None:
        """Write the pre-activations and activations (N, n_l) of each hidden layer, for ``arrays = (x, pre, post)``.

        Raises ValueError if there is not one array per hidden layer, or a value exceeds the dtype.
        """

    def ntk(self, arrays: _Gram, outputs: str | int, per_layer: bool, progress: Report | None) -> None:
        """Write the empirical NTK to planes (N, S, M, S), with S = O for ``outputs="full"`` and 1 otherwise.

        There is one plane, or O for ``outputs="diagonal"``. If ``per_layer``, each dense layer has planes of its own.

        Raises ValueError if ``outputs`` is not known, or a value exceeds the dtype.
        """

    def multiply(
        self, inputs: _Batches, vectors: NDArray[np.float64], outputs: str | int, progress: Report | None
    ) -> NDArray[np.float64]:
        """Return K V in float64 for vectors V, (M, r) or (M·O, r) for ``outputs="full"``, without storing K.

        Raises ValueError as :meth:`ntk`, if ``outputs`` is "diagonal", and if the product is not finite.
        """

    # vector_products.rs

    def jvp(self, arrays: tuple[Array, Array, Array]) -> None:
        """Write J v of K vectors (K, P) to ``out`` (K, N, O), for ``arrays = (x, v, out)``.

        Raises ValueError if a value exceeds the dtype.
        """

    def vjp(self, arrays: tuple[Array, Array, Array]) -> None:
        """Write Jᵀ u of K vectors (K, N, O) to ``out`` (K, P), for ``arrays = (x, u, out)``, with ``out`` in C order.

        Raises ValueError if a value exceeds the dtype.
        """

    def loss_gradient(self, arrays: tuple[Array, Array, Array], loss: str) -> None:
        """Write the gradient of a loss with respect to θ to ``out`` (P,), for ``arrays = (x, y, out)``.

        Raises ValueError if ``loss`` is not known, or a value exceeds the dtype.
        """

# training.rs

@final
class Trainer:
    """A network in training on the batch ``arrays = (x, y)``, inputs (N, n_0) and targets (N, O).

    ``rule`` is (learning rate, momentum). If ``centred``, the model is f − f_0, with f_0 the outputs of ``network``.
    Progress counts ``total`` steps. A trainer cannot be used again after an exception.

    Raises ValueError if ``loss`` is not known, TypeError if the arrays have another dtype than the network, and
    FloatingPointError if ``centred`` and the loss is not finite.
    """

    def __new__(
        cls,
        network: Network,
        arrays: tuple[Array, Array],
        loss: str,
        rule: tuple[float, float],
        centred: bool,
        total: int,
        progress: Report | None,
    ) -> Trainer: ...
    def advance(self, steps: int, done: int, total: int, progress: Report | None) -> None:
        """Take ``steps`` steps. Progress counts all ``total`` steps, ``done`` of which were taken before.

        Raises FloatingPointError if the loss is no longer finite.
        """

    def state(self, done: int, total: int, progress: Report | None) -> tuple[float, float]:
        """Return the loss, and the distance of the parameters from their initial values, after ``done`` steps.

        Raises FloatingPointError if the loss is not finite.
        """

    def flat_since(self) -> int | None:
        """Return the number of steps after which the gradient was exactly 0 in every step so far.

        Biases of the last layer do not count if there are other layers. None if the gradient of the last step was not
        0, or if no other parameter is trained.
        """

    def outputs(self, out: Array) -> None:
        """Write the model's outputs to ``out`` (N, O).

        Raises FloatingPointError if the loss is not finite, and TypeError if ``out`` has another dtype.
        """

    def parameters(self, out: Array) -> None:
        """Write θ to ``out`` (P,), contiguous.

        Raises TypeError if ``out`` has another dtype.
        """

# ensemble.rs

def ensemble_ntk(
    network: Network,
    layers: tuple[Sequence[int], Sequence[float]],
    inputs: tuple[Array, Array | None],
    out: tuple[Array, Array],
    shape: Sequence[int],
    seeds: Sequence[int],
    outputs: str | int,
    progress: Report | None,
) -> None:
    """Write the mean and the sample variance of the empirical NTK over ``seeds``, each to an array of ``out``.

    The arrays are contiguous, with the entries of an array of ``shape`` (planes, N, S, M, S) as in :meth:`Network.ntk`.
    The networks have the activations of ``network``, biases in the same layers, and parameters drawn for each seed.
    ``layers`` are the sizes (n_0, ..., n_L) and the scale σ_w/√n_l of each dense layer. Everything is float64.

    Raises TypeError if the network or an array is not float64, and ValueError if a layer has no units.
    """

# pairs.rs

def add_layer_kernel(
    arrays: tuple[_LayerBatch, _LayerBatch | None],
    planes: Sequence[NDArray[np.float64]],
    scales: tuple[float, float],
    gradients: bool,
    part: tuple[int, int],
    progress: Report | None,
) -> None:
    """Add ``factor Σ_st (⟨a_is, a_jt⟩ + bias) ⟨g_is, g_jt⟩`` to planes (N, S, M, S) for every pair of samples i and j.

    ``arrays`` are two batches ``(values, gradients)`` of the layer; the second is None for the first, and the planes
    are symmetric then. ``scales`` is ``(factor, bias)``. If ``gradients``, the last two axes of values and gradients
    change places, and the kernel is computed from the gradients of the weights. ``part`` is the index of this layer,
    and the number of layers.

    Raises ValueError if an array holds NaN or an infinity, or an entry exceeds the range of float64.
    """
