"""Kafka's requests about transactions that aiokafka does not have (KIP-664).

The schemas are those of Kafka's protocol guide, each in the newest version that needs no more.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

Partitions: TypeAlias = Mapping[str, Sequence[int]]
"""By topic."""


class Question:
    """A request with its values; aiokafka's client sends it as one of its own."""

    def __init__(self, kind: Any, *values: Any) -> None:
        self._request = kind(*values, _NO_TAGS)

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """The request, for a broker of these versions. Raises IncompatibleBrokerVersion."""
        request = self._request
        lowest, highest = versions.get(request.API_KEY, (0, -1))
        if not lowest <= request.API_VERSION <= highest:
            raise IncompatibleBrokerVersion(f"{type(request).__name__} {request.API_VERSION}")
        return request


def describe_transaction(transactional_id: str) -> Question:
    """What a coordinator knows of a transactional id; asked of that coordinator."""
    return Question(_DESCRIBE_TRANSACTIONS, [transactional_id])


def describe_producers(partitions: Partitions) -> Question:
    """Who writes to partitions, and since which offset in a transaction; asked of their leader."""
    return Question(_DESCRIBE_PRODUCERS, _listed(partitions))


def write_marker(
    topic: str,
    partition: int,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    commit: bool,
) -> Question:
    """End a producer's transaction on one partition; asked of its leader."""
    places = _listed({topic: [partition]})
    marker = (producer_id, producer_epoch, commit, places, coordinator_epoch, _NO_TAGS)
    return Question(_WRITE_TXN_MARKERS, [marker])


def _listed(partitions: Partitions) -> list[tuple[str, list[int], dict[int, bytes]]]:
    return [(topic, list(numbers), _NO_TAGS) for topic, numbers in partitions.items()]


_NO_TAGS: dict[int, bytes] = {}
_NAME = CompactString("utf-8")


def _fields(*fields: tuple[str, Any]) -> tuple[tuple[str, Any], ...]:
    """In the flexible versions of a request every structure ends with a field for more."""
    return (*fields, ("tags", TaggedFields))


def _array(*fields: tuple[str, Any]) -> CompactArray:
    return CompactArray(*_fields(*fields))


def _request(
    name: str,
    api_key: int,
    version: int,
    *,
    asked: tuple[tuple[str, Any], ...],
    answered: tuple[tuple[str, Any], ...],
) -> Any:
    """A request as aiokafka declares them, with the answer to it."""
    api = {"API_KEY": api_key, "API_VERSION": version}
    answer = type(f"{name}Response", (Response,), {**api, "SCHEMA": Schema(*_fields(*answered))})
    known = {"FLEXIBLE_VERSION": True, "RESPONSE_TYPE": answer, "SCHEMA": Schema(*_fields(*asked))}
    return type(f"{name}Request", (RequestStruct,), {**api, **known})


_PLACES = ("topics", _array(("name", _NAME), ("partition_indexes", CompactArray(Int32))))

_DESCRIBE_TRANSACTIONS = _request(
    "DescribeTransactions",
    65,
    0,
    asked=(("transactional_ids", CompactArray(_NAME)),),
    answered=(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            _array(
                ("error_code", Int16),
                ("transactional_id", _NAME),
                ("transaction_state", _NAME),
                ("transaction_timeout_ms", Int32),
                ("transaction_start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", _array(("topic", _NAME), ("partitions", CompactArray(Int32)))),
            ),
        ),
    ),
)

_ACTIVE_PRODUCERS = _array(
    ("producer_id", Int64),
    ("producer_epoch", Int32),
    ("last_sequence", Int32),
    ("last_timestamp", Int64),
    ("coordinator_epoch", Int32),
    ("current_txn_start_offset", Int64),
)
_DESCRIBED_PARTITIONS = _array(
    ("partition_index", Int32),
    ("error_code", Int16),
    ("error_message", _NAME),
    ("active_producers", _ACTIVE_PRODUCERS),
)
_DESCRIBE_PRODUCERS = _request(
    "DescribeProducers",
    61,
    0,
    asked=(_PLACES,),
    answered=(
        ("throttle_time_ms", Int32),
        ("topics", _array(("name", _NAME), ("partitions", _DESCRIBED_PARTITIONS))),
    ),
)

_MARKED_PARTITIONS = _array(("partition_index", Int32), ("error_code", Int16))
_WRITE_TXN_MARKERS = _request(
    "WriteTxnMarkers",
    27,
    1,
    asked=(
        (
            "markers",
            _array(
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("transaction_result", Boolean),
                _PLACES,
                ("coordinator_epoch", Int32),
            ),
        ),
    ),
    answered=(
        (
            "markers",
            _array(
                ("producer_id", Int64),
                ("topics", _array(("name", _NAME), ("partitions", _MARKED_PARTITIONS))),
            ),
        ),
    ),
)
