"""The REST API of inventory, for operators; the only place that knows HTTP."""
