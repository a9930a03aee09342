"""Stripe, through its own SDK; against its API with a real key, or against `stripe_sandbox`.

    keys       which key may be sent where
    client     the SDK's client: one API version, our timeouts, no hidden retries
    labels     our names of a payment, kept there as metadata
    pages      Checkout Sessions: the page on which a hosted attempt is paid
    lines      what such a page says is bought
    reading    what Stripe's objects and errors say, as outcomes
    provider   the adapter to the port: which calls are made, under which keys
    webhooks   whether one is genuine, and which payment it is about
    api        where they come in

An attempt is one payment intent, made without money moving, then confirmed by its id. What Stripe
declines is cancelled there, so that no other page can still pay it: the next attempt has its own.
An attempt that is paid on Stripe's page is a session until that is complete, then its intent.
"""
