"""The local runtime: embedded Kafka and PostgreSQL, the services, and who cleans up after them."""
