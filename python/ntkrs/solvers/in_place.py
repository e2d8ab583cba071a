"""BLAS and LAPACK on parts of matrices, in place.

SciPy's wrappers copy every array that is not contiguous, and parts of matrices are not. BLAS itself takes them, with
the distance of their rows or columns. So its routines are called by the addresses that ``scipy.linalg.cython_blas`` and
``cython_lapack`` publish for compiled code. Products of NumPy are no substitute: NumPy and SciPy bring a BLAS each,
whose threads wait busily for work, so that calls of both in turn take milliseconds. Arrays have unit stride along rows
or columns, and one dtype. Python signals wait for a call to end, and other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs.errors import ConvergenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.floating]


def subtract_product(C: Matrix, X: Matrix, Y: Matrix) -> None:
    """Subtract ``X Yᵀ`` from C (m, n), for X (m, k) and Y (n, k).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.in_place import subtract_product
    >>> A = np.ones((3, 3))
    >>> subtract_product(A[1:, 1:], A[1:, :1], A[1:, :1])
    >>> A.tolist()
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    # Where entries of a row are neighbours, BLAS sees the transpose of C, from which Y Xᵀ is subtracted.
    first, second = (Y, X) if _by_rows(C) else (X, Y)
    turned = b"T" if _by_rows(first) else b"N", b"N" if _by_rows(second) else b"T"
    _call("gemm", C, *turned, len(first), len(second), X.shape[1], -1.0, first, second, 1.0, C)


def subtract_square(C: Matrix, X: Matrix) -> None:
    """Subtract ``X Xᵀ`` from the lower triangle of C (n, n), for X (n, k)."""
    _call("syrk", C, _triangle(C), b"T" if _by_rows(X) else b"N", len(C), X.shape[1], -1.0, X, 1.0, C)


def factorize(C: Matrix) -> int:
    """Overwrite the lower triangle of C (n, n) by its Cholesky factor. Return 0, or the number of a failed pivot."""
    return _call("potrf", C, _triangle(C), len(C), C, 0)


def divide(B: Matrix, L: Matrix, *, transposed: bool = True) -> None:
    """Overwrite B (m, n) by ``B L⁻ᵀ``, or by ``B L⁻¹``, for the lower triangle L (n, n)."""
    # Where entries of a row are neighbours, BLAS sees the transpose: of L, and of B, divided from the left.
    side, shape = (b"L", B.shape[::-1]) if _by_rows(B) else (b"R", B.shape)
    turned = (transposed != _by_rows(B)) != _by_rows(L)
    _call("trsm", B, side, _triangle(L), b"T" if turned else b"N", b"N", *shape, 1.0, L, B)


def eigendecompose(A: Matrix) -> Matrix:
    """Overwrite A (n, n), a lower triangle stored by columns, by its eigenvectors. Return the eigenvalues, ascending.

    Divide and conquer (LAPACK's ``syevd``), as ``scipy.linalg.eigh`` does it, whose call would keep all other Python
    threads waiting.

    Raises
    ------
    ntkrs.ConvergenceError
        If the iteration does not converge.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.in_place import eigendecompose
    >>> A = np.array([[2.0, 1.0], [1.0, 2.0]], order="F")
    >>> eigendecompose(A).round(12).tolist()
    [1.0, 3.0]
    """
    values, integer = np.empty(len(A), A.dtype), np.dtype(_integer_type())

    def run(work: Any, numbers: Any, *sizes: int) -> int:
        return _call("syevd", A, b"V", b"L", len(A), A, values, work, sizes[0], numbers, sizes[1], 0)

    work, numbers = np.empty(1, A.dtype), np.empty(1, integer)
    run(work, numbers, -1, -1)  # tells the sizes of its memory
    work, numbers = np.empty(int(work[0]), A.dtype), np.empty(int(numbers[0]), integer)
    failed = run(work, numbers, work.size, numbers.size)
    if failed:
        raise ConvergenceError(f"the eigenvalues of a matrix of order {len(A)} did not converge ({failed})")
    return values


def _by_rows(A: Matrix) -> bool:
    """Return True if entries of a row are neighbours, and False if those of a column are."""
    return A.strides[1] == A.itemsize


def _triangle(C: Matrix) -> bytes:
    """Return the name of the triangle that is the lower one of C."""
    return b"U" if _by_rows(C) else b"L"


def _call(name: str, like: Matrix, *arguments: Any) -> int:
    """Call a routine for the dtype of ``like``, and return the last argument as it leaves it.

    Every argument goes by its address, and a matrix is followed by the distance of its rows or columns.
    """
    letter, real = ("s", ctypes.c_float) if like.dtype == np.float32 else ("d", ctypes.c_double)
    integer, kept = _integer_type(), list[Any]()
    for value in arguments:
        if isinstance(value, np.ndarray) and value.ndim == 1:
            kept.append(ctypes.c_void_p(value.ctypes.data))
        elif isinstance(value, np.ndarray):
            long, across = (1, 0) if _by_rows(value) else (0, 1)
            # The stride of a single line is arbitrary, and BLAS asks for its length at least.
            distance = max(1, value.shape[long], value.strides[across] // value.itemsize)
            kept += [ctypes.c_void_p(value.ctypes.data), integer(distance)]
        elif isinstance(value, bytes):
            kept.append(ctypes.c_char_p(value))
        else:
            kept.append(real(value) if isinstance(value, float) else integer(value))
    pointers = (ctypes.c_void_p, ctypes.c_char_p)
    _routine(letter + name, len(kept))(*(one if isinstance(one, pointers) else ctypes.byref(one) for one in kept))
    return int(kept[-1].value)


@cache
def _integer_type() -> Any:
    """Return the type of integers in this SciPy's BLAS."""
    return ctypes.c_int if b"int *" in _symbol("dpotrf")[1] else ctypes.c_int64


@cache
def _routine(name: str, count: int) -> Any:
    """Return a routine of so many arguments."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)(_symbol(name)[0])


def _symbol(name: str) -> tuple[int, bytes]:
    """Return the address of a routine, and its signature."""
    from scipy.linalg import cython_blas, cython_lapack

    capsules = (cython_lapack if name[1:] in {"potrf", "syevd"} else cython_blas).__pyx_capi__
    read, address = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature: bytes = read(capsules[name])
    return address(capsules[name], signature), signature
