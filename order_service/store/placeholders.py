"""States of rows that stand for a checkout which has not begun."""

UNSEEN = "unseen"
"""A row that is locked for a checkout which has not begun."""

TOMBSTONE = "tombstone"
"""A cancel came before its checkout."""
