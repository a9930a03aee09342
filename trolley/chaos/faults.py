"""The faults: which kinds there are, whom one strikes, and which strike together."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias, assert_never

Server: TypeAlias = Literal["kafka", "postgres"]


class Kind(StrEnum):
    """A kind of fault, by its name in reports."""

    KILL_SERVICE = "kill-service"
    DRAIN_SERVICE = "drain-service"
    FREEZE_SERVICE = "freeze-service"
    SCALE_SERVICE = "scale-service"
    KILL_RELAY = "kill-relay"
    FREEZE_RELAY = "freeze-relay"
    DROP_CONNECTIONS = "drop-connections"
    DROP_KAFKA_CONNECTIONS = "drop-kafka-connections"
    KILL_KAFKA = "kill-kafka"
    FREEZE_KAFKA = "freeze-kafka"
    RESTART_KAFKA = "restart-kafka"
    KILL_POSTGRES = "kill-postgres"
    FREEZE_POSTGRES = "freeze-postgres"
    RESTART_POSTGRES = "restart-postgres"

    @property
    def server(self) -> Server | None:
        """The server that it strikes; None where it strikes a service."""
        match self:
            case Kind.KILL_KAFKA | Kind.FREEZE_KAFKA | Kind.RESTART_KAFKA:
                return "kafka"
            case Kind.KILL_POSTGRES | Kind.FREEZE_POSTGRES | Kind.RESTART_POSTGRES:
                return "postgres"
            case _:
                return None


def meaning(kind: Kind) -> str:
    """What happens to the victim, for readers of a report."""
    match kind:
        case Kind.KILL_SERVICE:
            return "SIGKILL to a replica of a service"
        case Kind.DRAIN_SERVICE:
            return "SIGTERM to a replica: it drains, ends, and is started again"
        case Kind.FREEZE_SERVICE:
            return "SIGSTOP to a replica for longer than its session timeout, then SIGCONT"
        case Kind.SCALE_SERVICE:
            return "a replica is removed with its memberships, and added again later"
        case Kind.KILL_RELAY:
            return "SIGKILL to the very replica that leads a lane of the relay"
        case Kind.FREEZE_RELAY:
            return "SIGSTOP to the replica that leads a lane, as long, then SIGCONT"
        case Kind.DROP_CONNECTIONS:
            return "PostgreSQL ends all connections of a service"
        case Kind.DROP_KAFKA_CONNECTIONS:
            return "all connections of a service to Kafka are cut"
        case Kind.KILL_KAFKA:
            return "SIGKILL to Kafka"
        case Kind.FREEZE_KAFKA:
            return "SIGSTOP to Kafka for longer than a session timeout, then SIGCONT"
        case Kind.RESTART_KAFKA:
            return "SIGTERM to Kafka, which is started again when it has ended"
        case Kind.KILL_POSTGRES:
            return "SIGKILL to PostgreSQL"
        case Kind.FREEZE_POSTGRES:
            return "SIGSTOP to all processes of PostgreSQL, as long, then SIGCONT"
        case Kind.RESTART_POSTGRES:
            return "a fast shutdown of PostgreSQL, which is started again when it has ended"
        case _:
            assert_never(kind)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. What does not apply to its kind is None.

    The replica that leads a lane is found when it is to be struck: no plan can know it.
    `lasts_seconds`: how long its victim stays frozen, or scaled away; other faults last no time.
    """

    kind: Kind
    service: str | None = None
    slot: int | None = None
    lane: str | None = None
    lasts_seconds: float = 0.0

    @property
    def victim(self) -> str:
        """Whom it strikes, in words."""
        if self.service is None:
            return "Kafka" if self.kind.server == "kafka" else "PostgreSQL"
        replica = self.service if self.slot is None else f"{self.service}-{self.slot}"
        return replica if self.lane is None else f"{replica}, leader of the {self.lane} lane"

    def __str__(self) -> str:
        return f"{self.kind} {self.victim}"


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens at once: a fault, and perhaps a second one while the first is not over.

    The second follows after `beside_after_seconds`. `pause_seconds` is how long everything is
    left in peace before the strike.
    """

    number: int
    fault: Fault
    pause_seconds: float
    beside: Fault | None = None
    beside_after_seconds: float = 0.0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All of its faults, the first one first."""
        return (self.fault,) if self.beside is None else (self.fault, self.beside)

    def __str__(self) -> str:
        return " and ".join(map(str, self.faults))
