"""Records of layers: activations and gradients of a batch of samples, and their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs._checks import arrays, numbers
from ntkrs._checks.advice import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


class Linear(NamedTuple):
    """A linear map ``h_s = W a_s + b`` of a network, recorded on N samples.

    Parameters
    ----------
    A : (N[, T], n) array_like
        The values a that enter the map, at each of T tokens (pixels, time steps) if it is applied T times to a sample.
    G : (N[, T], m[, O]) array_like
        ∂f_o/∂h: the gradients of the O outputs with respect to the values that leave it.
    bias : bool, optional
        True if b is trained; by default the argument ``bias`` of :func:`ntkrs.empirical_ntk`.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.empirical import Linear, empirical_ntk
    >>> empirical_ntk([Linear(np.array([[3.0, 4.0]]), np.ones((1, 1)), bias=False)])  # f = W a: the kernel is |a|²
    array([[25.]])
    """

    A: ArrayLike
    G: ArrayLike
    bias: bool | None = None


class Lookup(NamedTuple):
    """An embedding of a network, whose rows are looked up by index, recorded on N samples.

    Parameters
    ----------
    indices : (N[, T]) array_like of int
        The row of the table at each token.
    G : (N[, T], m[, O]) array_like
        The gradients of the O outputs with respect to the rows that were looked up.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.empirical import Lookup, empirical_ntk
    >>> empirical_ntk([Lookup([7, 2, 7], np.ones((3, 1)))])
    array([[1., 0., 1.],
           [0., 1., 0.],
           [1., 0., 1.]])
    """

    indices: ArrayLike
    G: ArrayLike


class Block(NamedTuple):
    """Some parameters of any kind, recorded by their per-sample gradients.

    Parameters
    ----------
    J : (N, p[, O]) array_like
        ∂f_o/∂θ of N samples and p parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.empirical import Block, empirical_ntk
    >>> empirical_ntk([Block(np.array([[3.0, 4.0]]))])
    array([[25.]])
    """

    J: ArrayLike


class Record(NamedTuple):
    """A record after its checks."""

    #: The record in error messages: ``pairs[0]``.
    name: str
    #: The values that enter, (N, T, n), or None.
    values: Array | None
    #: Indices into a table, (N, T), or None.
    indices: NDArray[np.int64] | None
    #: The gradients, (N, T, m, O).
    gradients: Array
    #: False if the gradients came without an axis of outputs.
    several: bool
    #: True if the layer has biases that are trained.
    bias: bool
    #: The names of values and of gradients in error messages.
    parts: tuple[str, str]

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """All arrays."""
        return [array for array in (self.values, self.indices, self.gradients) if array is not None]

    @property
    def kind(self) -> str:
        """The class of the record, in words."""
        return "a Lookup" if self.indices is not None else "a Block" if self.values is None else "a Linear"

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes that two batches share: n (0 without values), m and O."""
        n = 0 if self.values is None else self.values.shape[2]
        return (n, *self.gradients.shape[2:])

    def in_dtype(self, dtype: np.dtype[Any]) -> Record:
        """Return the record with values and gradients in another dtype."""
        values = None if self.values is None else arrays.converted(self.values, dtype, self.parts[0])
        return self._replace(values=values, gradients=arrays.converted(self.gradients, dtype, self.parts[1]))

    def check_finite(self) -> None:
        """Check that all entries are finite.

        Raises
        ------
        ValueError
            If one is not. The message names the record and the entry.
        """
        if self.values is not None:
            arrays.finite(self.values, self.parts[0])
        arrays.finite(self.gradients, self.parts[1])


def layer(item: Any, name: str, *, bias: bool) -> Record:
    """Return the record that a Linear, a Lookup, a Block or a pair of arrays (A, G) stands for.

    Raises
    ------
    TypeError, ValueError
        If it is anything else, or its arrays do not fit each other.
    """
    if isinstance(item, Block):
        return block(item.J, f"{name}.J")._replace(name=name)
    if isinstance(item, Lookup):
        parts = (f"{name}.indices", f"{name}.G")
        indices = _indices(item.indices, parts[0])
        record = _record(name, parts, indices.shape, item.G)
        return record._replace(indices=indices.reshape(record.gradients.shape[:2]))
    if not isinstance(item, tuple | list) or (len(item) != 2 and not isinstance(item, Linear)):
        raise TypeError(
            f"{name} is {shown(item)}, but a pair of arrays (A, G) is needed, or a Linear, Lookup or Block of "
            "ntkrs.empirical. A single layer is a list of one pair: [(A, G)]."
        )
    parts = (f"{name}.A", f"{name}.G") if isinstance(item, Linear) else (f"{name}[0]", f"{name}[1]")
    own = item.bias if isinstance(item, Linear) else None
    values = arrays.floating(_given(item[0], parts[0]), parts[0])
    if values.ndim not in {2, 3}:
        raise ValueError(f"{parts[0]} has shape {values.shape}, but (N, n), or (N, T, n) of T tokens, is needed")
    record = _record(name, parts, values.shape[:-1], item[1])
    has_bias = bias if own is None else numbers.boolean(own, f"{name}.bias")
    shape = (*record.gradients.shape[:2], values.shape[-1])
    return _not_empty(record._replace(values=values.reshape(shape), bias=has_bias))


