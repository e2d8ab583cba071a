"""The values of ``get=``, and the named tuples that are returned for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, Get, KernelName


class NngpNtk(NamedTuple):
    """What ``get=("nngp", "ntk")`` returns."""

    nngp: Array
    ntk: Array


class NtkNngp(NamedTuple):
    """What ``get=("ntk", "nngp")`` returns."""

    ntk: Array
    nngp: Array


class Nngp(NamedTuple):
    """What ``get=("nngp",)`` returns."""

    nngp: Array


class Ntk(NamedTuple):
    """What ``get=("ntk",)`` returns."""

    ntk: Array


RESULTS: dict[tuple[str, ...], type[NngpNtk | NtkNngp | Nngp | Ntk]] = {
    cls._fields: cls for cls in (NngpNtk, NtkNngp, Nngp, Ntk)
}


def names_of(get: Get) -> tuple[str, ...]:
    """``get`` as a tuple of names.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    """
    names = (get,) if isinstance(get, str) else get
    if not (isinstance(names, tuple) and all(isinstance(name, str) for name in names)):
        raise TypeError(f"get is {get!r}, but must be 'ntk', 'nngp', or a tuple of them")
    if names not in RESULTS:
        raise ValueError(f"get is {get!r}, but must be 'ntk', 'nngp', or a tuple of them, each at most once")
    return names


def name_of(get: KernelName, method: str) -> str:
    """``get``, if it is one name.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    """
    if not isinstance(get, str):
        raise TypeError(f"get is {get!r}, but {method} takes one name, 'ntk' or 'nngp'")
    return names_of(get)[0]


def named(get: Get, results: Sequence[Any]) -> Any:
    """Return the only result if ``get`` is one name, else the named tuple of them all."""
    return results[0] if isinstance(get, str) else RESULTS[get](*results)


def outs_of(out: NDArray[Any] | Sequence[NDArray[Any]] | None, get: Get, count: int) -> Sequence[NDArray[Any] | None]:
    """``out`` as one array, or None, for each name.

    Raises
    ------
    TypeError
        If there is not one array per name.
    """
    if out is None:
        return [None] * count
    if isinstance(get, str):
        return [cast("NDArray[Any]", out)]
    if not isinstance(out, list | tuple) or len(out) != count:
        raise TypeError(f"get is {get!r}, so out must be a tuple of {count} arrays")
    return out
