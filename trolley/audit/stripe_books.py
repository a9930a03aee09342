"""What stands in Stripe's books, as rows that can be joined with our ledger.

They are asked for as anybody with the key may: all charges, refunds and disputes of the last days
in lists, afterwards what Stripe tells in its events since. An event carries its object as it was,
and events of one second stand in no order, so what breaks a rule is asked for by itself before it
is certain. Charges, refunds and disputes alone move a payment's money; the rest is not read.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import stripe
from pydantic import SecretStr
from stripe.params import EventListParams

from messaging.clock import utc_now
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.keys import WrongKey, checked_key
from payment_service.providers.stripe.labels import label
from payment_service.providers.stripe.pages import is_page
from payment_service.providers.stripe.reading import unknown
from trolley.audit.engine import Engine, Space
from trolley.audit.settings import AuditSettings
from trolley.audit.subjects import is_id
from trolley.runtime.errors import RuntimeStartError
from trolley.services import SANDBOX_KEY
from trolley.together import together

PAGE = 100
"""Objects of a page: the most that Stripe gives."""

TOLD = (
    "charge.succeeded",
    "charge.captured",
    "charge.refunded",
    "charge.expired",
    "charge.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
"""The types of events after which an object that is read here is another; at most 20 are taken."""

_CHARGES = {"charge": "VARCHAR", "intent": "VARCHAR", "payment": "VARCHAR", "attempt": "INTEGER"}
"""`payment` is what our label on the charge says, or the intent's id where there is no label."""
_AMOUNTS = {
    "object": "VARCHAR",
    "charge": "VARCHAR",
    "balance": "VARCHAR",
    "amount": "BIGINT",
    "currency": "VARCHAR",
    "made_at": "TIMESTAMP",
}
_READ = {"since": "TIMESTAMP"}
"""From when on everything was read."""

Money: TypeAlias = stripe.Charge | stripe.Refund | stripe.Dispute


class StripeUnavailable(RuntimeStartError):
    """Stripe, or what stands in for it, cannot be asked."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(
            f"{name} cannot be asked ({reason}): check PAYMENT_STRIPE_API_KEY and "
            f"PAYMENT_STRIPE_BASE_URL, and that it runs."
        )


@dataclass(frozen=True, slots=True)
class StripeAccount:
    """Whose books are read, by the settings of the payment service."""

    key: SecretStr
    base_url: str | None

    @classmethod
    def named_by(cls, environment: Mapping[str, str]) -> "StripeAccount | None":
        """The account that payments are made with; None where there is none, nor a stand-in.

        Raises StripeUnavailable.
        """
        key, base_url = (
            environment.get(f"PAYMENT_STRIPE_{name}") or None for name in ("API_KEY", "BASE_URL")
        )
        if key is None or (key == SANDBOX_KEY and base_url is None):
            return None
        account = cls(SecretStr(key), base_url)
        try:
            checked_key(account.key, base_url, production=False)
        except WrongKey as error:
            raise StripeUnavailable(account.name, str(error)) from None
        return account

    @property
    def name(self) -> str:
        """As people are told of it."""
        return f"Stripe's stand-in at {self.base_url}" if self.base_url else "Stripe"


class StripeBooks:
    """The books as far as they were read; `read_on` takes in what happened since."""

    def __init__(
        self,
        account: StripeAccount,
        api: stripe.StripeClient,
        engine: Engine,
        bounds: AuditSettings,
    ) -> None:
        self.account = account
        self.news: dict[str, None] = {}
        """Payments of which something was told since the first reading; its reader clears it."""
        self._api = api.v1
        self._engine = engine
        self._bounds = bounds
        self._turn = asyncio.Lock()
        self._told: str | None = None
        """The event up to which everything was taken in."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, account: StripeAccount, engine: Engine, settings: AuditSettings
    ) -> AsyncIterator["StripeBooks"]:
        """The books of this account, nothing read yet."""
        connection = StripeConnection(
            account.key.get_secret_value(),
            account.base_url,
            call_seconds=settings.audit_stripe_call_seconds,
        )
        try:
            await engine.main.make("stripe_charges", _CHARGES)
            await engine.main.make("stripe_amounts", _AMOUNTS)
            await engine.main.make("stripe_read", _READ)
            yield cls(account, connection.api, engine, settings)
        finally:
            await connection.close()

    async def read_all(self) -> None:
        """Take in everything of the last `audit_stripe_days`, in place of what was read before.

        Raises StripeUnavailable and AuditTooLarge.
        """
        main = self._engine.main
        since = utc_now() - timedelta(days=self._bounds.audit_stripe_days)
        for table in ("stripe_charges", "stripe_amounts", "stripe_read"):
            await main.run(f"TRUNCATE {table}")
        # Clocks differ: what is nearer than that to the begin of the lists may be only half there.
        whole = since + timedelta(seconds=self._bounds.audit_overlap_seconds)
        await main.take_over("stripe_read", _READ, [(whole.isoformat(),)])
        with self._asked():
            # Before the lists: what happens while they are read is told again.
            newest = await self._api.events.list_async(params={"limit": 1})
            self._told = newest.data[0].id if newest.data else None
            listing = {"created": {"gte": int(since.timestamp())}}
            await together(self._take_in(pages) for pages in self._lists(listing))
        self.news.clear()

    async def read_on(self, again: Iterable[str] = ()) -> None:
        """Take in what was told since, and everything of these intents.

        Of more than `audit_stripe_events` the rest waits for the next time. Raises
        StripeUnavailable and AuditTooLarge.
        """
        with self._asked():
            for _ in range(0, self._bounds.audit_stripe_events, PAGE):
                params: EventListParams = {"types": list(TOLD), "limit": PAGE}
                if self._told is not None:
                    params["ending_before"] = self._told
                page = await self._api.events.list_async(params=params)
                # The newest come first, also on the page that ends before an older one.
                await self._replace([event.data.object for event in reversed(page.data)])
                if page.data:
                    self._told = page.data[0].id
                if self._told is None or len(page.data) < PAGE:
                    break
        await self.read_again(again)

    async def read_again(self, intents: Iterable[str]) -> None:
        """Take in everything of these intents, whenever it was made.

        A payment on Stripe's own page may go by the name of the page: it has charges under our
        label, and an intent, once it is paid. At most `audit_stripe_intents`: the rest is as it
        was. Raises StripeUnavailable and AuditTooLarge.
        """
        turns = asyncio.Semaphore(_AT_ONCE)

        async def read(intent: str) -> None:
            async with turns:
                # What Stripe does not know has no money there.
                with suppress(stripe.InvalidRequestError):
                    for pages in self._lists({"payment_intent": intent}):
                        await self._take_in(pages)

        names = [name for name in intents if not is_page(name)]
        with self._asked():
            await together(read(name) for name in names[: self._bounds.audit_stripe_intents])

    async def narrow(self, space: Space, payments: Sequence[str]) -> None:
        """Make a space see the books of these payments alone."""
        await space.run(
            f"CREATE TABLE {space.name}.stripe_charges AS FROM main.stripe_charges"
            " WHERE payment IN (SELECT unnest(?::VARCHAR[]))",
            (list(payments),),
        )
        await space.run(
            f"CREATE TABLE {space.name}.stripe_amounts AS FROM main.stripe_amounts"  # noqa: S608 - names of ours
            f" WHERE charge IN (SELECT charge FROM {space.name}.stripe_charges)"
        )

    def _lists(self, params: Mapping[str, Any]) -> Iterator[AsyncIterator[list[Money]]]:
        """The pages of charges, of refunds and of disputes."""
        for listed in (self._api.charges, self._api.refunds, self._api.disputes):
            yield _pages(listed, params)

    async def _take_in(self, pages: AsyncIterator[list[Money]]) -> None:
        async for objects in pages:
            await self._replace(objects)

    async def _replace(self, objects: Sequence[Any]) -> None:
        """Put objects in the place of what was known of them; of several states the last counts."""
        last = {one.id: one for one in objects}
        if last:
            async with self._turn:
                await self._put(last)

    async def _put(self, last: Mapping[str, Any]) -> None:
        main, names = self._engine.main, list(last)
        charges = [_labelled(one) for one in last.values() if one.object == "charge"]
        amounts = [
            (one.id, _charge_of(one), balance, amount, one.currency.upper(), _moment(one.created))
            for one in last.values()
            for balance, amount in balances_of(one)
        ]
        about = [_charge_of(one) for one in last.values()]
        await main.run("DELETE FROM stripe_charges WHERE charge IN (SELECT unnest(?))", (names,))
        await main.run("DELETE FROM stripe_amounts WHERE object IN (SELECT unnest(?))", (names,))
        if charges:
            await main.take_over("stripe_charges", _CHARGES, charges)
        if amounts:
            await main.take_over("stripe_amounts", _AMOUNTS, amounts)
        payments = await main.run(
            "SELECT DISTINCT payment FROM stripe_charges WHERE charge IN (SELECT unnest(?))",
            (about,),
        )
        self.news.update((payment, None) for (payment,) in payments)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """What goes wrong is told with its address. Raises StripeUnavailable."""
        try:
            yield
        except stripe.StripeError as error:
            raise StripeUnavailable(self.account.name, unknown(error).reason) from error


