"""What replicas say in the text form of Prometheus."""

from trolley.chaos.replica import samples

TEXT = """\
# HELP trolley_relay_leads 1 where this process relays a lane.
# TYPE trolley_relay_leads gauge
trolley_relay_leads{lane="plain",service="order"} 1.0
trolley_relay_leads{lane="transactional",service="order"} 0.0
process_open_fds 12.0
trolley_assigned_partitions{consumer="order.commands"} 4.0
"""


def test_samples_are_read() -> None:
    assert list(samples(TEXT)) == [
        ("trolley_relay_leads", {"lane": "plain", "service": "order"}, 1.0),
        ("trolley_relay_leads", {"lane": "transactional", "service": "order"}, 0.0),
        ("process_open_fds", {}, 12.0),
        ("trolley_assigned_partitions", {"consumer": "order.commands"}, 4.0),
    ]
