"""How much memory there is, to refuse what cannot fit before any work is done."""

from typing import NamedTuple


class _Cgroup(NamedTuple):
    """Files of a control group, and the line of its statistics that tells the page cache it can drop."""

    limit: str
    usage: str
    statistics: str
    droppable: str


#: Of version 2 and version 1.
_CGROUPS = (
    _Cgroup(
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory.current",
        "/sys/fs/cgroup/memory.stat",
        "inactive_file",
    ),
    _Cgroup(
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)

#: Fewer bytes than this are left to the allocator: to look how many there are takes 0.1 ms.
_SMALL = 1 << 24

#: What to do about the result of a batch that does not fit.
_REMEDY = "Compute it in blocks of rows of X, pass float32 inputs, or pass out=numpy.memmap(...)."


def available() -> int | None:
    """Bytes that this process can still allocate, or None where the system does not tell."""
    known = [amount for amount in (_machine(), _cgroup()) if amount is not None]
    return min(known, default=None)


def lacking(bytes_needed: int) -> int | None:
    """Bytes that this process can still allocate, if they are fewer than those needed; else None."""
    bytes_available = None if bytes_needed < _SMALL else available()
    return None if bytes_available is None or bytes_needed <= bytes_available else bytes_available


def require(bytes_needed: int, what: str, remedy: str = _REMEDY) -> None:
    """Refuse an array that does not fit.

    Raises
    ------
    MemoryError
        Naming the bytes needed, those available, and the way out.
    """
    bytes_available = lacking(bytes_needed)
    if bytes_available is not None:
        raise MemoryError(
            f"{what} needs {bytes_needed} bytes ({bytes_needed / 2**30:.1f} GiB), but only {bytes_available} bytes "
            f"({bytes_available / 2**30:.1f} GiB) are available. {remedy}"
        )


def _machine() -> int | None:
    try:
        kilobytes = _field("/proc/meminfo", "MemAvailable:")
    except OSError:
        return None
    return None if kilobytes is None else kilobytes * 1024


def _cgroup() -> int | None:
    for group in _CGROUPS:
        try:
            limit, usage = _read(group.limit).strip(), int(_read(group.usage))
            droppable = _field(group.statistics, group.droppable) or 0
        except OSError:
            continue
        if limit != "max":
            return max(0, int(limit) - usage + droppable)
    return None


def _field(path: str, name: str) -> int | None:
    """Return the number that stands after ``name`` in a file of such lines."""
    words = (line.split() for line in _read(path).splitlines())
    return next((int(line[1]) for line in words if line[0] == name), None)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 pathlib costs a tenth of ``import ntkrs``
        return file.read()
