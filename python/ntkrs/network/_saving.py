"""Networks in files: arrays in the safetensors format, and the architecture as JSON in its metadata."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs import activations
from ntkrs._architecture import check_scales, parameter_shapes, parameter_views, sequential
from ntkrs._checks import arrays, numbers, paths
from ntkrs._checks.advice import shown
from ntkrs._layers import Dense
from ntkrs.activations import Polynomial
from ntkrs.errors import DamagedFileError
from ntkrs.network import tensor_files
from ntkrs.network._state import NetworkState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ntkrs._architecture import Architecture, Layer
    from ntkrs._typing import Array

#: The version of the description. A file of a later one is refused.
_VERSION = 1

#: The classes of layers that files hold, by name.
_CLASSES: dict[str, Any] = {
    "Dense": Dense,
    **{name: getattr(activations, name) for name in activations.__all__ if name != "Activation"},
}

#: Names of arrays by parameterization: the letters of the equations.
_LETTERS = {"ntk": ("W", "b"), "standard": ("V", "c")}

#: The dtypes of arrays by their names in the format.
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}


def save(state: NetworkState, path: Any) -> None:
    """Write a network to a file.

    Raises
    ------
    TypeError, ValueError
        If the path is not one, or an activation is not one of this package.
    ImportError, OSError
        As for :func:`ntkrs.network.tensor_files.write`.
    """
    file = paths.new_file(path, "path")
    description = {
        "version": _VERSION,
        "in_features": state.in_features,
        "parameterization": state.parameterization,
        "layers": [_described(index, layer, state) for index, layer in enumerate(state.arch.layers)],
    }
    named = dict(zip(_names(state.arch, state.parameterization), _parts(state.weights, state.biases), strict=True))
    tensor_files.write(file, named, json.dumps(description, allow_nan=False))


def _described(index: int, layer: Layer, state: NetworkState) -> dict[str, Any]:
    """Return the class of a layer and its parameters.

    Raises
    ------
    ValueError
        If it is an activation of the user's own. The message says how to keep the network all the same.
    """
    kind = type(layer).__name__
    if _CLASSES.get(kind) is not type(layer):
        call = "Network" if state.parameterization == "ntk" else "Network.from_standard"
        raise ValueError(
            f"layer {index} is {shown(layer)}, a function of your own, which a file cannot hold. Save net.weights and "
            f"net.biases, for example by numpy.savez, and pass them to {call}(arch, weights, biases)."
        )
    return {"type": kind, **asdict(cast("Any", layer))}


def _parts(weights: tuple[Array, ...], biases: tuple[Array | None, ...]) -> Iterator[Array]:
    """Yield weights and biases in the order of θ."""
    for weight, bias in zip(weights, biases, strict=True):
        yield weight
        if bias is not None:
            yield bias


def _names(arch: Architecture, parameterization: str) -> list[str]:
    """Return the names of the arrays in the order of θ: ``W0``, ``b0``, ``W1``, ... or ``V0``, ``c0``, ``V1``, ..."""
    weight, bias = _LETTERS[parameterization]
    letters = [(weight, bias) if dense.has_bias else (weight,) for dense in arch.dense]
    return [f"{letter}{index}" for index, pair in enumerate(letters) for letter in pair]


def load(path: Any) -> NetworkState:
    """Read a network from a file.

    Raises
    ------
    TypeError, ValueError
        If the path is not one, or the file holds no network, or one of a later version.
    DamagedFileError
        If the description or the arrays are not those of a network.
    OSError
        As for :func:`ntkrs.network.tensor_files.opened`.
    """
    file = paths.file_path(path, "path")
    with tensor_files.opened(file) as tensors:
        description = tensors.metadata.get(tensor_files.KEY)
        if description is None:
            raise ValueError(
                f"path is {str(file)!r}, which holds no network: it was not written by Network.save. The weights of "
                "other libraries are read by ntkrs.convert.from_safetensors."
            )
        arch, in_features, parameterization = _read(description, file)
        theta = _theta(tensors, (arch, in_features), _names(arch, parameterization), file)
    return NetworkState(arch, in_features, theta, cast("Any", parameterization))


def _read(text: str, file: Path) -> tuple[Architecture, int, str]:
    """Return the architecture, n_0 and the parameterization that a file describes.

    Raises
    ------
    ValueError
        If the description is of a later version.
    DamagedFileError
        If it is not one of a network.
    """
    try:
        found = json.loads(text)
        version = numbers.integer(found["version"], "version")
        if version <= _VERSION:
            return _fields(found)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFileError(
            f"path is {str(file)!r}, whose description of a network cannot be read: {error}"
        ) from error
    raise ValueError(
        f"path is {str(file)!r}, of version {version}, but this ntkrs reads files up to version {_VERSION}. "
        "Install a later ntkrs."
    )


def _fields(found: dict[str, Any]) -> tuple[Architecture, int, str]:
    """Return the architecture, n_0 and the parameterization of a description of this version."""
    arch = sequential(*(_layer(**fields) for fields in found["layers"]))
    parameterization = numbers.choice(found["parameterization"], "parameterization", tuple(_LETTERS))
    if parameterization == "ntk":
        check_scales(arch, "the NTK parameterization")
    in_features = numbers.count(found["in_features"], "in_features")
    for dense in arch.dense:
        dense.learning_scales(parameterization, in_features)
    return arch, in_features, parameterization


def _layer(type: str, **fields: Any) -> Layer:  # noqa: A002  its name in the file
    """Return the layer of a class and its parameters."""
    cls = _CLASSES[numbers.choice(type, "type", tuple(_CLASSES))]
    return cast("Layer", cls(*fields["coefficients"]) if cls is Polynomial else cls(**fields))


def _theta(tensors: tensor_files.TensorFile, sizes: tuple[Architecture, int], names: list[str], file: Path) -> Array:
    """Return θ from the arrays of a file, after checking their names, shapes, dtypes and entries.

    Raises
    ------
    DamagedFileError
        If one of them is not as the description says.
    """
    found = tensors.tensors
    kinds = sorted({part.kind for part in found.values()})
    wanted = dict(zip(names, parameter_shapes(*sizes), strict=True))
    reason = ""
    if sorted(found) != sorted(names):
        reason = f"it has the arrays {', '.join(sorted(found)) or 'none'}, but {', '.join(names)} are needed"
    elif len(kinds) > 1 or kinds[0] not in _DTYPES:
        reason = f"its arrays are {' and '.join(kinds)}, but all must be F32, or all F64"
    else:
        for name, (_, shape) in wanted.items():
            if found[name].shape != shape:
                reason = f"{name} has shape {found[name].shape}, but the architecture needs {shape}"
                break
    if reason:
        raise DamagedFileError(f"path is {str(file)!r}, which does not hold its network: {reason}.")
    theta = cast("Array", np.empty(sum(size for size, _ in wanted.values()), _DTYPES[kinds[0]]))
    views = _parts(*cast("Any", zip(*parameter_views(*sizes, theta), strict=True)))
    for name, view in zip(names, views, strict=True):
        tensors.read(name, view)
        try:
            arrays.finite(view, f"{name} of {str(file)!r}")
        except ValueError as error:
            raise DamagedFileError(str(error)) from None
    return theta
