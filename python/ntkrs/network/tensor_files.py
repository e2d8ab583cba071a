"""Files in the safetensors format, which hold arrays and no code.

A file is read, not mapped into memory: where another process truncates it meanwhile, that is an error, and not the end
of this process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs._runtime.files import replaced
from ntkrs.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from numpy.typing import NDArray

    from ntkrs._typing import Array

#: The entry of the metadata that describes a network.
KEY = "ntkrs"

#: The entry of a header that is not an array.
_METADATA = "__metadata__"

#: The names of dtypes in the format, and of their types in NumPy, or in ml_dtypes, which adds some to NumPy.
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "BOOL": "bool",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}

#: The most bytes of a header, as other readers have it.
_HEADER = 100_000_000

#: The number of bytes in one call of the system. Ctrl-C takes effect in between.
_CALL = 1 << 24


class Tensor(NamedTuple):
    """The dtype of an array by its name in the format, its shape, and the bytes of the file that hold it."""

    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile:
    """An open file of arrays.

    Attributes
    ----------
    metadata : dict
        Strings by name.
    tensors : dict
        The arrays by name.
    """

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file, self._path = file, path
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(self._bytes(0, min(8, size)).tobytes(), "little")
        if size < 8 or length > min(size - 8, _HEADER):
            raise ValueError(f"its header has {length} bytes, but the file has {size}")
        header = json.loads(self._bytes(8, 8 + length).tobytes())
        if not isinstance(header, dict):
            raise TypeError(f"its header is a {type(header).__name__}, but an object of JSON is needed")
        self.metadata: dict[str, str] = dict(header.pop(_METADATA, {}))
        self.tensors = {name: _tensor(fields, 8 + length) for name, fields in header.items()}
        end = 8 + length
        for tensor in sorted(self.tensors.values(), key=lambda one: (one.start, one.stop)):
            if tensor.start != end:
                raise ValueError(f"its arrays do not follow each other: one begins at {tensor.start}, not at {end}")
            end = tensor.stop
        if end != size:
            raise ValueError(f"its arrays end at {end}, but the file has {size} bytes")

    def read(self, name: str, target: NDArray[Any]) -> None:
        """Fill a contiguous array of the dtype and shape of the array of this name."""
        tensor = self.tensors[name]
        self._fill(target.reshape(-1).view(np.uint8), tensor.start)

    def array(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises
        ------
        TypeError
            If NumPy lacks its dtype.
        """
        tensor = self.tensors[name]
        result = np.empty(tensor.shape, np.dtype(_TYPES.get(tensor.kind, tensor.kind)))
        self.read(name, result)
        return result

    def _bytes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return bytes of the file."""
        found = np.empty(stop - start, np.uint8)
        self._fill(found, start)
        return found

    def _fill(self, target: NDArray[np.uint8], start: int) -> None:
        """Fill an array with the bytes of the file from ``start`` on."""
        self._file.seek(start)
        done, view = 0, memoryview(target.data)
        while done < len(view):
            count = self._file.readinto(view[done : done + _CALL])
            if not count:
                raise _damaged(self._path, "it is shorter than its header says: it was truncated")
            done += count


def _tensor(fields: Any, begin: int) -> Tensor:
    """Return an array of a header. Offsets in it count from ``begin``."""
    kind, shape, (start, stop) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
        raise ValueError(f"a shape or offset is not a number >= 0: {fields}")
    if kind in _TYPES and stop - start != math.prod(shape) * _itemsize(kind):
        raise ValueError(f"an array {kind} of shape {shape} does not take {stop - start} bytes")
    return Tensor(kind, shape, begin + start, begin + stop)


def _itemsize(kind: str) -> int:
    """Return the bytes of a number."""
    return 1 if kind == "BOOL" else int(kind.lstrip("BFIU")) // 8


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Yield an open file.

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    DamagedFileError
        If it is incomplete, or of another format, when it is opened or when an array is read.
    """
    with path.open("rb", buffering=0) as file:
        try:
            found = TensorFile(file, path)
        except DamagedFileError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _damaged(path, error) from error
        yield found


def _damaged(path: Path, error: object) -> DamagedFileError:
    """Return the error of a file that cannot be read."""
    return DamagedFileError(f"path is {str(path)!r}, which is not a complete safetensors file: {error}")


def write(path: Path, arrays: dict[str, Array], description: str) -> None:
    """Write arrays and the description of a network. A crash leaves the old file or the new one.

    Raises
    ------
    ImportError
        If the package safetensors is missing.
    OSError
        If the file cannot be written.
    """
    _package()
    from safetensors.numpy import save

    content = save(arrays, {KEY: description})
    with replaced(path) as file:
        file.write(content)


def _package() -> Any:
    """Return the package safetensors, or raise ImportError."""
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            "safetensors files are read and written by the safetensors package: pip install 'ntkrs[convert]'"
        ) from None
    return safetensors
