"""The balance: every movement of money at the provider, as one balance transaction.

There are no fees here, so net is the amount. Money of a charge is available two days later.

Source: Stripe API reference, "Balance Transactions"; reporting categories and types as published in
"Balance transaction types".
"""

from typing import Final

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding

AVAILABLE_AFTER_SECONDS: Final = 2 * 24 * 3600

CATEGORIES = {
    "charge": "charge",
    "payment": "charge",
    "refund": "refund",
    "payment_refund": "refund",
    "refund_failure": "refund_failure",
    "payment_failure_refund": "refund_failure",
}
"""Reporting categories by type."""


def moved(
    transaction: Transaction,
    kind: str,
    source: Object,
    amount: int,
    *,
    description: str | None = None,
    category: str | None = None,
    at_once: bool = False,
) -> str:
    """Book a movement that `source` brings about, negative where money goes; gives its id."""
    name = transaction.new_id("txn")
    entry = {
        "id": name,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": transaction.now + (0 if at_once else AVAILABLE_AFTER_SECONDS),
        "balance_type": "payments",
        "created": transaction.now,
        "currency": source["currency"],
        "description": description,
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": amount,
        "reporting_category": category or CATEGORIES[kind],
        "source": source["id"],
        "status": "available" if at_once else "pending",
        "type": kind,
    }
    transaction.save(entry)
    if not at_once:
        transaction.later(entry["available_on"], "balance_transaction.available", name)
    return name


def become_available(transaction: Transaction, name: str) -> None:
    """Money that was moved may be spent."""
    entry = transaction.get("balance_transaction", name)
    transaction.save(entry | {"status": "available"})


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("balance_transaction", ids["id"], "id")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "balance_transaction", params, "/v1/balance_transactions")


def _balance(transaction: Transaction, ids: Ids, params: Params) -> Object:
    rows = transaction.sql(
        "SELECT body ->> '$.currency', body ->> '$.status' = 'available', sum(body ->> '$.net')"
        " FROM objects WHERE object = 'balance_transaction' GROUP BY 1, 2",
    ).fetchall()
    sums = {(currency, bool(available)): total for currency, available, total in rows}
    currencies = sorted({currency for currency, _ in sums}) or ["usd"]

    def parts(available: bool) -> list[Object]:
        return [
            {
                "amount": (total := sums.get((currency, available), 0)),
                "currency": currency,
                "source_types": {"card": total},
            }
            for currency in currencies
        ]

    return {
        "object": "balance",
        "available": parts(True),
        "livemode": False,
        "pending": parts(False),
    }


OPERATIONS = {
    "GET /v1/balance": heeding(_balance),
    "GET /v1/balance_transactions": heeding(_list, *LISTED, "source", "type"),
    "GET /v1/balance_transactions/{id}": heeding(_retrieve),
}
