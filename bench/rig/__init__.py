"""The lean rig: the same pipeline with nothing but what makes it right, as a mark to measure by.

Four services as processes, five Kafka hops, real Kafka and PostgreSQL: inbox, state and outbox in
one transaction for each batch, array statements, acks of all replicas, offsets committed after the
transaction. Without validation, tracing, metrics, deadlines, a provider, public events, or a
ledger. `python -m bench.rig` measures it alone.

    cart --start--> order --reserve--> inventory --reserved--> order --charge--> payment --paid--> order
"""  # noqa: E501 - a picture
