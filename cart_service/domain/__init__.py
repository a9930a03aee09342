"""The rules of carts, quotes and checkout requests: no I/O, no clock, no SQL."""
