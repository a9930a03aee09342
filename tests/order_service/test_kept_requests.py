"""Requests are parsed once while they are kept, and kept within bytes."""

from order_service.exploration import start
from order_service.store.requests import KeptRequests

FIRST, SECOND, THIRD = (
    start().model_copy(update={"email": f"{name}@shop.example"}) for name in ("ada", "bob", "eve")
)


def stored_bytes() -> int:
    return len(FIRST.model_dump_json().encode())


def test_a_request_is_read_as_it_was_written_and_not_parsed_again() -> None:
    requests = KeptRequests()
    stored = requests.stored(FIRST)
    assert requests.parsed(stored) is FIRST
    elsewhere = KeptRequests()
    once = elsewhere.parsed(stored)
    assert once == FIRST
    assert elsewhere.parsed(stored) is once


def test_beyond_the_bound_what_was_not_asked_for_longest_is_forgotten() -> None:
    requests = KeptRequests(most_bytes=2 * stored_bytes())
    first, second = requests.stored(FIRST), requests.stored(SECOND)
    requests.parsed(first)
    requests.stored(THIRD)
    assert requests.parsed(first) is FIRST
    again = requests.parsed(second)
    assert again == SECOND
    assert again is not SECOND


def test_one_that_is_larger_than_the_bound_is_not_kept() -> None:
    requests = KeptRequests(most_bytes=stored_bytes() - 1)
    stored = requests.stored(FIRST)
    assert requests.parsed(stored) == FIRST
    assert requests.parsed(stored) is not FIRST
