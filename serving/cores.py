"""How many cores this process may really use: what it is pinned to, or the container's quota where that is less."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = CGROUP) -> int:
    """At least one. A quota of two and a half cores counts as two: a third thread would be stopped half the time."""
    pinned = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, pinned if quota is None else min(pinned, math.floor(quota)))


def _quota(cgroup: Path) -> float | None:
    """Cores that the quota comes to, of cgroup version 2 or 1; None where there is none."""
    try:
        limit, _, period = (cgroup / "cpu.max").read_text().partition(" ")
    except OSError:
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        share = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return share if share > 0 else None
