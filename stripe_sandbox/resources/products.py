"""Products: what prices are for.

Source: Stripe API reference, "Products".
"""

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import given, list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources.events import announce
from stripe_sandbox.search import search

_PLAIN = ("description", "shippable", "statement_descriptor", "unit_label", "url")


def new_product(transaction: Transaction, params: Params, *, active: bool = True) -> Object:
    """A new product, saved and announced. Raises InvalidRequest."""
    name = params.get("id") or transaction.new_id("prod", 14)
    if transaction.find(name) is not None:
        raise InvalidRequest(
            f"There is a product {name!r} already", code="resource_already_exists", param="id"
        )
    product: Object = {
        "id": name,
        "object": "product",
        "active": params.get("active", active),
        "created": transaction.now,
        "default_price": None,
        "images": params.get("images", []),
        "livemode": False,
        "marketing_features": [],
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "name": params["name"],
        "package_dimensions": None,
        "tax_code": None,
        "updated": transaction.now,
        **{field: params.get(field) for field in _PLAIN},
    }
    transaction.save(product)
    announce(transaction, "product.created", product)
    return product


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return new_product(transaction, params)


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    product = _retrieve(transaction, ids, {})
    if "default_price" in params:
        price = transaction.get("price", params["default_price"], "default_price")
        if price["product"] != product["id"]:
            raise InvalidRequest(
                f"{price['id']} is a price of another product", param="default_price"
            )
    changes = given(params, *_PLAIN, "active", "name", "default_price")
    if "images" in params:
        changes["images"] = params["images"] or []
    if "metadata" in params:
        changes["metadata"] = merged_metadata(product["metadata"], params["metadata"])
    before = {field: product[field] for field in (*changes, "updated")}
    product |= changes | {"updated": transaction.now}
    transaction.save(product)
    announce(transaction, "product.updated", product, before)
    return product


def _delete(transaction: Transaction, ids: Ids, params: Params) -> Object:
    product = _retrieve(transaction, ids, {})
    if transaction.all_of("price", product=product["id"]):
        raise InvalidRequest(
            f"{product['id']} has prices and cannot be deleted; set active=false instead",
            param="id",
        )
    transaction.delete(product["id"])
    announce(transaction, "product.deleted", product)
    return {"id": product["id"], "object": "product", "deleted": True}


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("product", ids["id"], "id")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    fields = given(params, "active", "shippable", "url")
    if "ids" in params:
        fields["id"] = params["ids"]
    return list_of(transaction, "product", params, "/v1/products", **fields)


def _search(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return search(transaction, "product", params, "/v1/products/search")


OPERATIONS = {
    "POST /v1/products": heeding(_create, *_PLAIN, "active", "id", "images", "metadata", "name"),
    "GET /v1/products": heeding(_list, *LISTED, "active", "ids", "shippable", "url"),
    "GET /v1/products/search": heeding(_search, "query", "limit", "page"),
    "GET /v1/products/{id}": heeding(_retrieve),
    "POST /v1/products/{id}": heeding(
        _update, *_PLAIN, "active", "default_price", "images", "metadata", "name"
    ),
    "DELETE /v1/products/{id}": heeding(_delete),
}
