"""The status table as it reads on a terminal."""

import io
import time

from rich.console import Console

from trolley.figures import Reading
from trolley.runtime.home import ProcessState, RuntimeState
from trolley.table import picture


def lines(state: RuntimeState, reading: Reading | None) -> list[str]:
    console = Console(width=100, file=io.StringIO())
    with console.capture() as captured:
        console.print(picture(state, reading, state.state))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_processes_lag_and_checkouts_stand_under_their_titles() -> None:
    now = time.time()
    state = RuntimeState(
        pid=1,
        born="then",
        state="ready",
        started=now,
        processes=(
            ProcessState("kafka", "server", "ready", 11, 20_001, since=now - 7200),
            ProcessState("order-0", "service", "ready", 12, 20_002, since=now - 65),
            ProcessState("order-1", "service", "ready", 13, 20_003, since=now - 65),
            ProcessState(
                "cart-0", "service", "restarting", None, 20_004, 2, now, "ended by SIGKILL"
            ),
        ),
    )
    reading = Reading({"order": 1_200}, {"paid": 3, "reserving": 1, "someday": 4})

    shown = lines(state, reading)

    assert shown[0] == "trolley ready"
    assert shown[1].split() == ["process", "state", "port", "pid", "restarts", "lag", "up"]
    assert shown[2].split() == ["kafka", "ready", "20001", "11", "0", "2", "h", "00"]
    # The lag is the service's and stands once, in the row of its first replica.
    assert shown[3].split() == ["order-0", "ready", "20002", "12", "0", "1,200", "1", "min"]
    assert shown[4].split() == ["order-1", "ready", "20003", "13", "0", "1", "min"]
    assert shown[5].split() == ["cart-0", "restarting", "20004", "2", "ended", "by", "SIGKILL"]
    # In the order of a checkout's life; a state that is not known yet comes last.
    assert shown[6] == "checkouts  reserving 1  paid 3  someday 4"


def test_what_could_not_be_read_is_not_shown_as_zero() -> None:
    state = RuntimeState(1, "then", "ready", 0.0, (ProcessState("order-0", "service", "ready"),))

    shown = lines(state, None)

    assert shown[2].split() == ["order-0", "ready", "0"]
    assert len(shown) == 3
