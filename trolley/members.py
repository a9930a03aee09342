"""Members of the consumer groups: a replica that goes for good is taken out of them.

Static members send no leave, so that a restart has its partitions back. Until somebody takes a
replica that was scaled away out of its groups, its partitions wait for its session to end.
"""

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.group import LeaveGroupRequest

from trolley.topics import admin_client, kafka_settings


async def remove_replica(environment: Mapping[str, str], service: str, slot: int) -> list[str]:
    """Takes a replica out of all groups of its service; answers those that it was a member of.

    One that still runs joins again. Raises `KafkaUnavailable`.
    """
    settings = kafka_settings(environment)
    left: list[str] = []
    async with admin_client(settings) as admin:
        for group, *_ in await admin.list_consumer_groups():
            of_service = group.startswith(f"{settings.topic_prefix}{service}.")
            if of_service and await _remove(admin, group, slot):
                left.append(group)
    return left


async def _remove(admin: AIOKafkaAdminClient, group: str, slot: int) -> bool:
    """Takes the member of this slot out of a group; whether there was one."""
    (described,) = await admin.describe_consumer_groups([group])
    ids = [member[0] for answer in described.groups for member in answer[5]]
    # The broker names a static member after its instance id, which is the group and the slot.
    ours = [member for member in ids if member.startswith(f"{group}-{slot}-")]
    for member in ours:
        coordinator = await admin.find_coordinator(group)
        answer = await admin._send_request_to_node(coordinator, LeaveGroupRequest(group, member))
        if answer.error_code:
            raise for_code(answer.error_code)(f"{member} could not be taken out of {group}")
    return bool(ours)
