"""The demo: a real wholesaler's orders through the whole stack, with faults, and every check."""
