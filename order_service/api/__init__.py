"""The REST API of orders: the only place of this service that knows HTTP status codes."""
