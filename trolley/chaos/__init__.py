"""Faults against the running whole, in real processes, while shoppers buy."""
