"""Carts: what a shopper wants, at which prices, until a checkout takes it over."""
