"""Trouble on request: what a caller of the sandbox can have go wrong, and how often.

One request is troubled by its header `Sandbox-Fault: <fault>[;milliseconds=<n>]`. Rules trouble
the next so many requests, or webhooks, that fit (`POST /sandbox/faults`); the state keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
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


MILLISECONDS: Mapping[str, int] = {
    RequestFault.SLOW_BEFORE_EFFECT: 1_000,
    RequestFault.SLOW_AFTER_EFFECT: 1_000,
    WebhookFault.DELAYED: 5_000,
    WebhookFault.OVERTAKEN: 500,
}
"""How long, where nothing else is said."""

MOST_TIMES = 1_000_000


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
    milliseconds: int | None = Field(None, ge=0, le=3_600_000)
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


def asked_for(header: str) -> Trouble[RequestFault]:
    """What the header of a request asks for. Raises InvalidRequest."""
    name, _, option = header.partition(";")
    key, _, value = option.strip().partition("=")
    try:
        if option and key != "milliseconds":
            raise ValueError(key)
        return _trouble(RequestFault(name.strip()), int(value) if option else None)
    except ValueError:
        known = ", ".join(RequestFault)
        raise InvalidRequest(
            f"{HEADER} is one of {known}, perhaps with ;milliseconds=<n>", code="sandbox_fault"
        ) from None


class Faults:
    """The rules that are left; kept in memory, because nearly always there are none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as transaction:
            self._rules = {
                number: Rule.model_validate_json(body)
                for number, body in transaction.sql("SELECT number, body FROM faults")
            }

    def add(self, rule: Rule) -> None:
        """From now on."""
        with self._database.transaction() as transaction:
            added = transaction.sql(
                "INSERT INTO faults (body, times_left) VALUES (?, ?) RETURNING number",
                (rule.model_dump_json(), rule.times),
            ).fetchone()
        self._rules[added[0]] = rule

    def clear(self) -> None:
        """No more trouble."""
        with self._database.transaction() as transaction:
            transaction.sql("DELETE FROM faults")
        self._rules.clear()

    def left(self) -> list[dict[str, Any]]:
        """The rules, with how often each still fits."""
        with self._database.transaction() as transaction:
            rows = transaction.sql("SELECT body, times_left FROM faults ORDER BY number").fetchall()
        return [orjson.loads(body) | {"times": times} for body, times in rows]

    def of_request(self, operation: str, text: str) -> Trouble[RequestFault] | None:
        """What is to go wrong with this request; the rule has fitted once more."""
        if not self._rules:
            return None
        with self._database.transaction() as transaction:
            return self._taken(transaction, RequestFault, operation, text)

    def of_event(
        self, transaction: Transaction, event: str, text: str
    ) -> Trouble[WebhookFault] | None:
        """What is to go wrong with the delivery of this event."""
        return self._taken(transaction, WebhookFault, event, text) if self._rules else None

    def _taken(
        self, transaction: Transaction, kind: type[F], names: str, text: str
    ) -> Trouble[F] | None:
        for number, rule in self._rules.items():
            if isinstance(rule.fault, kind) and rule.fits(names, text):
                left = transaction.sql(
                    "UPDATE faults SET times_left = times_left - 1 WHERE number = ?"
                    " RETURNING times_left",
                    (number,),
                ).fetchone()[0]
                if left == 0:
                    transaction.sql("DELETE FROM faults WHERE number = ?", (number,))
                    del self._rules[number]
                return _trouble(rule.fault, rule.milliseconds)
        return None
