"""A stand-in for Stripe that needs no network: its HTTP wire, with state."""
