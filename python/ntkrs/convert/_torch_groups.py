"""Records of parameters from the calls of all layers that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs.empirical import Block, Linear, Lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.convert._torch_calls import Call

#: A call and its arrays.
Recorded = tuple["Call", "dict[str, NDArray[Any]]"]


def check_tied(calls: list[Call]) -> None:
    """Check that each matrix is used in one role.

    Raises
    ------
    ValueError
        If one is an embedding and a linear layer too. The message names both.
    """
    first: dict[int, Call] = {}
    for call in calls:
        weight = call.trained("weight")
        if weight is None:
            continue
        other = first.setdefault(id(weight), call)
        if other.kind != call.kind:
            raise ValueError(
                f"{call.name} ({type(call.module).__name__}) shares its weight with {other.name} "
                f"({type(other.module).__name__}), but only layers of one kind can share one. Give one of them a copy, "
                "or freeze the weight."
            )


def joined(calls: list[Call], arrays: list[dict[str, NDArray[Any]]]) -> list[tuple[str, Any]]:
    """Return the name and the record of every parameter: weights with their biases if these go together."""
    weights, biases = _users(calls, arrays, "weight"), _users(calls, arrays, "bias")
    records: list[tuple[str, Any]] = []
    covered = set()
    for users in weights.values():
        call = users[0][0]
        if call.kind == "lookup":
            records.append((_names(users), Lookup(*_tokens(users))))
        elif call.kind == "linear":
            bias = call.trained("bias")
            together = bias is not None and [id(one) for one, _ in biases[id(bias)]] == [id(one) for one, _ in users]
            if together:
                covered.add(id(bias))
            records.append((_names(users), Linear(*_tokens(users), bias=together)))
        else:
            records.append((f"{_names(users)}.weight", Block(sum(part["weight"] for _, part in users))))
            bias = call.trained("bias")
            if bias is not None and len(biases[id(bias)]) == len(users):
                covered.add(id(bias))
                records.append((f"{_names(users)}.bias", Block(_bias(biases[id(bias)]))))
    for key, users in biases.items():
        if key not in covered:
            records.append((f"{_names(users)}.bias", Block(_bias(users))))
    return records


def _users(calls: list[Call], arrays: list[dict[str, NDArray[Any]]], parameter: str) -> dict[int, list[Recorded]]:
    """Return the calls that use each trained weight or bias, by its id."""
    found: dict[int, list[Recorded]] = {}
    for call, part in zip(calls, arrays, strict=True):
        value = call.trained(parameter)
        if value is not None:
            found.setdefault(id(value), []).append((call, part))
    return found


def _names(users: list[Recorded]) -> str:
    """Return the names of the layers that use a parameter, each once."""
    return " and ".join(dict.fromkeys(call.name for call, _ in users))


def _tokens(users: list[Recorded]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what enters and leaves a matrix at the tokens of all calls."""
    entering, leaving = ([part[name] for _, part in users] for name in ("entering", "leaving"))
    if len(users) == 1:
        return entering[0], leaving[0]
    return np.concatenate(entering, axis=1), np.concatenate(leaving, axis=1)


def _bias(users: list[Recorded]) -> Any:
    """Return the per-sample gradients of a bias."""
    parts = [part["bias"] if "bias" in part else _sum_of_tokens(part["leaving"]) for _, part in users]
    return sum(parts[1:], parts[0])


def _sum_of_tokens(leaving: NDArray[Any]) -> NDArray[Any]:
    """Return the sums over tokens, summed in float64."""
    sums: NDArray[np.float64] = leaving.sum(axis=1, dtype=np.float64)
    return sums.astype(leaving.dtype)
