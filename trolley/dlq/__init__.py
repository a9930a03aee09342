"""`trolley dlq`: dead letters, over the HTTP APIs of the services."""
