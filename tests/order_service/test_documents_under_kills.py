"""Numbers have no gap and no double, wherever those who draw them are killed."""

import signal
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from uuid import UUID

import pytest

from messaging.points import Point
from tests.order_service.documents_process import Batch, started
from tests.order_service.office import Office, of, some_checkouts, start_of
from tests.order_service.story import cancel, committed, refunded, reserved, succeeded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

AROUND_THE_COMMIT = (
    Point.STATE_WRITTEN,
    Point.OUTBOX_WRITTEN,
    Point.BATCH_WRITTEN,
    Point.NUMBERS_DRAWN,
    Point.BATCH_COMMITTED,
)
PROCESSES, BATCHES, BATCH_CHECKOUTS = 3, 3, 4
JOIN_SECONDS = 120


async def about_to_be_paid(office: Office, many: int) -> list[UUID]:
    """Checkouts whose stock is about to be committed."""
    checkouts = some_checkouts(many)
    await office.send(*(start_of(one) for one in checkouts))
    for message in (reserved(), succeeded()):
        await office.send(*(of(one, message) for one in checkouts))
    return checkouts


def batches_of(office: Office, checkouts: Sequence[UUID]) -> list[Batch]:
    """What pays these orders, then cancels and refunds them, a few at a time."""
    batches: list[Batch] = []
    for first in range(0, len(checkouts), BATCH_CHECKOUTS):
        some = checkouts[first : first + BATCH_CHECKOUTS]
        batches.extend(
            [office.record(of(one, message)) for one in some]
            for message in (committed(), cancel(), refunded())
        )
    return batches


def ended(process: BaseProcess) -> int | None:
    process.join(JOIN_SECONDS)
    return process.exitcode


@pytest.mark.parametrize("point", AROUND_THE_COMMIT, ids=lambda point: point.name.lower())
async def test_numbers_have_no_gap_and_no_double_when_all_are_killed_at(
    office: Office, point: Point
) -> None:
    checkouts = await about_to_be_paid(office, PROCESSES * BATCHES * BATCH_CHECKOUTS)
    work = [batches_of(office, checkouts[number::PROCESSES]) for number in range(PROCESSES)]
    # Each is killed at its first, second and third time, and all that it did comes again.
    for times in (1, 2, 3, None):
        dies_at = None if times is None else point
        running = [started(office.database_url, batches, dies_at, times or 0) for batches in work]
        codes = [ended(process) for process in running]
        assert codes == [0 if times is None else -signal.SIGKILL] * PROCESSES

    expected = list(range(1, len(checkouts) + 1))
    for kind in ("invoice", "credit_note"):
        rows = await office.query(
            "SELECT sequence FROM documents WHERE kind = $1 ORDER BY sequence", kind
        )
        assert [row["sequence"] for row in rows] == expected
    last = await office.query("SELECT last FROM document_series")
    assert [row["last"] for row in last] == [len(checkouts)] * 2
    assert await office.dead_letters() == []
