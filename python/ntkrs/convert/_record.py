"""Recording torch modules: activations and gradients of all layers, for :func:`ntkrs.empirical_ntk`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import memory, numbers
from ntkrs.convert._torch_calls import array
from ntkrs.convert._torch_groups import check_tied, joined
from ntkrs.convert._torch_pass import Arrays, Tape, batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, Outputs
    from ntkrs.convert._torch_calls import Call
    from ntkrs.empirical import Block, Linear, Lookup

#: The largest number of entries of a parameter whose gradients are computed sample by sample.
_LARGEST = 1 << 16


class Recording(list["Linear | Lookup | Block"]):
    """The records of a module, one for each layer: a list with names.

    Attributes
    ----------
    names : tuple of str
        The name of the layer of each record, as in ``module.named_modules()``, or of a single parameter.

    Examples
    --------
    >>> import numpy as np, ntkrs, torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
    >>> ntkrs.convert.record(module, np.eye(3)).names
    ('0', '1.weight', '1.bias', '2')
    """

    names: tuple[str, ...] = ()


def record(
    module: Any,
    X: ArrayLike | tuple[ArrayLike, ...],
    *,
    outputs: Outputs | Callable[[Any], Any] = "full",
    layers: Sequence[str] | None = None,
    batch_size: int = 32,
) -> Recording:
    """Record the activations and gradients of a PyTorch module, from which :func:`ntkrs.empirical_ntk` gives its NTK.

    Parameters
    ----------
    module : torch.nn.Module
        A module that maps N samples to N results, each of which depends on its own sample alone. So it must be in
        evaluation mode. The module does not change.
    X : (N, ...) array_like or tensor, or a tuple of them
        Inputs; a tuple is passed as several arguments. Arrays of real numbers take the dtype and the device of the
        module.
    outputs : str, int or callable
        As for :func:`ntkrs.empirical_ntk`; pass the same value there. ``"sum"`` and an integer take one backward pass,
        all others O of them. A function maps the result of the module to a tensor (N,) or (N, O).
    layers : sequence of str, optional
        The names of the modules to record, as in ``module.named_modules()``, with all inside them. By default all.
    batch_size : int
        The number of samples in a forward pass. It bounds the memory of the passes, and changes nothing else.

    Returns
    -------
    Recording
        A list of :class:`~ntkrs.empirical.Linear`, :class:`~ntkrs.empirical.Lookup` and
        :class:`~ntkrs.empirical.Block`, with ``names``. Parameters with ``requires_grad=False`` are left out.

    Raises
    ------
    TypeError, ValueError
        If a layer cannot be read, or mixes samples. The message names it.
    MemoryError
        If the per-sample gradients of a parameter do not fit in memory.

    Notes
    -----
    Hooks read linear and convolutional layers (the patches of an image are its tokens), embeddings, and the scales and
    biases of layer, group, batch and RMS normalization. Other parameters of at most 65 536 entries, such as positional
    embeddings, take a backward pass for each sample and output. A larger one is an error that names it.

    A matrix that several layers share, or that is used several times, is one record with their tokens side by side. An
    embedding that is also the last layer is refused.

    The gradients of the first sample are compared with those of automatic differentiation, alone and in its batch.

    All activations and gradients of the layers are held: N·T·(n + m·O) numbers each. With ``layers=`` they can be
    recorded in parts, whose kernels add up.

    Examples
    --------
    >>> import ntkrs, torch
    >>> from torch.nn import Conv1d, Flatten, Linear, Sequential, Tanh
    >>> module, X = Sequential(Conv1d(2, 3, 3), Tanh(), Flatten(), Linear(9, 2)), torch.ones(4, 2, 5)
    >>> ntkrs.empirical_ntk(ntkrs.convert.record(module, X)).shape
    (4, 4, 2, 2)
    """
    torch = _library(module)
    size = numbers.count(batch_size, "batch_size")
    _check_mode(torch, module)
    parameters = _parameters(module, layers)
    inputs = _inputs(torch, module, X)
    tape = Tape(torch, module, parameters, outputs if callable(outputs) else _choice(outputs))
    rest, first = _check_first(tape, inputs)
    calls, arrays = _all_batches(tape, inputs, size)
    _check_same_rows(tape, calls, arrays, first)
    records = joined(calls, arrays)
    records += _sample_by_sample(tape, inputs, rest)
    result = Recording(record for _, record in records)
    result.names = tuple(name for name, _ in records)
    return result


def _library(module: Any) -> Any:
    """Return torch, which a module of it has imported.

    Raises
    ------
    TypeError
        If ``module`` is not a torch.nn.Module.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is a {type(module).__name__}, but a torch.nn.Module is needed")
    return torch


def _choice(outputs: Any) -> Any:
    """Return ``outputs`` after its checks: a name or an index."""
    return numbers.selection(outputs, sys.maxsize)


