"""What processor time and memory processes use, by name, read from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

_PARENT = 1
_TICKS_USED = slice(11, 15)
"""Fields of /proc/PID/stat behind the name, counted from 0 (proc(5)): by the process in user and
kernel mode, and by those of its children that have ended and were waited for."""


def cpu_seconds_of(roots: Mapping[str, int]) -> dict[str, float]:
    """By name, of each of these processes with all descendants so far; 0 of one that has ended."""
    stats, children = dict(_stats()), _children()
    return {
        name: sum(
            sum(map(int, stats[one][_TICKS_USED])) for one in _family(pid, children) if one in stats
        )
        / _TICKS
        for name, pid in roots.items()
    }


def memory_mib_of(roots: Mapping[str, int]) -> dict[str, float]:
    """By name, what each of these holds of the memory with its descendants.

    Pages that several processes share are counted in parts (`Pss` of proc(5)), so that the sum is
    what all of them take.
    """
    children = _children()
    return {
        name: sum(map(_proportional_kib, _family(pid, children))) / 1024
        for name, pid in roots.items()
    }


def programs_below(root: int) -> dict[str, int]:
    """The processes that this one has started itself, by the name of their program."""
    found = {}
    for pid in _children().get(root, ()):
        try:
            found[Path(f"/proc/{pid}/comm").read_text().strip()] = pid
        except OSError:
            continue  # it has ended meanwhile
    return found


def _proportional_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended meanwhile
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _children() -> Mapping[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, fields in _stats():
        children[int(fields[_PARENT])].append(pid)
    return children


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
