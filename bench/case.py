"""A case: something that is measured in turns."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bench.anatomy import Anatomy
from bench.report import Goal, Turn
from bench.settings import BenchSettings


@dataclass(frozen=True, slots=True)
class Checkout:
    """What a checkout consists of: one alone, a backlog of them, and the POST that begins one."""

    alone: Anatomy
    together: Anatomy
    post: Anatomy
    numbers: Mapping[str, float]
    """Of the report: messages, rows, statements, records in a batch."""


@dataclass(frozen=True, slots=True)
class Session:
    """What every case is given."""

    settings: BenchSettings
    checkout: Checkout | None
    """None where the floor is not measured."""


@dataclass(frozen=True, slots=True)
class Case:
    """Something to be measured. A turn raises `WrongState` when what it left is not right."""

    name: str
    says: str
    turn: Callable[[Session], Awaitable[Turn]]
    goals: tuple[Goal, ...] = ()
