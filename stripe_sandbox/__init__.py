"""A sandbox that speaks Stripe's HTTP wire and keeps state."""
