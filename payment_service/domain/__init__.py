"""The rules of payments, pure: what providers say, what is booked, what is decided.

outcomes   what a provider can answer
ledger     facts, and the amounts that follow from them
payment    a payment with its attempts, refunds and operations
rules      what a decision goes by, and what it comes to
decisions  what each message does to a payment: the way in
commands   charge, capture, close, refund
reports    what became of an operation at the provider
reviews    what else is seen there, whoever did it: the attempt, refunds, disputes
breaker    whether a provider is called at all
pace       how fast it is called
"""
