"""Shops; apart from messages, so that who needs but this loads none of those."""

DEFAULT_SHOP = "main"
"""Whose it is where nobody says so."""
