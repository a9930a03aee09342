"""The stand-in's own books: what it has of each payment, read from its database."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from stripe_sandbox.app import Running
from stripe_sandbox.database import Object

OPEN = ("requires_action", "requires_capture", "requires_confirmation", "processing")
"""Statuses of an intent of which money may still come."""


@dataclass
class Books:
    """What it has of one payment, in minor units, and what it should not have.

    `balance_minor` is what its balance has of it, by the entries that moved it.
    """

    held_minor: int = 0
    captured_minor: int = 0
    pending_minor: int = 0
    refunded_minor: int = 0
    disputed_minor: int = 0
    lost_minor: int = 0
    balance_minor: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def left_minor(self) -> int:
        """What is ours of it, by its parts."""
        given_back = self.refunded_minor + self.pending_minor
        return self.captured_minor - given_back - self.disputed_minor - self.lost_minor


def books_of(sandbox: Running) -> dict[UUID, Books]:
    """The books by payment."""
    kinds = (
        *("payment_intent", "charge", "refund", "dispute"),
        *("checkout.session", "balance_transaction"),
    )
    with sandbox.database.transaction() as transaction:
        have = {kind: transaction.all_of(kind) for kind in kinds}
    books: defaultdict[UUID, Books] = defaultdict(Books)
    of_intent = {one["id"]: one["metadata"]["payment_id"] for one in have["payment_intent"]}
    moved = {entry["id"]: entry for entry in have["balance_transaction"]}
    _intents(books, have["payment_intent"])
    _pages(books, have["checkout.session"])
    for charge in have["charge"]:
        if charge["paid"] and charge["captured"]:
            book = books[UUID(of_intent[charge["payment_intent"]])]
            book.captured_minor += charge["amount_captured"]
    for refund in have["refund"]:
        if refund["balance_transaction"] is not None:  # else a hold was let go
            _refunded(books[UUID(of_intent[refund["payment_intent"]])], refund)
    _made_once(books, have["refund"], of_intent)
    for dispute in have["dispute"]:
        book = books[UUID(of_intent[dispute["payment_intent"]])]
        if dispute["status"] == "lost":
            book.lost_minor += dispute["amount"]
        elif dispute["status"] != "won":
            book.disputed_minor += dispute["amount"]
    source = {
        one["id"]: of_intent[one["payment_intent"]]
        for kind in ("charge", "refund", "dispute")
        for one in have[kind]
    }
    for entry in moved.values():
        books[UUID(source[entry["source"]])].balance_minor += entry["amount"]
    for book in books.values():
        if book.balance_minor != book.left_minor:
            book.wrong.append(f"a balance of {book.balance_minor}, not {book.left_minor}")
    return books


def _intents(books: defaultdict[UUID, Books], intents: Iterable[Object]) -> None:
    paid: Counter[tuple[UUID, str]] = Counter()
    for intent in intents:
        payment = UUID(intent["metadata"]["payment_id"])
        book = books[payment]
        book.held_minor += intent["amount_capturable"]
        charge_key = intent["metadata"]["charge_key"]
        paid[payment, charge_key] += intent["amount_received"] > 0
        if intent["status"] in OPEN:
            book.wrong.append(f"an intent that is {intent['status']}")
        if intent["status"] == "requires_payment_method":
            error = "declined" if intent["last_payment_error"] else "never confirmed"
            book.wrong.append(f"an intent that is {error} and not cancelled")
    for (payment, charge_key), times in paid.items():
        if times > 1:
            books[payment].wrong.append(f"{charge_key} took money {times} times")


def _pages(books: defaultdict[UUID, Books], pages: Iterable[Object]) -> None:
    made: Counter[tuple[UUID, str]] = Counter()
    for page in pages:
        payment = UUID(page["metadata"]["payment_id"])
        made[payment, page["metadata"]["charge_key"]] += 1
        if page["status"] == "open":
            books[payment].wrong.append("a page that is open")
    for (payment, charge_key), times in made.items():
        if times > 1:
            books[payment].wrong.append(f"{charge_key} has {times} pages")


def _refunded(book: Books, refund: Object) -> None:
    if refund["status"] == "succeeded":
        book.refunded_minor += refund["amount"]
    elif refund["status"] == "pending":
        book.pending_minor += refund["amount"]


def _made_once(
    books: defaultdict[UUID, Books], refunds: Iterable[Object], of_intent: dict[str, str]
) -> None:
    made: Counter[tuple[str, str]] = Counter(
        (one["payment_intent"], one["metadata"]["refund_key"])
        for one in refunds
        if "refund_key" in one["metadata"]
    )
    for (intent, key), times in made.items():
        if times > 1:
            books[UUID(of_intent[intent])].wrong.append(f"{key} was made {times} times")


def customers_of(sandbox: Running) -> Counter[str]:
    """How many of each of our customers it has."""
    with sandbox.database.transaction() as transaction:
        return Counter(one["metadata"]["customer_id"] for one in transaction.all_of("customer"))
