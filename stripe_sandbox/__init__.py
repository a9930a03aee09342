"""A stand-in for Stripe with a state of its own: its wire, its test cards, its troubles.

It is a program of its own, which knows nothing of Trolley, and is for development, tests and
demonstration: it binds to loopback, takes test keys only and moves no money.

    server        takes a request, makes it fail where that was asked for, and sends what came of it
    limit         refuses what comes too often, where it is told a rate
    routes        find the operation that a method and a path name
    parameters    decode and check what came with it, by Stripe's own description of the operation
    idempotency   knows whether the same was asked before under the same key
    resources/    carry it out: one module an object, the rules of money in them
    pages/        what shoppers see: the page of a session, the bank's question
    database      keeps every object in one SQLite file, so that all of it survives a restart
    agenda        what happens by itself later on: debits that arrive, holds that expire
    webhooks      tell the endpoints what happened, signed, again and again until they take it

`cards` and `currencies` hold what Stripe has published about its test cards and about amounts.
A parameter that Stripe has and the sandbox does nothing with is refused, never ignored.
"""
