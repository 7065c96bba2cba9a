"""How many CPUs this process may really use: a container's host has more than it grants."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The smaller of the affinity mask and the CPU quotas of this process's cgroup (v2 or v1)
    and of all those above it, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        affinity = len(os.sched_getaffinity(0))
    else:  # macOS knows no affinity
        affinity = os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _folders(cgroups, membership)]
    return max(1, math.ceil(min(affinity, *quotas)))


def _folders(cgroups: Path, membership: Path) -> Iterator[Path]:
    """The cgroup's own folder and those above it; of v2 and of v1's CPU controller."""
    yield cgroups
    yield cgroups / "cpu"
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "cpu", "cpu,cpuacct"):
            below = cgroups / controllers.split(",")[0]
            own = PurePosixPath(path.lstrip("/"))
            yield from (below / folder for folder in (own, *own.parents))


def _quota(folder: Path) -> float:
    """CPUs granted by one cgroup; infinity where it sets no limit or does not exist."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
    except OSError:
        return math.inf
    # v2 writes "max" for no limit, v1 writes -1.
    if quota == "max" or int(quota) <= 0:
        return math.inf
    return int(quota) / int(period)
