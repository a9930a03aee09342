"""Ids: fresh ones in the order of time, derived ones the same everywhere."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from contracts.ids import derived_id, first_id_at, new_id, unidentified_record_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(10**15, 7 * 10**15).map(lambda us: EPOCH + timedelta(microseconds=us))


def test_fresh_ids_are_uuids_of_version_7_and_never_repeat() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(type(i) is UUID and i.version == 7 for i in ids)


def test_fresh_ids_of_one_process_are_in_the_order_they_were_made() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(ids)


def test_a_fresh_id_lies_between_the_bounds_of_its_time() -> None:
    before = datetime.now(UTC)
    fresh = new_id()
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    assert first_id_at(before) <= fresh < first_id_at(after)


@given(earlier=moments, later=moments)
@example(EPOCH + timedelta(milliseconds=2188457523858), EPOCH)  # not exact in floating point
def test_bounds_are_in_the_order_of_their_milliseconds(earlier: datetime, later: datetime) -> None:
    def milliseconds(moment: datetime) -> int:
        return (moment - EPOCH) // timedelta(milliseconds=1)

    as_ids = first_id_at(earlier) < first_id_at(later)
    assert as_ids == (milliseconds(earlier) < milliseconds(later))
    assert first_id_at(earlier).int >> 80 == milliseconds(earlier)
    assert first_id_at(earlier).version == 7


@given(parent=st.uuids(), name=st.text(max_size=40), other=st.text(max_size=40))
def test_a_derived_id_depends_on_parent_and_name_alone(parent: UUID, name: str, other: str) -> None:
    assert derived_id(parent, name) == derived_id(parent, name)
    assert (derived_id(parent, name) == derived_id(parent, other)) == (name == other)


def test_derived_ids_stay_what_they_are_for_ever() -> None:
    """Every service derives the ids of an order by itself; a change here would part them."""
    checkout = UUID("01940000-0000-7000-8000-000000000000")
    assert str(derived_id(checkout, "order")) == "5cfa70bc-bc47-51df-928e-d251aa1a44f2"
    assert (
        str(unidentified_record_id("order.commands", 3, 42))
        == "4f42fab1-aaa3-5195-9916-51e045199708"
    )


def test_a_record_without_an_id_is_known_by_its_place() -> None:
    places = [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0), ("a:0", 0, 0)]
    assert len({unidentified_record_id(*place) for place in places}) == len(places)
