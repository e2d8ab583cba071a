"""How much memory there is, to refuse what cannot fit before any work is done."""

from pathlib import Path

#: Control-group limits and usages, of version 2 and version 1.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int | None:
    """Bytes that this process can still allocate, or None where the system does not tell."""
    known = [amount for amount in (_machine(), _cgroup()) if amount is not None]
    return min(known, default=None)


def require(bytes_needed: int, what: str) -> None:
    """Refuse an array that does not fit.

    Raises
    ------
    MemoryError
        Naming the bytes needed, those available, and the way out.
    """
    bytes_available = available()
    if bytes_available is not None and bytes_needed > bytes_available:
        raise MemoryError(
            f"{what} needs {bytes_needed} bytes ({bytes_needed / 2**30:.1f} GiB), but only {bytes_available} bytes "
            f"({bytes_available / 2**30:.1f} GiB) are available. Compute it in blocks of rows of X, pass float32 "
            "inputs, or pass out=numpy.memmap(...)."
        )


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup() -> int | None:
    for limit_file, usage_file in _CGROUPS:
        try:
            limit = Path(limit_file).read_text(encoding="ascii").strip()
            usage = Path(usage_file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit != "max":
            return max(0, int(limit) - int(usage))
    return None
