"""Reading safetensors files, and rejecting files that only pickle can read."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ntkrs._checks import paths
from ntkrs.network import tensor_files

#: Suffixes of files that run code when they are read, or need the library that wrote them, with advice for each.
_REFUSED = dict.fromkeys(
    (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib"),
    "is a pickle, which can run any code when it is read. Where you trust it, load it with the library that wrote it, "
    "and pass the model (from_torch, from_sklearn), or save its state_dict by safetensors.torch.save_file.",
) | dict.fromkeys(
    (".h5", ".hdf5", ".keras"),
    "is for Keras to read. Load it there, and pass model.get_weights() to from_keras.",
)


def refuse_path(value: object, name: str, expected: str) -> None:
    """Reject a path where ``expected`` is needed.

    Raises
    ------
    TypeError
        If ``value`` is a path. The message says what to do instead.
    """
    if isinstance(value, str | os.PathLike):
        reason = _REFUSED.get(Path(value).suffix.lower(), "is a path; from_safetensors reads such files alone.")
        raise TypeError(f"{name} is {os.fspath(value)!r}, but {expected} is needed: that {reason}")


def read_file(path: Any) -> dict[str, Any]:
    """Return the arrays of a safetensors file, by name."""
    file = paths.file_path(path, "path")
    if file.suffix.lower() in _REFUSED:
        raise ValueError(
            f"path is {str(file)!r}, but a safetensors file is needed: that {_REFUSED[file.suffix.lower()]}"
        )
    with suppress(ImportError):  # where it is installed, it adds bfloat16 to NumPy
        import_module("ml_dtypes")
    with tensor_files.opened(file) as tensors:
        if tensor_files.KEY in tensors.metadata:
            raise ValueError(f"path is {str(file)!r}, a file of a Network. Read it by ntkrs.Network.load.")
        return {name: _tensor(tensors, name, file) for name in tensors.tensors}


def _tensor(tensors: tensor_files.TensorFile, name: str, file: Path) -> Any:
    """Return one array of an open file, or raise TypeError if NumPy lacks its dtype."""
    try:
        return tensors.array(name)
    except TypeError as error:
        kind = tensors.tensors[name].kind
        raise TypeError(
            f"{name!r} in {str(file)!r} has dtype {kind}, which NumPy lacks. Convert the model to float32, "
            "and save it again."
        ) from error
