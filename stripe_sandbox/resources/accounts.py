"""The one account that the sandbox's key belongs to.

Source: Stripe API reference, "Accounts".
"""

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.operations import Ids, Params, heeding

ACCOUNT = "acct_1Sandbox00000000"


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return {
        "id": ACCOUNT,
        "object": "account",
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "payouts_enabled": True,
        "type": "standard",
    }


OPERATIONS = {"GET /v1/account": heeding(_retrieve)}
