"""What an API call can be refused with, as Stripe tells it: one error object, one HTTP status.

Source: Stripe API reference, "Errors" and "Error codes".
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ApiError(Exception):
    """The root. `keeps_effects`: what the call did until then stays, as a declined charge does."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    keeps_effects: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.facts: Mapping[str, Any] = facts

    def body(self) -> dict[str, Any]:
        """The response's body."""
        error = {
            "type": self.type,
            "message": self.message,
            "code": self.code,
            "param": self.param,
            **self.facts,
        }
        return {"error": {name: value for name, value in error.items() if value is not None}}


class InvalidRequest(ApiError):
    """The request cannot be carried out as it is."""


class _Missing(ApiError):
    """An object that is named and not there."""

    def __init__(self, kind: str, name: str, param: str) -> None:
        super().__init__(f"No such {kind}: {name!r}", code="resource_missing", param=param)


class ResourceMissing(_Missing):
    """There is no such object."""

    status = 404


class ReferenceMissing(_Missing):
    """There is no such object as a parameter refers to."""


class UnknownUrl(ApiError):
    """No operation has this method and path."""

    status = 404

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"The sandbox has no {method} {path}")


class UnexpectedState(ApiError):
    """The object is in a state in which this cannot be done; `facts` hold the object."""


class NotSimulated(ApiError):
    """Stripe has this parameter; the sandbox does nothing with it and says so."""

    def __init__(self, param: str) -> None:
        super().__init__(
            f"The sandbox does not simulate {param}", code="sandbox_unsupported", param=param
        )


class RawCardNumber(ApiError):
    """A card's number, or what else is printed on it, was sent where only a token may be."""

    status = 402

    def __init__(self) -> None:
        super().__init__("The API takes no card numbers: use pm_card_... or card[token]=tok_...")


class BodyTooLarge(ApiError):
    """The request has a longer body than any operation takes."""

    status = 413

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"The body of a request has at most {most_bytes} bytes")


class CardError(ApiError):
    """The card, or its owner, said no. What was recorded of that stays."""

    status = 402
    type = "card_error"
    keeps_effects = True


class NotAttached(CardError):
    """The card, or its owner, said no to being kept for later. Nothing was recorded of that."""

    keeps_effects = False


class KeyReused(ApiError):
    """The idempotency key was used with other parameters, or for something else."""

    type = "idempotency_error"

    def __init__(self, key: str) -> None:
        super().__init__(f"The idempotency key {key!r} was used before with other parameters")


class KeyInUse(ApiError):
    """A request under this idempotency key is being carried out right now."""

    status = 409
    type = "idempotency_error"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Another request under the idempotency key {key!r} is under way",
            code="idempotency_key_in_use",
        )


class NotAuthenticated(ApiError):
    """No key, or none that the sandbox takes."""

    status = 401


class TooManyRequests(ApiError):
    """The rate limit."""

    status = 429

    def __init__(self) -> None:
        super().__init__("Too many requests", code="rate_limit")


class ServerError(ApiError):
    """Trouble of the provider's own; whether there was an effect, it does not tell."""

    status = 500
    type = "api_error"

    def __init__(self) -> None:
        super().__init__("Something went wrong on the sandbox's end")