def _check_mode(torch: Any, module: Any) -> None:
    """Check that no layer mixes samples or draws random numbers.

    Raises
    ------
    ValueError
        If one does. The message names it.
    """
    nn = torch.nn
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    dropouts = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    for name, layer in module.named_modules():
        where = f"{name or 'module'} ({type(layer).__name__})"
        mixes = isinstance(layer, norms)
        if mixes and layer.running_mean is None:
            raise ValueError(f"{where} mixes the samples of a batch, since it has no running statistics. Replace it.")
        if layer.training and (mixes or (isinstance(layer, dropouts) and layer.p > 0)):
            does = "mixes the samples of a batch" if mixes else "draws random numbers"
            raise ValueError(f"{where} {does} in training mode. Call module.eval() first.")


def _parameters(module: Any, layers: Sequence[str] | None) -> dict[str, Any]:
    """Return the trained parameters of a module, or of some of its layers, by name.

    Raises
    ------
    ValueError
        If there are none, or no layer of such a name.
    """
    if isinstance(layers, str):
        raise TypeError(f"layers is {layers!r}, but a sequence of names is needed: layers=[{layers!r}]")
    known = [name for name, _ in module.named_modules()]
    for name in layers or ():
        if name not in known:
            raise ValueError(f"layers names {name!r}, but the module has {', '.join(map(repr, known))}")

    def wanted(name: str) -> bool:
        return layers is None or any(not layer or name.startswith(f"{layer}.") for layer in layers)

    found = {name: value for name, value in module.named_parameters() if value.requires_grad and wanted(name)}
    if not found:
        raise ValueError("no parameter is trained: all have requires_grad=False, or stand outside of layers")
    return found


def _inputs(torch: Any, module: Any, X: Any) -> tuple[Any, ...]:
    """Return the inputs as tensors.

    Raises
    ------
    ValueError
        If there is no sample, or inputs differ in their number of samples.
    """
    reference = next(value for value in module.parameters() if value.is_floating_point())

    def tensor(values: Any) -> Any:
        if isinstance(values, torch.Tensor):
            return values
        found = torch.as_tensor(np.ascontiguousarray(values))
        return found.to(reference.device, reference.dtype if found.is_floating_point() else None)

    inputs = tuple(tensor(values) for values in (X if isinstance(X, tuple) else (X,)))
    lengths = {len(values) if values.ndim else 0 for values in inputs}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"X has {sorted(lengths)} samples, but at least 1, in all inputs, is needed")
    return inputs


def _check_first(tape: Tape, inputs: tuple[Any, ...]) -> tuple[dict[str, Any], list[Arrays]]:
    """Compare the gradients of the first sample with those of automatic differentiation.

    Returns the parameters that no recorded call explains, by name, and the arrays of the calls.

    Raises
    ------
    ValueError, TypeError
        If a layer is used in another way than by its calls, or a parameter cannot be read.
    """
    first = tuple(tensor[:1] for tensor in inputs)
    calls, arrays = tape.run(first)
    check_tied(calls)
    found = next(tape.parameter_gradients(first, list(tape.parameters.values())))
    gradients = dict(zip(tape.parameters, found, strict=True))
    explained = _explained(tape, calls, arrays)
    _check_explained(tape.parameters, gradients, explained)
    unread = {name: value for name, value in tape.parameters.items() if id(value) not in explained}
    rest = {name: value for name, value in unread.items() if gradients[name] is not None}
    for name, parameter in rest.items():
        if parameter.numel() > _LARGEST:
            owner = tape.owner(name)
            raise TypeError(
                f"{name} of {type(owner).__name__} has {parameter.numel()} entries, but this layer cannot be read, and "
                f"at most {_LARGEST} entries are differentiated sample by sample. Write it with Linear, freeze it, or "
                "leave it out by layers=[...] and add its per-sample gradients as Blocks."
            )
    return rest, arrays


def _check_explained(parameters: dict[str, Any], gradients: dict[str, Any], explained: dict[int, Any]) -> None:
    """Check that the recorded calls of a layer give the gradients of its parameters.

    Raises
    ------
    ValueError
        If they do not. The message names the parameter.
    """
    known = {name: array(one).astype(np.float64) for name, one in gradients.items() if one is not None}
    largest = max(map(np.linalg.norm, known.values()), default=0.0)
    for name, parameter in parameters.items():
        if id(parameter) not in explained:
            continue
        found = explained[id(parameter)]
        expected = known.get(name, np.zeros(found.shape))
        # The sums behind a gradient may cancel, but are seldom larger than the largest gradient.
        tolerance = _round_off(parameter) * (largest + 10 * (np.linalg.norm(found) + np.linalg.norm(expected)))
        if np.linalg.norm(found - expected) > tolerance:
            raise ValueError(
                f"{name} has another gradient than the calls of its layer give: the module uses it in another way too, "
                "or computes something else each time. Leave it out by layers=[...], or freeze it."
            )


