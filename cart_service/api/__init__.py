"""The REST API of carts; the only place that knows HTTP."""
