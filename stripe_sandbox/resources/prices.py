"""Prices: what one of a product costs, once.

Prices that recur, have tiers or several currencies are not here.

Source: Stripe API reference, "Prices"; guide "Manage products and prices".
"""

from stripe_sandbox.currencies import AmountRefused, check_currency, maximum_minor
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import given, list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.products import new_product
from stripe_sandbox.search import search


def new_price(
    transaction: Transaction, params: Params, param: str = "", *, active: bool = True
) -> Object:
    """A new price, perhaps of a new product; saved and announced. Raises InvalidRequest.

    `param` is the parameter that all of them stand in, if they do. A price and a product that are
    made for one order are not active: nothing else can be sold by them.
    """
    currency = _checked_currency(params["currency"], _within(param, "currency"))
    amount = _checked_amount(params.get("unit_amount"), currency, _within(param, "unit_amount"))
    price: Object = {
        "id": transaction.new_id("price"),
        "object": "price",
        "active": params.get("active", active),
        "billing_scheme": "per_unit",
        "created": transaction.now,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "nickname": params.get("nickname"),
        "product": _product(transaction, params, param, active=active),
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }
    _look_up(transaction, price, params)
    transaction.save(price)
    announce(transaction, "price.created", price)
    return price


def _within(outer: str, name: str) -> str:
    return f"{outer}[{name}]" if outer else name


def _checked_currency(currency: str, param: str) -> str:
    try:
        return check_currency(currency)
    except AmountRefused as refused:
        raise InvalidRequest(str(refused), code=refused.code, param=param) from None


def _checked_amount(amount: int | None, currency: str, param: str) -> int:
    """A price may be nothing at all; what is charged in the end is checked there."""
    if amount is None:
        raise InvalidRequest(f"{param} is required", code="parameter_missing", param=param)
    if amount < 0:
        raise InvalidRequest(
            "A price is not below 0", code="parameter_invalid_integer", param=param
        )
    if amount > maximum_minor(currency.upper()):
        raise InvalidRequest(
            f"A price in {currency} is at most {maximum_minor(currency.upper())}",
            code="amount_too_large",
            param=param,
        )
    return amount


def _product(transaction: Transaction, params: Params, param: str, *, active: bool) -> str:
    if ("product" in params) == ("product_data" in params):
        raise InvalidRequest(
            "A price is of a product: name one by product, or describe one by product_data",
            code="parameters_exclusive" if "product" in params else "parameter_missing",
            param=_within(param, "product"),
        )
    if "product_data" in params:
        made: str = new_product(transaction, params["product_data"], active=active)["id"]
        return made
    named: str = params["product"]
    found = transaction.find(named)
    if found is None or found["object"] != "product":
        raise InvalidRequest(
            f"No such product: {named!r}",
            code="resource_missing",
            param=_within(param, "product"),
        )
    return named


def _look_up(transaction: Transaction, price: Object, params: Params) -> None:
    """Give the price the lookup key that a request names; no two active prices have the same."""
    key = params.get("lookup_key")
    if key is None:
        return
    taken = list_of(transaction, "price", {}, "", lookup_key=key)["data"]
    for other in taken:
        if other["id"] == price["id"]:
            continue
        if not params.get("transfer_lookup_key"):
            raise InvalidRequest(
                f"{other['id']} has this lookup key; transfer_lookup_key=true takes it away there",
                code="resource_already_exists",
                param="lookup_key",
            )
        other["lookup_key"] = None
        transaction.save(other)
        announce(transaction, "price.updated", other, {"lookup_key": key})
    price["lookup_key"] = key


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return new_price(transaction, params)


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    price = _retrieve(transaction, ids, {})
    changes = given(params, "active", "nickname")
    if "metadata" in params:
        changes["metadata"] = merged_metadata(price["metadata"], params["metadata"])
    before = {field: price[field] for field in changes}
    if "lookup_key" in params:
        before["lookup_key"] = price["lookup_key"]
        _look_up(transaction, price, params)
    price |= changes
    transaction.save(price)
    announce(transaction, "price.updated", price, before)
    return price


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("price", ids["price"], "price")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    fields = given(params, "active", "currency")
    if "lookup_keys" in params:
        fields["lookup_key"] = params["lookup_keys"]
    return list_of(transaction, "price", params, "/v1/prices", **fields)


def _search(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return search(transaction, "price", params, "/v1/prices/search")


_OF_PRODUCTS = tuple(
    f"product_data.{name}"
    for name in ("active", "id", "metadata", "name", "statement_descriptor", "unit_label")
)
_LOOKED_UP = ("lookup_key", "transfer_lookup_key")

OPERATIONS = {
    "POST /v1/prices": heeding(
        _create,
        *_OF_PRODUCTS,
        *_LOOKED_UP,
        "active",
        "currency",
        "metadata",
        "nickname",
        "product",
        "unit_amount",
    ),
    "GET /v1/prices": heeding(
        _list, *LISTED, "active", "currency", "lookup_keys", "product", "type"
    ),
    "GET /v1/prices/search": heeding(_search, "query", "limit", "page"),
    "GET /v1/prices/{price}": heeding(_retrieve),
    "POST /v1/prices/{price}": heeding(_update, *_LOOKED_UP, "active", "metadata", "nickname"),
}
