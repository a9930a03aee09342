"""How large batches are is what came between two readings."""

from bench.batches import records_in_a_batch


def test_only_batches_that_came_between_count() -> None:
    before = {"order.commands": (1_000.0, 1_000.0), "cart.commands": (5.0, 5.0)}
    after = {"order.commands": (3_000.0, 1_004.0), "cart.commands": (5.0, 5.0)}
    assert records_in_a_batch(before, after) == {"order.commands": 500}
