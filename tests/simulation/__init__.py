"""Everything at once, in one process, from one seed: services, network, clock, databases, bank.

    world       the clock, and what happens next
    broker      topics: order per key, delays, redelivery, loss
    database    rows, inbox, recorded replies, outbox; a transaction, and the product's own fold
    service     what the four have in common: the product's handlers, transactions, the relay
    orders, inventory, carts, payments
                their stand-ins for stores and sweepers; the payment worker's leases and calls
    alarms      when a sweeper finds a row due
    dead_letters
                what a broken release refuses, and how it is replayed
    bank        the simulated provider's own rules, and what goes wrong on the way to it
    shoppers    who buys, cancels, pays again, or goes away
    faults      how often what goes wrong, drawn for each world
    invariants  what must hold after each step, and at the end
    ids         counted, of the driver's own class
    trace       what happened: a digest of it, and the story of one checkout
    mutants     bugs on purpose, which the simulation has to find
    search      many worlds after each other; the shortest world that still fails

`python -m tests.simulation --seed 7 --checkouts 100000`
"""