def _round_off(tensor: Any) -> float:
    """Return a bound on the relative errors of sums in the type of a tensor: some hundred units of round-off."""
    return {8: 1e-13, 4: 1e-4}.get(tensor.dtype.itemsize, 2e-2)


def _check_same_rows(tape: Tape, calls: list[Call], whole: list[Arrays], first: list[Arrays]) -> None:
    """Check that the first sample has the values in its batch that it has alone.

    Raises
    ------
    ValueError
        If it does not. The message names the layer.
    """
    tolerance = max(map(_round_off, tape.parameters.values()))
    for call, arrays, alone in zip(calls, whole, first, strict=True):
        for name, values in alone.items():
            difference = abs(arrays[name][0] - values[0]).max(initial=0.0)
            excess = difference - 10 * tolerance * abs(values[0]).max(initial=0.0)
            # The values of all samples are seldom needed, and many.
            if excess > 0 and excess > tolerance * abs(arrays[name]).max():
                raise ValueError(
                    f"{call.name} ({type(call.module).__name__}) has other values for a sample in a batch than for the "
                    "sample alone: the module mixes samples or draws random numbers, or their axis is not the first"
                )


def _explained(tape: Tape, calls: list[Call], arrays: list[Arrays]) -> dict[int, NDArray[Any]]:
    """Return the gradients of parameters that the calls of one sample give, for the first output, by id."""
    found: dict[int, Any] = {}
    for call, every in zip(calls, arrays, strict=True):
        first = {
            name: values[..., 0] if tape.several and name != "entering" else values for name, values in every.items()
        }
        parts = {name: first[name][0].astype(np.float64) for name in ("weight", "bias") if name in first}
        if "leaving" in first:
            leaving = first["leaving"][0].astype(np.float64)
            if call.kind == "linear":
                parts["weight"] = leaving.T @ first["entering"][0]
            else:
                parts["weight"] = np.zeros(tuple(call.module.weight.shape))
                np.add.at(parts["weight"], first["entering"][0], leaving)
            parts["bias"] = leaving.sum(0)
        for name, values in parts.items():
            parameter = call.trained(name)
            if parameter is not None:
                found[id(parameter)] = found.get(id(parameter), 0.0) + values.reshape(tuple(parameter.shape))
    return found


def _all_batches(tape: Tape, inputs: tuple[Any, ...], size: int) -> tuple[list[Call], list[Arrays]]:
    """Return the calls of all layers, and their arrays for all samples."""
    samples = len(inputs[0])
    calls: list[Call] = []
    whole: list[Arrays] = []
    for rows, batch in batches(inputs, size):
        found, arrays = tape.run(batch)
        found = [call._replace(entering=None, output=None) for call in found]
        if not whole:
            calls, whole = found, [_room(call, part, samples) for call, part in zip(found, arrays, strict=True)]
        if [call.name for call in found] != [call.name for call in calls]:
            raise ValueError("the module calls other layers for some samples than for others, which cannot be recorded")
        for call, target, part in zip(calls, whole, arrays, strict=True):
            for name, values in part.items():
                if target[name].shape[1:] != values.shape[1:]:
                    raise ValueError(
                        f"{call.name} has {name} of shape {values.shape[1:]} after {target[name].shape[1:]}"
                    )
                target[name][rows] = values
    return calls, whole


def _room(call: Call, part: Arrays, samples: int) -> Arrays:
    """Return arrays for all samples, given those of a batch."""
    needed = sum(values.nbytes // len(values) * samples for values in part.values())
    memory.require(needed, f"the recording of {call.name}", "Record fewer samples or outputs, or some layers=[...].")
    return {name: np.empty((samples, *values.shape[1:]), values.dtype) for name, values in part.items()}


def _sample_by_sample(tape: Tape, inputs: tuple[Any, ...], rest: dict[str, Any]) -> list[tuple[str, Block]]:
    """Return blocks of the per-sample gradients of parameters, from one backward pass for each sample and output."""
    from ntkrs.empirical import Block

    if not rest:
        return []
    found: dict[str, Any] = {name: [] for name in rest}
    for _, sample in batches(inputs, 1):
        every = tape.parameter_gradients(sample, list(rest.values()))
        for (name, parameter), *gradients in zip(rest.items(), *every, strict=True):
            rows = [parameter.new_zeros(parameter.shape) if one is None else one for one in gradients]
            columns = np.stack([array(one).reshape(-1) for one in rows], axis=-1)
            found[name].append(columns if tape.several else columns[:, 0])
    return [(name, Block(np.stack(rows))) for name, rows in found.items()]
