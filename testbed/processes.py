"""Memory and CPU time of processes, read from Linux's /proc."""

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int | str = "self") -> float:
    """Return the physical memory that a process has now, in megabytes (10^6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def peak_mb(pid: int | str = "self") -> float:
    """Return the most physical memory that a process ever had, in megabytes (10^6 bytes).

    `forget_peak` starts it anew. `resource.getrusage` would go on from the parent's peak.
    """
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def forget_peak(pid: int | str = "self") -> None:
    """Set the peak of a process to the memory that it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int | str = "self") -> float:
    """Return the CPU time that a process has used since its start, in seconds, in user and kernel
    mode, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Return the process ids of the living children of a process's main thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
