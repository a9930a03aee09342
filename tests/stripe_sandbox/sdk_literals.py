"""The closed sets of words that the SDK's typed classes know."""

from typing import Literal, get_args, get_origin

from stripe import PaymentIntent
from stripe._charge import Charge


def literals_of(owner: type, field: str) -> frozenset[str]:
    """The words of the `Literal` in a field's annotation, however deep it is wrapped."""
    return frozenset(_words(owner.__annotations__[field]))


def error_codes() -> frozenset[str]:
    """Every `error.code` that the SDK knows."""
    return literals_of(PaymentIntent.LastPaymentError, "code")


def advice_codes() -> frozenset[str]:
    """Every `advice_code` that the SDK knows."""
    return literals_of(Charge.Outcome, "advice_code")


def _words(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in _words(part)]
