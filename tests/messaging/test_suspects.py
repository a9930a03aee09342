"""Who follows when a batch is divided: suspects, and what waits behind one."""

import pytest

from contracts.topics import INVENTORY_COMMANDS
from messaging.delivery import Delivery, deliver
from messaging.faults import Blame
from messaging.records import Record
from messaging.suspects import Search


def delivery(offset: int, key: bytes | None) -> Delivery:
    return deliver(Record(INVENTORY_COMMANDS.name, 0, offset, key, b"", ()), INVENTORY_COMMANDS)


@pytest.mark.parametrize(
    ("keys", "suspected", "others"),
    [
        ([b"A", b"B", b"A", b"B"], [1], [1, 3]),
        ([b"A", b"B", b"A", b"A"], [2], [2, 3]),
        ([None, None, None], [1], [1]),
        ([b"A", b"B"], [], []),
    ],
)
def test_no_message_overtakes_a_suspect_of_its_key(
    keys: list[bytes | None], suspected: list[int], others: list[int]
) -> None:
    batch = [delivery(offset, key) for offset, key in enumerate(keys)]
    search = Search(trial_records=1)
    search.suspects.update((batch[place].message_id, Blame()) for place in suspected)
    sound, left = search.divide(batch)
    assert [one.record.offset for one in left] == others
    assert [one.record.offset for one in sound] == sorted(set(range(len(keys))) - set(others))