def block(J: ArrayLike, name: str) -> Record:
    """Return the record of a block of per-sample gradients (N, p[, O]).

    Raises
    ------
    TypeError, ValueError
        If it has another shape, or does not hold real numbers.
    """
    array = arrays.floating(_given(J, name), name)
    if array.ndim not in {2, 3}:
        raise ValueError(f"{name} has shape {array.shape}, but (N, p), or (N, p, O) of O outputs, is needed")
    several = array.ndim == 3
    gradients = array[:, None] if several else array[:, None, :, None]
    return _not_empty(Record(name, None, None, gradients, several, bias=True, parts=(name, name)))


def _record(name: str, parts: tuple[str, str], tokens: tuple[int, ...], gradients: ArrayLike) -> Record:
    """Return a record without values, whose gradients have the leading axes ``tokens``: (N,) or (N, T)."""
    array = arrays.floating(_given(gradients, parts[1]), parts[1])
    first = len(tokens)
    if array.ndim not in {first + 1, first + 2} or array.shape[:first] != tokens:
        sizes = ", ".join(map(str, tokens))
        raise ValueError(
            f"{parts[1]} has shape {array.shape}, but ({sizes}, m), or ({sizes}, m, O) of O outputs, is needed: "
            f"{parts[0]} has {'N' if first == 1 else 'N and T'} = {sizes}"
        )
    several = array.ndim == first + 2
    if first == 1:
        array = array[:, None]
    gradients = array if several else array[..., None]
    return _not_empty(Record(name, None, None, gradients, several, bias=False, parts=parts))


def _not_empty(record: Record) -> Record:
    """Return the record if it has tokens, values, gradients and outputs.

    Raises
    ------
    ValueError
        If one of their numbers is 0.
    """
    for array, name in zip((record.values, record.gradients), record.parts, strict=True):
        if array is not None and 0 in array.shape[1:]:
            raise ValueError(f"{name} is empty along an axis, but has tokens, values and outputs")
    return record


def _given(values: ArrayLike, name: str) -> ArrayLike:
    """Return the values if there are any.

    Raises
    ------
    ValueError
        If they are None, as ``tensor.grad`` is without a backward pass.
    """
    if values is None:
        raise ValueError(
            f"{name} is None, but an array is needed. A layer without gradients is left out; a tensor's .grad is None "
            "before backward, and for a tensor that is no leaf without retain_grad()."
        )
    return values


def _indices(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """Return indices (N,) or (N, T).

    Raises
    ------
    TypeError, ValueError
        If they have another shape, or are not integers.
    """
    array = np.asarray(_given(values, name))
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}, but indices are integers")
    if array.ndim not in {1, 2}:
        raise ValueError(f"{name} has shape {array.shape}, but (N,), or (N, T) of T tokens, is needed")
    return array.astype(np.int64)


def check_same(record: Record, other: Record, *, batches: bool) -> None:
    """Check that two records belong together: two layers of one batch, or one layer in two batches.

    Raises
    ------
    ValueError
        If they differ in the number of samples or outputs; or, in two batches, in their kind, n or m.
    """
    if record.several != other.several or record.gradients.shape[3] != other.gradients.shape[3]:
        outputs = [f"{r.gradients.shape[3]} outputs" if r.several else "no axis of outputs" for r in (record, other)]
        raise ValueError(
            f"{other.parts[1]} has {outputs[1]}, but {record.parts[1]} has {outputs[0]}: all gradients are those of "
            "the same outputs"
        )
    if not batches and len(record.gradients) != len(other.gradients):
        raise ValueError(
            f"{other.name} has {len(other.gradients)} samples, but {record.name} has {len(record.gradients)}: all "
            "layers are recorded on the same samples"
        )
    if batches and (record.kind != other.kind or record.shape != other.shape or record.bias != other.bias):
        sizes = [f"{r.kind} with n = {r.shape[0]}, m = {r.shape[1]}, bias={r.bias}" for r in (record, other)]
        raise ValueError(f"{other.name} is {sizes[1]}, but {record.name} is {sizes[0]}: both are the same layer")
