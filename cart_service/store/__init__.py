"""Set-based reads and writes of the cart service's tables."""
