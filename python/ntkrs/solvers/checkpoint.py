"""Files from which an iteration continues to the same bits, after the process or the machine has died."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._runtime.files import replaced
from ntkrs.errors import DamagedFileError
from ntkrs.solvers.pcg import State
from ntkrs.solvers.preconditioners import LowRank
from ntkrs.storage import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from ntkrs.solvers.sources import Source

#: The version of the format.
_VERSION = 1

#: The name of the member of a file that holds the identity of the problem.
_IDENTITY = "identity"

#: The errors of reading a damaged file. zipfile raises RuntimeError for flags of encryption and unknown compression.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, zipfile.BadZipFile)


class Checkpoint:
    """The state of an iteration in the file ``path``, and its preconditioner in ``path + ".preconditioner"``.

    Files are written beside, flushed to the disk and then renamed, so that a crash leaves the older one or the newer.

    Parameters
    ----------
    path : str
        The path.
    identity : dict
        The problem, as :func:`identity` describes it. Files of another one are refused.

    Raises
    ------
    ValueError
        If the file belongs to another problem, or is damaged.
    """

    def __init__(self, path: str, identity: Mapping[str, Any]) -> None:
        self._paths = {"state": path, "preconditioner": f"{path}.preconditioner"}
        self._identity = json.dumps(identity, sort_keys=True)

    def state(self) -> tuple[State, bool] | None:
        """Return the state on the disk, and True if the iteration has ended; None if there is no file."""
        found = self._read("state")
        if found is None:
            return None
        ended = bool(found.pop("ended"))
        found |= {name: int(found[name]) for name in ("iteration", "products", "rank")}
        return State(**found), ended

    def preconditioner(self) -> LowRank | None:
        """Return the preconditioner on the disk; None if there is no file."""
        found = self._read("preconditioner")
        return None if found is None else LowRank(**found)

    def save_preconditioner(self, preconditioner: LowRank) -> None:
        """Write a preconditioner."""
        self._write("preconditioner", {"vectors": preconditioner.vectors, "values": preconditioner.values})

    def save(self, state: State, *, ended: bool = False) -> None:
        """Write a state."""
        self._write("state", state.arrays() | {"ended": ended})

    def _write(self, kind: str, arrays: Mapping[str, Any]) -> None:
        """Write a file beside, flush it, and rename it."""
        path = Path(self._paths[kind])
        members: dict[str, Any] = {_IDENTITY: np.array(self._identity), **arrays}
        with replaced(path) as file:
            np.savez(file, **members)
        files.synchronize_names(path.parent)

    def _read(self, kind: str) -> dict[str, Any] | None:
        """Return the arrays of a file by name, or None if there is none."""
        path = self._paths[kind]
        try:
            with Path(path).open("rb") as file:
                found = _loaded(file)
        except FileNotFoundError:
            return None
        except _DAMAGE as error:
            raise DamagedFileError(f"checkpoint {path} is damaged: {error}. Delete it to start anew.") from error
        if str(found.pop(_IDENTITY)) != self._identity:
            raise ValueError(
                f"checkpoint {path} belongs to another problem: K, y, diag_reg, tolerance, preconditioner, rank or rng "
                "differ. Delete it to start anew, or pass another path."
            )
        return found


def identity(source: Source, arrays: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a problem from others: digests of K and of arrays, and plain arguments.

    An array K is told by its diagonal and a product with a fixed vector, anything else by its diagonal and columns, or
    by a product if it has no columns. None of them depends on the number of threads.
    """
    parts: list[Any] = [source.diagonal()] if source.has_columns else []
    n = source.shape[0]
    if source.matrix is not None:
        probe = np.random.default_rng(0).standard_normal(n)
        parts += [np.multiply(row, probe, dtype=np.float64).sum() for row in source.matrix]
    elif source.has_columns:
        parts.append(source.columns(np.unique([0, n // 2, n - 1])))
    else:
        parts.append(source.product(np.random.default_rng(0).standard_normal((n, 1))))
    return {
        "version": _VERSION,
        "shape": list(source.shape),
        "dtype": source.dtype.str,
        "exponent": source.exponent,
        "K": _digest(*parts),
        **{name: _digest(values) for name, values in arrays.items()},
        **arguments,
    }


def _digest(*arrays: Any) -> str:
    """Return a SHA-256 digest of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array)
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.data if values.size else b"")
    return digest.hexdigest()


def _loaded(file: BinaryIO) -> dict[str, Any]:
    """Return all arrays of an .npz file, whose checksums are verified."""
    with np.load(file, allow_pickle=False) as archive:
        if _IDENTITY not in archive.files:
            raise ValueError("it is not a checkpoint")
        return {name: archive[name] for name in archive.files}
