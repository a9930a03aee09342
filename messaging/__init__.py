"""How messages travel exactly once, and how a service is put together around that."""
