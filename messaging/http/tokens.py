"""Who is asking: customers by signed token (`messaging.signing`), guests by that of their cart.

A customer id in a body is never trusted.
"""

import hashlib
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request

from messaging.http.declared import Credential, Declared, declares
from messaging.http.problems import Problem
from messaging.signing import CUSTOMER_PURPOSE, verify

GUEST_TOKEN_BYTES = 32

CUSTOMER = Credential(
    "customer",
    {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token of a customer, or of a person or program with roles.",
    },
)
GUEST = Credential(
    "guest",
    {
        "type": "apiKey",
        "in": "header",
        "name": "Cart-Token",
        "description": "The token that a guest's cart was opened with.",
    },
)
OPTIONAL_CUSTOMER = Declared(credential=CUSTOMER, problems=(401,))
REQUIRED_CUSTOMER = Declared(credential=replace(CUSTOMER, required=True), problems=(401,))
GUEST_TOKEN = Declared(credential=GUEST)


@dataclass(frozen=True, slots=True)
class Customer:
    """A signed-in caller: a shopper, or a person or program with roles."""

    sub: str
    roles: frozenset[str]
    shop: str


def new_guest_token() -> str:
    """An unguessable token for a guest's cart."""
    return secrets.token_urlsafe(GUEST_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """What is stored of a guest token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _unauthenticated(detail: str) -> Problem:
    return Problem(
        401,
        "unauthenticated",
        "A valid customer token is needed",
        detail,
        headers={"WWW-Authenticate": "Bearer"},
    )


def optional_customer(request: Request) -> Customer | None:
    """The signed-in caller, or None without an Authorization header.

    Raises a 401 problem for a token that is malformed, expired or not ours.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise _unauthenticated("The Authorization header is no bearer token.")
    payload = verify(request.app.state.settings.signing_key, CUSTOMER_PURPOSE, token.strip())
    if payload is None:
        raise _unauthenticated("The token is malformed, expired or not ours.")
    sub, roles, shop = payload.get("sub"), payload.get("roles", []), payload.get("shop")
    well_formed = (
        isinstance(sub, str)
        and sub != ""
        and isinstance(shop, str)
        and isinstance(roles, list)
        and all(isinstance(role, str) for role in roles)
    )
    if not well_formed:
        raise _unauthenticated("The token's claims are not as they should be.")
    return Customer(str(sub), frozenset(roles), str(shop))


# FastAPI runs plain functions in a thread, which costs many times what these do.
@declares(OPTIONAL_CUSTOMER)
async def _optional_customer(request: Request) -> Customer | None:
    return optional_customer(request)


OptionalCustomer = Annotated[Customer | None, Depends(_optional_customer)]


def required_customer(customer: OptionalCustomer) -> Customer:
    """The signed-in caller. Raises a 401 problem without one."""
    if customer is None:
        raise _unauthenticated("There is no Authorization header.")
    return customer


@declares(REQUIRED_CUSTOMER)
async def _required_customer(customer: OptionalCustomer) -> Customer:
    return required_customer(customer)


RequiredCustomer = Annotated[Customer, Depends(_required_customer)]


def require_role(*roles: str) -> Callable[[Customer], Coroutine[Any, Any, Customer]]:
    """A dependency: the caller has one of these roles. Raises 401 and 403 problems."""

    needed = " or ".join(f"`{role}`" for role in roles)

    @declares(Declared(problems=(403,), note=f"Needs the role {needed}."))
    async def check(customer: RequiredCustomer) -> Customer:
        if customer.roles.isdisjoint(roles):
            raise Problem(403, "forbidden", "This needs another role", roles_accepted=sorted(roles))
        return customer

    return check


def guest_token_hash(request: Request) -> str | None:
    """The hash of the `Cart-Token` header, or None without one."""
    token = request.headers.get("cart-token")
    return None if token is None else hash_token(token)


@declares(GUEST_TOKEN)
async def _guest_token_hash(request: Request) -> str | None:
    return guest_token_hash(request)


GuestTokenHash = Annotated[str | None, Depends(_guest_token_hash)]


def identity_of(request: Request) -> str:
    """Whose request this is, for the scope of idempotency keys."""
    customer = optional_customer(request)
    if customer is not None:
        return f"customer/{customer.shop}/{customer.sub}"
    guest = guest_token_hash(request)
    return f"guest/{guest}" if guest else "anonymous"
