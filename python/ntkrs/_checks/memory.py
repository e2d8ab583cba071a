"""The available memory. Arrays that cannot fit are rejected before any work is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class _Cgroup(NamedTuple):
    """The files of a control group, and the line of its statistics that gives the page cache it can drop."""

    limit: str
    usage: str
    statistics: str
    droppable: str


#: The files of control groups version 2 and version 1.
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

#: Allocations below this number of bytes are not checked, because a check takes 0.1 ms.
_SMALL = 1 << 24

#: Advice for when the result of a batch does not fit.
_REMEDY = "Compute it in blocks of rows of X, pass float32 inputs, or pass out=numpy.memmap(...)."


def available() -> int | None:
    """Return the bytes that this process can still allocate, or None if the system does not tell."""
    known = [amount for amount in (_machine(), _cgroup(), _address_space()) if amount is not None]
    return min(known, default=None)


def lacking(bytes_needed: int) -> int | None:
    """Return the bytes that this process can still allocate if they are too few, otherwise None."""
    bytes_available = None if bytes_needed < _SMALL else available()
    return None if bytes_available is None or bytes_needed <= bytes_available else bytes_available


def require(bytes_needed: int, what: str, remedy: str = _REMEDY) -> None:
    """Reject an array that does not fit into memory.

    Raises
    ------
    MemoryError
        If it does not fit. The message gives the bytes needed, the bytes available, and the remedy.
    """
    bytes_available = lacking(bytes_needed)
    if bytes_available is not None:
        raise MemoryError(
            f"{what} needs {bytes_needed} bytes ({bytes_needed / 2**30:.1f} GiB), but only {bytes_available} bytes "
            f"({bytes_available / 2**30:.1f} GiB) are available. {remedy}"
        )


@contextmanager
def required(bytes_needed: int, what: str, remedy: str) -> Iterator[None]:
    """Reject work that does not fit into memory, before it begins. If an allocation fails in it, say the same.

    Raises
    ------
    MemoryError
        As for :func:`require`, or if the work raises one.
    """
    require(bytes_needed, what, remedy)
    try:
        yield
    except MemoryError as error:
        reason = str(error).rstrip(".") or "an allocation failed"
        raise MemoryError(
            f"{what} needs about {bytes_needed} bytes ({bytes_needed / 2**30:.1f} GiB), which are not available: "
            f"{reason}. {remedy}"
        ) from error


def _machine() -> int | None:
    """Return the bytes available on this machine, or None if the system does not tell."""
    try:
        kilobytes = _field("/proc/meminfo", "MemAvailable:")
    except OSError:
        return None
    return None if kilobytes is None else kilobytes * 1024


def _cgroup() -> int | None:
    """Return the bytes that the control group of this process leaves, or None if it sets no limit."""
    for group in _CGROUPS:
        try:
            limit, usage = _read(group.limit).strip(), int(_read(group.usage))
            droppable = _field(group.statistics, group.droppable) or 0
        except OSError:
            continue
        if limit != "max":
            return max(0, int(limit) - usage + droppable)
    return None


def _address_space() -> int | None:
    """Return the bytes that the limit on this process's address space leaves, or None if there is no such limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        return max(0, limit - int(_read("/proc/self/statm").split()[0]) * resource.getpagesize())
    except (ImportError, OSError):
        return None


def _field(path: str, name: str) -> int | None:
    """Return the number on the line of a file that begins with ``name``, or None if there is no such line."""
    words = (line.split() for line in _read(path).splitlines())
    return next((int(line[1]) for line in words if line[0] == name), None)


def _read(path: str) -> str:
    """Return the text of a file."""
    with open(path, encoding="ascii") as file:  # noqa: PTH123 pathlib costs a tenth of ``import ntkrs``
        return file.read()
