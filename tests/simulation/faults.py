"""How often what goes wrong. Each world draws its own: many faults at once hide each other."""

from dataclasses import dataclass, fields
from random import Random


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances, each per occasion: a batch, a request, a message, a call, a sweep."""

    crash_before_commit: float = 0.0
    crash_after_commit: float = 0.0
    """Before the offsets: everything since the last commit of offsets comes again."""
    crash_in_relay: float = 0.0
    """Rows are sent and not deleted: they are sent again under the same ids."""
    slow_delivery: float = 0.0
    """A message, and its key behind it, is under way for up to minutes."""
    topic_lost: float = 0.0
    """Per batch: whatever a topic holds unread is gone."""
    call_lost: float = 0.0
    """A provider call times out and never had an effect."""
    call_late: float = 0.0
    """A provider call times out and has its effect later."""
    answer_lost: float = 0.0
    """A provider call times out and had its effect."""
    worker_crash: float = 0.0
    """Before the call, or after its effect: the lease stays."""
    worker_frozen: float = 0.0
    """The result is recorded long after the lease ended."""
    early_sweep: float = 0.0
    """A sweeper's clock is ahead."""
    late_sweep: float = 0.0
    """A sweeper is away for a while."""
    hint_lost: float = 0.0
    """A webhook never comes."""
    broken_release: float = 0.0
    """Per batch: from now on its consumer refuses a type of message, until the next release."""
    crash_before_wake: float = 0.0
    """After a commit: no relay is woken, and whoever asked for it hears nothing."""


NONE = Faults()
"""What a healed world has."""

_MOST = Faults(
    crash_before_commit=0.06,
    crash_after_commit=0.08,
    crash_in_relay=0.05,
    slow_delivery=0.03,
    topic_lost=0.08,
    call_lost=0.08,
    call_late=0.08,
    answer_lost=0.08,
    worker_crash=0.05,
    worker_frozen=0.05,
    early_sweep=0.1,
    late_sweep=0.1,
    hint_lost=0.5,
    broken_release=0.004,
    crash_before_wake=0.05,
)

_SPARED = 0.25
"""How likely a world is spared a kind of fault altogether."""


def drawn(random: Random) -> Faults:
    """The faults of one world."""
    return Faults(
        **{
            fault.name: 0.0
            if random.random() < _SPARED
            else random.random() * getattr(_MOST, fault.name)
            for fault in fields(Faults)
        }
    )
