"""Which faults are waited out and which are blamed on the message."""

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError

from messaging.database import NoFreeConnection
from messaging.dead_letters.letters import fingerprint
from messaging.faults import heals_with_time
from messaging.records import pack_headers, unpack_headers

HEALING = [
    asyncpg.DeadlockDetectedError("x"),
    asyncpg.SerializationError("x"),
    asyncpg.DiskFullError("x"),
    asyncpg.AdminShutdownError("x"),
    asyncpg.CannotConnectNowError("x"),
    asyncpg.UndefinedTableError("not migrated yet"),
    asyncpg.ConnectionDoesNotExistError("closed in the middle of an operation"),
    asyncpg.InterfaceError("connection is closed"),
    KafkaConnectionError("x"),
    ConnectionRefusedError("x"),
    TimeoutError(),
    NoFreeConnection(),
    AssertionError("Did we not perform bootstrap?"),
]
BLAMED = [
    asyncpg.UniqueViolationError("x"),
    asyncpg.CheckViolationError("x"),
    asyncpg.NumericValueOutOfRangeError("x"),
    asyncpg.DataError("invalid input for query argument $1"),
    RuntimeError("a bug"),
    KeyError("a bug"),
    AssertionError("a bug"),
]


@pytest.mark.parametrize("error", HEALING, ids=lambda error: type(error).__name__)
def test_what_time_can_heal_is_never_blamed_on_a_message(error: Exception) -> None:
    assert heals_with_time(error)


@pytest.mark.parametrize("error", BLAMED, ids=lambda error: type(error).__name__)
def test_what_the_data_caused_does_not_heal(error: Exception) -> None:
    assert not heals_with_time(error)


def test_the_same_fault_has_one_fingerprint_whatever_its_ids_and_numbers() -> None:
    def of(text: str) -> str:
        return fingerprint("inventory.inventory.commands", "type", "Error", text)

    one = of("cannot reserve 'A' for 01a1feb7-ead6-765a-853d-35c3bd61aa4d at 17")
    assert one == of("cannot reserve 'B' for 01a1feb7-ead5-75d3-9ca4-f51dda118684 at 4")
    assert one != of("cannot release 'A' for 01a1feb7-ead6-765a-853d-35c3bd61aa4d at 17")


def test_headers_survive_packing_whatever_their_bytes() -> None:
    headers = (("a", b"\xff\x00"), ("b", None), ("a", b""), ("ü", "ü".encode()))
    assert unpack_headers(pack_headers(headers)) == headers
