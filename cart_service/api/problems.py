"""Refusals in HTTP's words: one problem document for each error of the domain."""

from cart_service.api.tokens import accept_token
from cart_service.api.views import DifferenceView, checkout_url
from cart_service.domain import errors
from cart_service.domain.checkouts import Difference
from cart_service.settings import CartSettings
from messaging.http.etags import stale_etag
from messaging.http.problems import Problem


def problem_of(error: errors.CartError, settings: CartSettings) -> Problem:
    """The problem document that tells of a refusal."""
    match error:
        case errors.CartNotFound():
            return Problem(
                404,
                "cart-not-found",
                "There is no such cart",
                "Or it belongs to somebody else: send the customer's bearer token or the "
                "Cart-Token that it was opened with.",
            )
        case errors.StaleCart(version):
            return stale_etag(version)
        case errors.CheckoutInProgress(shop_id, checkout_id):
            url = checkout_url(settings, shop_id, checkout_id)
            return Problem(
                409,
                "checkout_in_progress",
                "A checkout of this cart is running",
                headers={"Location": url},
                checkout_id=checkout_id,
                status_url=url,
            )
        case errors.CartClosed(shop_id, checkout_id, merged_into):
            bought = checkout_id and checkout_url(settings, shop_id, checkout_id)
            return Problem(
                409,
                "cart-closed",
                "This cart is closed",
                headers={"Location": bought} if bought else None,
                checkout_id=checkout_id,
                status_url=bought,
                merged_into=merged_into,
            )
        case errors.LineNotFound(line_no):
            return Problem(
                404, "line-not-found", "The cart has no line of this number", line_no=line_no
            )
        case errors.UnknownSkus(skus):
            return Problem(422, "unknown-sku", "There is nothing under these SKUs", skus=skus)
        case errors.NotForSale(skus):
            return Problem(409, "not-for-sale", "These SKUs are not sold at present", skus=skus)
        case errors.NotPricedIn(currency, skus):
            return Problem(
                422,
                "other-currency",
                "These SKUs have no price in the cart's currency",
                currency=currency,
                skus=skus,
            )
        case errors.TooManyLines(_, most):
            return Problem(
                422, "too-many-lines", "A cart cannot hold that many lines", largest_lines=most
            )
        case errors.TooManyPieces(sku, _, most):
            return Problem(
                422,
                "quantity-too-large",
                "A line cannot hold that many pieces",
                sku=sku,
                largest_quantity=most,
            )
        case errors.AmountTooLarge(largest_minor):
            return Problem(
                422,
                "amount-too-large",
                "No order can cost that much",
                largest_minor=largest_minor,
            )
        case errors.EmptyCart():
            return Problem(409, "cart-empty", "There is nothing in the cart to check out")
        case errors.ProviderNotOffered(offered):
            return Problem(
                422,
                "provider-not-offered",
                "The shop takes no payments through this provider",
                providers=offered,
            )
        case errors.GuestsSaveNothing():
            return Problem(422, "guests-save-nothing", "Only a customer saves payment methods")
        case errors.PaymentWindowOutOfBounds(least, most):
            return Problem(
                422,
                "payment-window-out-of-bounds",
                "The payment window is shorter or longer than the shop grants",
                least_seconds=least,
                most_seconds=most,
            )
        case errors.TotalBelowMinimum(total, minimum, currency):
            return Problem(
                422,
                "total-below-minimum",
                "The total is less than can be charged",
                total_minor=total,
                minimum_minor=minimum,
                currency=currency,
            )
        case errors.QuoteChanged():
            return Problem(
                409,
                "quote-changed",
                "Prices or stock moved since they were last seen",
                "Send the request again with the accept_token to agree, or change the cart.",
                differences=[_difference_view(each) for each in error.differences],
                total_minor=error.total_minor,
                accept_token=accept_token(settings.signing_key, error.quote),
                accept_until=error.accept_until,
            )
        case _:
            raise TypeError(f"no problem document for {type(error).__name__}")


def _difference_view(difference: Difference) -> DifferenceView:
    view = DifferenceView(
        line_no=difference.line_no,
        sku=difference.sku,
        name=difference.name,
        quantity=difference.quantity,
        seen_price_minor=difference.seen_price_minor,
        unit_price_minor=difference.unit_price_minor,
        available=difference.available,
        reasons=[],
    )
    if difference.dearer:
        view["reasons"].append("price")
    if difference.short:
        view["reasons"].append("stock")
    return view
