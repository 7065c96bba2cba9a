"""Memory and CPU time of processes, read from Linux's /proc."""

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int | str = "self") -> float:
    """Return the resident memory of a process in megabytes (10^6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def peak_mb(pid: int | str = "self") -> float:
    """Return the peak of resident memory of a process in megabytes (10^6 bytes).

    `reset_peak` resets the peak. `resource.getrusage` includes the peak of the parent.
    """
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def reset_peak(pid: int | str = "self") -> None:
    """Reset the peak of a process to the current memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int | str = "self") -> float:
    """Return the CPU time of a process and all its threads since its start, in seconds.

    User and kernel mode are included.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Return the process ids of the running children of the main thread of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
