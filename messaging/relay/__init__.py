"""The relay: carries what is committed in the outbox to Kafka, in order per key.

A database has one outbox with two lanes, each with a relay of its own. Commands, replies and read
models take the plain lane: at least once, and readers drop by message id what comes twice. Public
events take the transactional lane: once on the topic, for readers who know nothing of ids.
"""

from messaging.relay.lead import Relay
from messaging.relay.plain import PlainRelay
from messaging.relay.transactional import TransactionalRelay

__all__ = ["PlainRelay", "Relay", "TransactionalRelay"]
