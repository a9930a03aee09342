"""Prints paid orders: `KAFKA_BOOTSTRAP_SERVERS=host:port python docs/examples/subscribe.py`."""

import asyncio
import json
import os

from aiokafka import AIOKafkaConsumer


async def main() -> None:
    async with AIOKafkaConsumer(
        "order.events",
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id="my-fulfilment",
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        async for record in consumer:
            if dict(record.headers)["ce_type"] == b"order.paid.v1":
                order = json.loads(record.value)
                print(order["number"], order["total_minor"], order["currency"], flush=True)


asyncio.run(main())
