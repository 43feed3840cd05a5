"""CPU time that a process and everything it started have used: what a request costs, however busy the machine is."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def cpu_s(pid: int) -> float | None:
    """Seconds, user and system, of the process and its living descendants; None where the system has no /proc."""
    if not (PROC / str(pid) / "stat").exists():
        return None
    used, parents = {}, {}
    for process, parent, seconds in _processes():
        used[process], parents[process] = seconds, parent
    return sum(seconds for process, seconds in used.items() if _descends(process, pid, parents))


def stolen_s() -> float | None:
    """Seconds of all processors together that the host of a virtual machine gave to others while something here was
    ready to run; None where the system does not tell.
    """
    try:
        line = (PROC / "stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    return int(line[8]) / os.sysconf("SC_CLK_TCK") if line[0] == "cpu" and len(line) > 8 else None


def _processes() -> Iterator[tuple[int, int, float]]:
    """Process id, parent's id and CPU seconds of every process."""
    ticks = os.sysconf("SC_CLK_TCK")
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()  # a process' name may hold spaces and brackets
        except OSError:
            continue  # it ended meanwhile
        yield int(stat.parent.name), int(after[1]), (int(after[11]) + int(after[12])) / ticks


def _descends(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process in parents and process != ancestor:
        process = parents[process]
    return process == ancestor
