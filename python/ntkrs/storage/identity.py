"""The identity of a kernel matrix: everything that its bits depend on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs import _core
from ntkrs._checks import arrays, images, numbers
from ntkrs._checks.advice import shown
from ntkrs._checks.protocols import FiniteNetwork, PreparingKernel
from ntkrs.activations import Activation
from ntkrs.empirical.network_kernel import form, no_form
from ntkrs.storage.blocks import PreparedBlocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike

#: The version of the files.
_FORMAT = 1

#: The number of rows of X that are hashed at a time. Ctrl-C takes effect in between.
_ROWS = 1024

#: Fields of an identity, as messages call them.
_WORDS = {
    "format": "the version of the format",
    "order": "N",
    "dtype": "the dtype",
    "packed": "packed",
    "kernel": "the kernel",
    "get": "get",
    "outputs": "outputs",
    "theta": "the parameters of the network",
    "inputs": "X",
    "isa": "the instruction set",
}


class KernelMatrix:
    """A kernel with its inputs: a matrix to compute.

    Attributes
    ----------
    x : (N, n_0) or (N, H, W, C) ndarray
        A copy of the inputs.

    Raises
    ------
    TypeError, ValueError
        If the kernel is neither an infinite-width kernel nor a network, ``outputs`` or ``get`` belong to the other one
        or are not known, or X is refused by the kernel.
    """

    def __init__(self, kernel: Any, X: ArrayLike, get: str, outputs: str | int | None) -> None:
        self._kernel = kernel
        if not hasattr(kernel, "arch") or not callable(kernel):
            raise TypeError(
                f"kernel is {shown(kernel)}, but the kernel of an infinitely wide network, arch.kernel(), or a network "
                "is needed"
            )
        self._finite = isinstance(kernel, FiniteNetwork)
        if self._finite:
            self._choice: dict[str, Any] = {"outputs": form(kernel, get, outputs)}
            x = arrays.finite(arrays.pair(X, None, kernel.dtype)[0], "X")
        else:
            no_form(outputs)
            self._choice = {"get": numbers.choice(get, "get", ("nngp", "ntk"))}
            x = images.inputs(X, "X", kernel)
        self.x: Array = arrays.copied(x)
        self._blocks = PreparedBlocks(kernel, self.x) if isinstance(kernel, PreparingKernel) else None
        # The first row, and the diagonal: a kernel that refuses these inputs does so before any file is made.
        self.block(slice(0, 1), None, None)
        if not self._finite:
            self._check_diagonal(kernel.diag(self.x, **self._choice))

    @property
    def order(self) -> int:
        """N."""
        return len(self.x)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the matrix."""
        return self.x.dtype

    def _check_diagonal(self, diagonal: NDArray[Any]) -> None:
        """Refuse inputs whose kernel with themselves is infinite. All other entries are smaller."""
        if not np.isfinite(diagonal).all():
            row = int(np.argmin(np.isfinite(diagonal)))
            raise ValueError(
                f"the kernel of row {row} of X leaves the range of {self.dtype}. Scale X or sigma_w down"
                + (", or pass float64 inputs." if self.dtype == np.float32 else ".")
            )

    def block(
        self, rows: slice, columns: slice | None, out: NDArray[Any] | None, progress: Any = False
    ) -> NDArray[Any]:
        """Return the kernel between some rows of X and others; the same ones if ``columns`` is None."""
        if self._blocks is not None and columns is not None and out is not None:
            return self._blocks.fill(rows, columns, out, progress, **self._choice)
        x, z = self.x[rows], None if columns is None else self.x[columns]
        compute = self._kernel.ntk if self._finite else self._kernel
        result: NDArray[Any] = compute(x, z, **self._choice, out=out, progress=progress)
        return result

    def identity(self, *, packed: bool) -> dict[str, Any]:
        """Return the identity of the matrix, as JSON has it.

        Raises
        ------
        ValueError
            If an activation is a Python function without a label: its repr does not tell what it computes.
        """
        arch = self._kernel.arch
        for activation in arch.activations:
            if isinstance(activation, Activation) and activation.label is None:
                raise ValueError(
                    "an activation is a Python function, which a file cannot be compared with. Name what it computes: "
                    "Activation(fn, derivative, label='...')."
                )
        found = {
            "format": _FORMAT,
            "order": self.order,
            "dtype": self.dtype.name,
            "packed": packed,
            "kernel": f"{arch!r}, {self._kernel.parameterization!r}",
            **self._choice,
            "inputs": _digest(self.x),
            "isa": _core.isa(),
        }
        if self._finite:
            found["theta"] = _digest(self._kernel.parameters[None, :])
        return found


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return the fields in which two identities differ, in words; "" if there are none."""
    names = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    if "kernel" in names:
        return _WORDS["kernel"]
    return ", ".join(_WORDS.get(name, name) for name in names)


def remedy(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return what to do about a file of another identity."""
    same = {**found, "isa": expected["isa"]} == dict(expected)
    pin = f"Set NTKRS_ISA={found['isa']} to go on with it, or pass" if same else "Choose another path, or pass"
    return f"{pin} overwrite=True to replace it."


def _digest(matrix: NDArray[Any]) -> str:
    """Return the SHA-256 of the bytes of a matrix in C order, with its shape."""
    digest = hashlib.sha256(repr(matrix.shape).encode())
    for start in range(0, len(matrix), _ROWS):
        digest.update(np.ascontiguousarray(matrix[start : start + _ROWS]).data)
    return digest.hexdigest()
