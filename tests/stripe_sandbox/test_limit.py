"""The rate limit of the sandbox."""

from stripe_sandbox.limit import Limit


def test_what_is_more_within_a_second_is_refused_and_counted() -> None:
    limit = Limit(2)

    assert [limit.takes_one_more() for _ in range(4)] == [True, True, False, False]
    assert (limit.taken, limit.refused) == (2, 2)


def test_without_a_limit_everything_is_taken() -> None:
    limit = Limit(None)

    assert all(limit.takes_one_more() for _ in range(1000))
    assert limit.taken == 1000
