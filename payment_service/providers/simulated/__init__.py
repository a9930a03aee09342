"""A payment provider without a world behind it, for demo and tests.

It keeps its own books in its own database, committed by its own connections, so that they
outlive a killed payment service and can be compared with ours, unit by unit. What happens is
chosen by test payment methods (`methods`). The package has its own migrations.

    methods    what each token asks for
    account    its rules, pure
    bank       its books: calls in batches, each batch one transaction
    provider   the adapter to the port, with delays and timeouts
    api        where the shopper acts and an operator looks
"""