_AT_ONCE = 8
"""Intents that are asked for at a time."""


async def _pages(listed: Any, params: Mapping[str, Any]) -> AsyncIterator[list[Money]]:
    after: dict[str, str] = {}
    while True:
        page = await listed.list_async(params={**params, **after, "limit": PAGE})
        yield page.data
        if not page.has_more:
            return
        after = {"starting_after": page.data[-1].id}


def balances_of(one: Money) -> Iterator[tuple[str, int]]:
    """What an object says of a payment's money: balances of our ledger, in minor units.

    Source: Stripe API reference, "The Charge object", "The Refund object", "The Dispute object".
    """
    match one:
        case stripe.Charge(status="succeeded"):
            yield "authorized", one.amount
            if one.captured:
                yield "captured", one.amount_captured
                yield "voided", one.amount - one.amount_captured
            elif one.refunded:  # a hold that was let go
                yield "voided", one.amount
        case stripe.Refund(status="succeeded"):
            if one.balance_transaction is not None:  # else it is what a capture left of its hold
                yield "refunded", one.amount
        case stripe.Refund(status="pending" | "requires_action"):
            yield "refund_pending", one.amount
        case stripe.Dispute(status="needs_response" | "under_review"):
            yield "disputed", one.amount
        case stripe.Dispute(status="lost"):
            yield "dispute_lost", one.amount
        case _:  # no money moved, or it came back
            return


def _labelled(charge: stripe.Charge) -> tuple[str, str | None, str, int]:
    """A charge with its intent and with what our label on it says; 0 is no attempt."""
    intent = _name(charge.payment_intent)
    labelled, number = (label(charge.metadata, name) or "" for name in ("payment_id", "attempt"))
    payment = labelled if is_id(labelled) else (intent or charge.id)
    return charge.id, intent, payment, int(number) if number.isdecimal() else 0


def _charge_of(one: Money) -> str | None:
    return one.id if isinstance(one, stripe.Charge) else _name(one.charge)


def _name(reference: Any) -> str | None:
    """The id of an object that may be expanded."""
    return reference if reference is None or isinstance(reference, str) else reference.id


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
