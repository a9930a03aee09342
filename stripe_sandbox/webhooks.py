"""Deliveries: every event goes to each endpoint that wants it, until it is taken or given up.

Nothing is promised about order, as with Stripe: deliveries run side by side, what fails comes again
later, and faults make them overtake each other, come twice, or not at all. Waits and signatures go
by the machine's clock, not by the sandbox's: endpoints compare the time of a signature with theirs.

Source: Stripe guide "Receive Stripe events in your webhook endpoint".
"""

import asyncio
import hmac
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

import aiohttp
import orjson
import structlog

from stripe_sandbox.database import Database, Transaction
from stripe_sandbox.faults import Faults, Trouble, WebhookFault, asked_for
from stripe_sandbox.settings import SandboxSettings

log = structlog.get_logger()

LONGEST_RETRY_SECONDS = 3600

BROKEN_SECONDS = 1
"""Wait after trouble with the database itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    number: int
    url: str
    body: bytes
    secret: str
    attempts: int
    is_forged: bool


def signature(secret: str, body: bytes, at: int) -> str:
    """The value of `Stripe-Signature` for a body sent at that second."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return f"t={at},v1={signed}"


class Deliveries:
    """Sends what is due; woken by whoever records an event."""

    def __init__(self, database: Database, faults: Faults, settings: SandboxSettings) -> None:
        self._database = database
        self._faults = faults
        self._settings = settings
        self._awake = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There may be something to send."""
        self._awake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout_seconds)
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as http:
            try:
                self._take_up()
                while True:
                    await self._round(http)
            finally:
                for task in self._in_flight:
                    task.cancel()
                await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _take_up(self) -> None:
        """What an earlier process was sending when it ended may not have arrived."""
        with self._database.transaction() as transaction:
            transaction.sql(
                "UPDATE deliveries SET state = 'pending', due = 0 WHERE state = 'sending'"
            )

    async def _round(self, http: aiohttp.ClientSession) -> None:
        """Send what is due, and wait until something else may be."""
        self._awake.clear()
        most = self._settings.webhooks_in_flight
        try:
            for delivery in self._claimed(most - len(self._in_flight)):
                task = asyncio.create_task(self._deliver(http, delivery))
                self._in_flight.add(task)
                task.add_done_callback(self._ended)
            wait = None if len(self._in_flight) >= most else self._idle_seconds()
        except sqlite3.Error:
            log.exception("webhooks cannot be sent")
            wait = BROKEN_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._awake.wait()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.discard(task)
        self._awake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("what came of a webhook was not noted", exc_info=error)

    def _idle_seconds(self) -> float | None:
        """Until the next delivery is due."""
        with self._database.transaction() as transaction:
            due = transaction.sql(
                "SELECT min(due) FROM deliveries WHERE state = 'pending'"
            ).fetchone()[0]
        return None if due is None else max(due - time.time(), 0.01)

    def _claimed(self, room: int) -> list[Delivery]:
        if room <= 0:
            return []
        claimed = []
        with self._database.transaction() as transaction:
            rows = transaction.sql(
                "SELECT number, event, endpoint, attempts FROM deliveries"
                " WHERE state = 'pending' AND due <= ? ORDER BY due, number LIMIT ?",
                (time.time(), room),
            ).fetchall()
            for number, event, endpoint, attempts in rows:
                delivery = self._prepared(transaction, number, event, endpoint, attempts)
                if delivery is not None:
                    claimed.append(delivery)
        return claimed

    def _prepared(
        self, transaction: Transaction, number: int, event: str, endpoint: str, attempts: int
    ) -> Delivery | None:
        """The delivery, which is being sent from now on; none where a fault says otherwise."""
        told, where = transaction.find(event), transaction.find(endpoint)
        if told is None or where is None or where["status"] != "enabled":
            transaction.sql("UPDATE deliveries SET state = 'gone' WHERE number = ?", (number,))
            return None
        body = orjson.dumps(told, option=orjson.OPT_INDENT_2)
        fault = self._fault(transaction, number, told["type"], body)
        if fault is not None:
            match fault.fault:
                case WebhookFault.NEVER_SENT:
                    transaction.sql(
                        "UPDATE deliveries SET state = 'never' WHERE number = ?", (number,)
                    )
                    return None
                case WebhookFault.DELAYED | WebhookFault.OVERTAKEN:
                    due = time.time() + fault.milliseconds / 1000
                    transaction.sql(
                        "UPDATE deliveries SET due = ?, fault = 'had' WHERE number = ?",
                        (due, number),
                    )
                    return None
                case WebhookFault.DUPLICATED:
                    transaction.sql(
                        "INSERT INTO deliveries (event, endpoint, due, fault)"
                        " VALUES (?, ?, ?, 'had')",
                        (event, endpoint, time.time() + fault.milliseconds / 1000),
                    )
        transaction.sql(
            "UPDATE deliveries SET state = 'sending', attempts = attempts + 1, fault = 'had'"
            " WHERE number = ?",
            (number,),
        )
        return Delivery(
            number,
            where["url"],
            body,
            transaction.private(endpoint)["secret"],
            attempts + 1,
            fault is not None and fault.fault is WebhookFault.WRONGLY_SIGNED,
        )

    def _fault(
        self, transaction: Transaction, number: int, kind: str, body: bytes
    ) -> Trouble[WebhookFault] | None:
        """What is to go wrong; a delivery has one fault in its life, perhaps given to it before."""
        (known,) = transaction.sql(
            "SELECT fault FROM deliveries WHERE number = ?", (number,)
        ).fetchone()
        if known == "had":
            return None
        asked = asked_for(known) if known is not None else None
        if asked is not None and isinstance(asked.fault, WebhookFault):
            return Trouble(asked.fault, asked.milliseconds)
        return self._faults.of_event(transaction, kind, body.decode())

    async def _deliver(self, http: aiohttp.ClientSession, delivery: Delivery) -> None:
        secret = "whsec_of_somebody_else" if delivery.is_forged else delivery.secret
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(secret, delivery.body, int(time.time())),
            "User-Agent": "Stripe/1.0 (sandbox)",
        }
        status: int | None = None
        try:
            async with http.post(
                delivery.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: no such host
            log.debug("webhook not delivered", url=delivery.url, error=type(error).__name__)
        with self._database.transaction() as transaction:
            self._note(transaction, delivery, status)

    def _note(self, transaction: Transaction, delivery: Delivery, status: int | None) -> None:
        taken = status is not None and 200 <= status < 300
        given_up = delivery.attempts >= self._settings.webhook_attempts
        state = "delivered" if taken else "given_up" if given_up else "pending"
        wait = self._settings.webhook_first_retry_seconds * 2 ** (delivery.attempts - 1)
        row = transaction.sql(
            "UPDATE deliveries SET state = ?, status = ?, due = ? WHERE number = ? RETURNING event",
            (state, status, time.time() + min(wait, LONGEST_RETRY_SECONDS), delivery.number),
        ).fetchone()
        event = transaction.find(row[0]) if row is not None else None
        if taken and event is not None:
            event["pending_webhooks"] = transaction.sql(
                "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE event = ?"
                " GROUP BY endpoint HAVING NOT max(state = 'delivered'))",
                (event["id"],),
            ).fetchone()[0]
            transaction.save(event)
