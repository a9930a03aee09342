"""Partitions are chosen as every Java client chooses them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("text", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_vectors_of_kafkas_own_tests(text: str, signed: int) -> None:
    """Source: `UtilsTest.testMurmur2` of Apache Kafka; Java prints the hash as a signed int."""
    assert murmur2(text.encode()) == signed % 2**32


@given(data=st.binary(max_size=200))
def test_a_hash_is_an_unsigned_32_bit_number(data: bytes) -> None:
    assert 0 <= murmur2(data) < 2**32


@given(key=st.binary(max_size=64), partitions=st.integers(1, 64))
def test_a_key_has_one_partition_of_those_there_are(key: bytes, partitions: int) -> None:
    partition = partition_of(key, partitions)
    assert 0 <= partition < partitions
    assert partition == (murmur2(key) % 2**31) % partitions
