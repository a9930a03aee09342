"""Trouble on request: what a caller of the sandbox can have go wrong, and how often.

One request, or each delivery of the events that it brings about, is troubled by its header
`Sandbox-Fault: <fault>[;milliseconds=<n>]`. Rules trouble the next so many requests, or webhooks,
that fit (`POST /sandbox/faults`); the state keeps them.
An answer that is given again under its idempotency key may be refused by the rate limit, slow or
lost, but is no other answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stripe_sandbox.database import Database, Transaction
from stripe_sandbox.errors import InvalidRequest

HEADER = "Sandbox-Fault"


class RequestFault(StrEnum):
    """What can go wrong with a request."""

    SLOW_BEFORE_EFFECT = "slow_before_effect"
    SLOW_AFTER_EFFECT = "slow_after_effect"
    TIMEOUT_BEFORE_EFFECT = "timeout_before_effect"
    TIMEOUT_AFTER_EFFECT = "timeout_after_effect"
    ERROR_BEFORE_EFFECT = "error_before_effect"
    ERROR_AFTER_EFFECT = "error_after_effect"
    RESET_BEFORE_EFFECT = "reset_before_effect"
    RESET_AFTER_EFFECT = "reset_after_effect"
    RATE_LIMIT = "rate_limit"


class WebhookFault(StrEnum):
    """What can go wrong with the delivery of an event."""

    DUPLICATED = "duplicated"
    DELAYED = "delayed"
    OVERTAKEN = "overtaken"
    NEVER_SENT = "never_sent"
    WRONGLY_SIGNED = "wrongly_signed"


WEBHOOK_FAULTS = frozenset(WebhookFault)

MILLISECONDS: Mapping[str, int] = {
    RequestFault.SLOW_BEFORE_EFFECT: 1_000,
    RequestFault.SLOW_AFTER_EFFECT: 1_000,
    WebhookFault.DELAYED: 5_000,
    WebhookFault.OVERTAKEN: 500,
}
"""How long, where nothing else is said."""

LONGEST_MILLISECONDS = 3_600_000
MOST_TIMES = 1_000_000
MOST_RULES = 1_000
"""Each request and each event is held against all of them."""


class TooManyRules(Exception):
    """There are `MOST_RULES` already."""


F = TypeVar("F", RequestFault, WebhookFault)


@dataclass(frozen=True, slots=True)
class Trouble(Generic[F]):
    """What is to go wrong with one request or delivery."""

    fault: F
    milliseconds: int


class Rule(BaseModel):
    """The next `times` requests, or deliveries, that fit are troubled.

    `operation` is a pattern of a method and a path template (`POST /v1/refunds`), `event` one of an
    event's type. `contains` stands in the path, the body or the idempotency key of a request, or in
    an event's body. What is not given fits everything.
    """

    model_config = ConfigDict(extra="forbid")

    fault: RequestFault | WebhookFault
    operation: str = "*"
    event: str = "*"
    contains: str = ""
    milliseconds: int | None = Field(None, ge=0, le=LONGEST_MILLISECONDS)
    times: int = Field(1, ge=1, le=MOST_TIMES)

    @model_validator(mode="after")
    def _is_about_one_thing(self) -> Self:
        is_webhooks = isinstance(self.fault, WebhookFault)
        if (is_webhooks and self.operation != "*") or (not is_webhooks and self.event != "*"):
            raise ValueError("operation is for requests, event is for webhooks")
        return self

    def fits(self, names: str, text: str) -> bool:
        """Whether it is about an operation, or an event type, with this text."""
        pattern = self.event if isinstance(self.fault, WebhookFault) else self.operation
        return fnmatchcase(names, pattern) and self.contains in text


def _trouble(fault: F, milliseconds: int | None) -> Trouble[F]:
    return Trouble(fault, MILLISECONDS.get(fault, 0) if milliseconds is None else milliseconds)


def asked_for(header: str) -> Trouble[RequestFault] | Trouble[WebhookFault]:
    """What the header of a request asks for. Raises InvalidRequest."""
    name, _, option = header.partition(";")
    key, _, value = option.strip().partition("=")
    try:
        milliseconds = int(value) if option else None
        if milliseconds is not None and (
            key != "milliseconds" or not 0 <= milliseconds <= LONGEST_MILLISECONDS
        ):
            raise ValueError(option)
        wanted = name.strip()
        if wanted in WEBHOOK_FAULTS:
            return _trouble(WebhookFault(wanted), milliseconds)
        return _trouble(RequestFault(wanted), milliseconds)
    except ValueError:
        known = ", ".join((*RequestFault, *WebhookFault))
        raise InvalidRequest(
            f"{HEADER} is one of {known}, perhaps with ;milliseconds=<n>", code="sandbox_fault"
        ) from None


@lru_cache(maxsize=MOST_RULES)
def _rule(body: str) -> Rule:
    return Rule.model_validate_json(body)


class Faults:
    """The rules that are left."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rule: Rule) -> None:
        """From now on. Raises TooManyRules."""
        with self._database.transaction() as transaction:
            if transaction.sql("SELECT count(*) FROM faults").fetchone()[0] >= MOST_RULES:
                raise TooManyRules
            transaction.sql(
                "INSERT INTO faults (body, times_left) VALUES (?, ?)",
                (rule.model_dump_json(), rule.times),
            )

    def clear(self) -> None:
        """No more trouble."""
        with self._database.transaction() as transaction:
            transaction.sql("DELETE FROM faults")

    def left(self) -> list[dict[str, Any]]:
        """The rules, with how often each still fits."""
        with self._database.transaction() as transaction:
            rows = transaction.sql("SELECT body, times_left FROM faults ORDER BY number").fetchall()
        return [orjson.loads(body) | {"times": times} for body, times in rows]

    def of_request(self, operation: str, text: str) -> Trouble[RequestFault] | None:
        """What is to go wrong with this request; the rule has fitted once more."""
        with self._database.transaction() as transaction:
            return _taken(transaction, RequestFault, operation, text)

    def of_event(
        self, transaction: Transaction, event: str, text: str
    ) -> Trouble[WebhookFault] | None:
        """What is to go wrong with the delivery of this event."""
        return _taken(transaction, WebhookFault, event, text)


def _taken(transaction: Transaction, kind: type[F], names: str, text: str) -> Trouble[F] | None:
    rows = transaction.sql("SELECT number, body FROM faults ORDER BY number").fetchall()
    for number, body in rows:
        rule = _rule(body)
        if isinstance(rule.fault, kind) and rule.fits(names, text):
            transaction.sql(
                "UPDATE faults SET times_left = times_left - 1 WHERE number = ?", (number,)
            )
            transaction.sql("DELETE FROM faults WHERE number = ? AND times_left <= 0", (number,))
            return _trouble(rule.fault, rule.milliseconds)
    return None
