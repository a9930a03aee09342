"""What processes use: processor time and memory by name, read from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12
"""Fields of /proc/PID/stat behind the name, counted from 0 (proc(5))."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a process, with everything that it started, has used so far."""

    cpu_seconds: float
    resident_bytes: int


def use_of(roots: Mapping[str, int]) -> dict[str, Use]:
    """By name: each of these processes with its descendants; 0 of one that has ended."""
    stats = dict(_stats())
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, fields in stats.items():
        children[int(fields[_PARENT])].append(pid)
    return {name: _together(_family(pid, children), stats) for name, pid in roots.items()}


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


def _together(pids: Iterable[int], stats: Mapping[int, list[str]]) -> Use:
    cpu_ticks = resident_bytes = 0
    for pid in pids:
        if pid in stats:
            cpu_ticks += int(stats[pid][_USER_TICKS]) + int(stats[pid][_SYSTEM_TICKS])
            resident_bytes += _resident_bytes(pid)
    return Use(cpu_ticks / _TICKS, resident_bytes)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
