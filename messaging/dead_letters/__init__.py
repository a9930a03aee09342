"""Dead letters: what could not be handled, what waits behind it, and how operators replay it."""
