"""The rules of payments, pure: what providers say, what is booked, what is decided.

outcomes   what a provider can answer
ledger     facts, and the amounts that follow from them
payment    a payment with its attempts, refunds and operations
decisions  what each message does to a payment
breaker    whether a provider is called at all
pace       how fast it is called
"""
