"""Topics: declared once, each with one owner of its commands and room for its records."""

import pytest

from contracts.topics import (
    DEAD_LETTER_HEADROOM_BYTES,
    SERVICES,
    TOPICS,
    TOPICS_BY_NAME,
    Topic,
    dead_letter_topic,
)


def test_every_name_is_declared_once() -> None:
    assert len(TOPICS_BY_NAME) == len(TOPICS)


def test_the_topics_are_those_of_the_design() -> None:
    names = {
        "order.replies", "catalog.items", "inventory.availability", "relay.positions",
        *(f"{name}.commands" for name in ("order", "inventory", "payment", "cart")),
        *(f"{name}.events" for name in ("order", "inventory", "payment", "cart")),
        *(f"{service}.dead-letters" for service in SERVICES),
        *(f"{service}.replays" for service in SERVICES),
    }  # fmt: skip
    assert set(TOPICS_BY_NAME) == names


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_written_by_services_and_kept_for_a_time_or_compacted(topic: Topic) -> None:
    assert topic.writers
    assert set(topic.writers) <= set(SERVICES)
    assert (topic.retention_ms is None) == (topic.cleanup == "compact")
    assert topic.partitions >= 1
    assert topic.broker_max_message_bytes > topic.largest_record_bytes


@pytest.mark.parametrize("topic", [t for t in TOPICS if t.public], ids=lambda topic: topic.name)
def test_a_public_topic_has_one_writer(topic: Topic) -> None:
    assert len(topic.writers) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_dead_letter_has_room_for_the_largest_record_the_broker_takes(service: str) -> None:
    ordinary = max(
        t.broker_max_message_bytes for t in TOPICS if not t.name.endswith(".dead-letters")
    )
    topic = dead_letter_topic(service)
    assert topic.largest_record_bytes >= ordinary + DEAD_LETTER_HEADROOM_BYTES
