"""One checkout under a magnifying glass, and those that are stuck, over all services."""
