"""Determines how many CPUs this process may use, including the quota of its container."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the number of available CPUs, at least 1.

    It is the minimum of the number of CPUs in the affinity mask and the CPU quotas of the process's
    cgroup and its parents, rounded up. `cgroups` is the mount point of cgroup v2 or v1,
    `membership` the file that names the cgroups of the process.
    """
    if hasattr(os, "sched_getaffinity"):
        affinity = len(os.sched_getaffinity(0))
    else:  # macOS
        affinity = os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _folders(cgroups, membership)]
    return max(1, math.ceil(min(affinity, *quotas)))


def _folders(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of the cgroup and its parents, for v2 and for the CPU controller of v1."""
    # In a container, the mount point itself may be the folder of the process's cgroup.
    yield cgroups
    yield cgroups / "cpu"
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "cpu", "cpu,cpuacct"):
            hierarchy = cgroups / controllers.split(",")[0]
            cgroup = PurePosixPath(path.lstrip("/"))
            yield from (hierarchy / folder for folder in (cgroup, *cgroup.parents))


def _quota(folder: Path) -> float:
    """Return the CPUs that one cgroup grants; infinity if it does not exist or sets no limit."""
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
