"""How many CPUs this process may really use: a container's host has more than it grants."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """The smaller of the affinity mask and the cgroup's CPU quota (v2 or v1), at least 1."""
    affinity = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(affinity, _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """CPUs granted by the cgroup; infinity where there is no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    # v2 writes "max" for no limit, v1 writes -1.
    if quota == "max" or int(quota) <= 0:
        return math.inf
    return int(quota) / int(period)
