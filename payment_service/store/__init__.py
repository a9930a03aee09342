"""Set-based reads and writes of the payment service's tables.

payments    what the fold locks, loads and saves
operations  what the worker claims, records and gives up
"""
