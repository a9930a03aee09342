"""What processor time processes use, by name, read from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12
"""Fields of /proc/PID/stat behind the name, counted from 0 (proc(5))."""


def cpu_seconds_of(roots: Mapping[str, int]) -> dict[str, float]:
    """By name, of each of these processes with its descendants so far; 0 of one that has ended."""
    ticks: dict[int, int] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, fields in _stats():
        ticks[pid] = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
        children[int(fields[_PARENT])].append(pid)
    return {
        name: sum(ticks.get(one, 0) for one in _family(pid, children)) / _TICKS
        for name, pid in roots.items()
    }


def _stats() -> Iterable[tuple[int, list[str]]]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                yield int(process.name), (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile


def _family(pid: int, children: Mapping[int, list[int]]) -> Iterable[int]:
    yield pid
    for child in children.get(pid, ()):
        yield from _family(child, children)
