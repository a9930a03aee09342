"""The plan: which faults strike in which order. The same seed gives the same plan."""

import random
from collections.abc import Iterator
from itertools import count
from typing import assert_never, get_args

from contracts.topics import Lane
from trolley.chaos.faults import Fault, Kind, Strike
from trolley.chaos.settings import ChaosSettings
from trolley.services import SERVICES

NAMES = tuple(service.name for service in SERVICES)

READERS = tuple(name for name in NAMES if name != "catalog")
"""Services with partitions that others have to take over."""

BESIDE: dict[Kind, tuple[Kind, ...]] = {
    Kind.KILL_KAFKA: (Kind.KILL_SERVICE, Kind.DROP_CONNECTIONS, Kind.DRAIN_SERVICE),
    Kind.KILL_POSTGRES: (Kind.KILL_SERVICE, Kind.DROP_KAFKA_CONNECTIONS, Kind.DRAIN_SERVICE),
    Kind.FREEZE_SERVICE: (
        Kind.KILL_SERVICE,
        Kind.DROP_CONNECTIONS,
        Kind.DROP_KAFKA_CONNECTIONS,
    ),
}
"""What may strike while the first fault is not over. Never the other server: of two that are away
one shows nothing that the other does not hide. Never another fault that lasts."""


def strikes(seed: int, settings: ChaosSettings, *, session_seconds: float) -> Iterator[Strike]:
    """An endless plan. Every round has each kind once, in an order of its own.

    In every second round a kind of `BESIDE` strikes together with a second fault.
    `session_seconds`: the session timeout of consumers, which a freeze outlasts.
    """
    chance = random.Random(seed)  # noqa: S311 - must be repeatable, not secret
    number = count(1)
    for turn in count():
        kinds = list(Kind)
        chance.shuffle(kinds)
        for kind in kinds:
            fault = _fault(kind, chance, settings, session_seconds)
            together = kind in BESIDE and (turn + list(BESIDE).index(kind)) % 2 == 0
            beside = _beside(fault, chance, settings, session_seconds) if together else None
            after = chance.uniform(0, settings.beside_longest_seconds) if together else 0.0
            pause = chance.uniform(settings.pause_shortest_seconds, settings.pause_longest_seconds)
            yield Strike(next(number), fault, pause, beside, after)


def _fault(
    kind: Kind, chance: random.Random, settings: ChaosSettings, session_seconds: float
) -> Fault:
    service = chance.choice(NAMES)
    slot = chance.randrange(settings.replicas)
    frozen = session_seconds + chance.uniform(
        settings.freeze_beyond_shortest_seconds, settings.freeze_beyond_longest_seconds
    )
    match kind:
        case Kind.KILL_SERVICE | Kind.DRAIN_SERVICE:
            return Fault(kind, service, slot)
        case Kind.FREEZE_SERVICE:
            return Fault(kind, service, slot, lasts_seconds=frozen)
        case Kind.FREEZE_RELAY:
            return Fault(kind, service, lane=chance.choice(get_args(Lane)), lasts_seconds=frozen)
        case Kind.FREEZE_KAFKA | Kind.FREEZE_POSTGRES:
            return Fault(kind, lasts_seconds=frozen)
        case Kind.SCALE_SERVICE:
            lasts = chance.uniform(
                settings.scaled_down_shortest_seconds, settings.scaled_down_longest_seconds
            )
            return Fault(kind, chance.choice(READERS), slot, lasts_seconds=lasts)
        case Kind.KILL_RELAY:
            return Fault(kind, service, lane=chance.choice(get_args(Lane)))
        case Kind.DROP_CONNECTIONS | Kind.DROP_KAFKA_CONNECTIONS:
            return Fault(kind, service)
        case Kind.KILL_KAFKA | Kind.KILL_POSTGRES | Kind.RESTART_KAFKA | Kind.RESTART_POSTGRES:
            return Fault(kind)
        case _:
            assert_never(kind)


def _beside(
    first: Fault, chance: random.Random, settings: ChaosSettings, session_seconds: float
) -> Fault:
    """A second fault; it spares the service of the first, of which one replica must work on."""
    kind = chance.choice(BESIDE[first.kind])
    while True:
        fault = _fault(kind, chance, settings, session_seconds)
        if fault.service != first.service:
            return fault
