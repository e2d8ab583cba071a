"""The values of ``get=``, and the named tuple that is returned for each tuple of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, Get, KernelName, Progress

#: Pairs of names whose results have a type of their own.
Both: TypeAlias = "tuple[Literal['nngp'], Literal['ntk']]"
Turned: TypeAlias = "tuple[Literal['ntk'], Literal['nngp']]"


class Rest(TypedDict, total=False):
    """The other options of a call."""

    per_layer: bool
    out: NDArray[Any] | Sequence[NDArray[Any]] | None
    progress: Progress


class NngpNtk(NamedTuple):
    """The result for ``get=("nngp", "ntk")``.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> mlp(depth=1, width=1, outputs=1, activation="relu").kernel()([[1.0]], get=("nngp", "ntk"))
    NngpNtk(nngp=array([[0.5]]), ntk=array([[1.]]))
    """

    nngp: Array
    ntk: Array


class NtkNngp(NamedTuple):
    """The result for ``get=("ntk", "nngp")``.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> mlp(depth=1, width=1, outputs=1, activation="relu").kernel()([[1.0]], get=("ntk", "nngp"))
    NtkNngp(ntk=array([[1.]]), nngp=array([[0.5]]))
    """

    ntk: Array
    nngp: Array


class Nngp(NamedTuple):
    """The result for ``get=("nngp",)``.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> mlp(depth=1, width=1, outputs=1, activation="relu").kernel()([[1.0]], get=("nngp",))
    Nngp(nngp=array([[0.5]]))
    """

    nngp: Array


class Ntk(NamedTuple):
    """The result for ``get=("ntk",)``.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> mlp(depth=1, width=1, outputs=1, activation="relu").kernel()([[1.0]], get=("ntk",))
    Ntk(ntk=array([[1.]]))
    """

    ntk: Array


#: The named tuple for each tuple of names.
RESULTS: dict[tuple[str, ...], type[NngpNtk | NtkNngp | Nngp | Ntk]] = {
    cls._fields: cls for cls in (NngpNtk, NtkNngp, Nngp, Ntk)
}


def names_of(get: object) -> tuple[str, ...]:
    """Return ``get`` as a tuple of names.

    Raises
    ------
    TypeError, ValueError
        If it is neither "ntk", "nngp", nor a tuple of them.
    """
    names = (get,) if isinstance(get, str) else get
    if not (isinstance(names, tuple) and all(isinstance(name, str) for name in names)):
        raise TypeError(f"get is {get!r}, but must be 'ntk', 'nngp', or a tuple of them")
    if names not in RESULTS:
        raise ValueError(f"get is {get!r}, but must be 'ntk', 'nngp', or a tuple of them, each at most once")
    return names


def name_of(get: KernelName, method: str) -> str:
    """Return ``get`` if it is a single name. ``method`` is for the error.

    Raises
    ------
    TypeError, ValueError
        If it is neither "ntk" nor "nngp".
    """
    if not isinstance(get, str):
        raise TypeError(f"get is {get!r}, but {method} takes one name, 'ntk' or 'nngp'")
    return names_of(get)[0]


def named(get: Get, results: Sequence[Any]) -> Any:
    """Return the named tuple of the results, or the only result if ``get`` is a single name."""
    return results[0] if isinstance(get, str) else RESULTS[get](*results)


def outs_of(out: NDArray[Any] | Sequence[NDArray[Any]] | None, get: Get, count: int) -> Sequence[NDArray[Any] | None]:
    """Return a list with the array of ``out`` for each name, or None for each if there is no ``out``.

    Raises
    ------
    TypeError
        If the number of arrays is not the number of names.
    """
    if out is None:
        return [None] * count
    if isinstance(get, str):
        return [cast("NDArray[Any]", out)]
    if not isinstance(out, list | tuple) or len(out) != count:
        raise TypeError(f"get is {get!r}, so out must be a tuple of {count} arrays")
    return out
