"""Ids of this world: counted, and of the class that rows of a real database bring."""

from collections.abc import Iterator
from itertools import count, repeat
from typing import Literal
from uuid import UUID

# The driver's UUID is a `uuid.UUID` that hashes and compares in C: ids are what is looked up most.
from asyncpg.pgproto import pgproto

MESSAGE_IDS = 1 << 96
"""Messages are numbered from here on."""

CART_IDS = 1 << 64
"""Carts are numbered from here on, checkouts from 1."""

BYTEORDER: Literal["big"] = "big"


def numbered(number: int) -> UUID:
    """The id of this number."""
    made: UUID = pgproto.UUID(number.to_bytes(16, BYTEORDER))
    return made


def counted(first: int) -> Iterator[UUID]:
    """The ids of this number and of all that follow."""
    return map(pgproto.UUID, map(int.to_bytes, count(first), repeat(16), repeat(BYTEORDER)))
