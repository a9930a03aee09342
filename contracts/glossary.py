"""What each field of a message means: one word means one thing wherever it stands.

Exported schemas take their descriptions from here. A field whose meaning differs by owner is
listed a second time as `Owner.field`, which wins.
"""

from collections.abc import Mapping
from types import MappingProxyType

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        # identity
        "shop_id": "The shop this belongs to.",
        "checkout_id": "The checkout, and so the saga, this belongs to.",
        "cart_id": "The cart this is about.",
        "order_id": "The order, derived from its checkout: every service computes the same id.",
        "payment_id": "The one payment of the order, derived from its checkout.",
        "refund_id": "The refund, derived from checkout and refund number.",
        "operation_id": "The call to the provider that this answers.",
        "report": "Counts the reports of one operation from 1.",
        "movement_id": "The entry of the movements ledger.",
        "dead_letter_id": "The dead letter that keeps the record in question.",
        "customer_id": "The signed-in customer (`sub` of the token); null for a guest.",
        "guest_token_hash": "Hex SHA-256 of a guest's cart token; null for a customer.",
        "transactional_id": "The Kafka transactional id of the producer that published.",
        "outbox_ids": "The ids of the outbox rows that the transaction published, and no others.",
        "message_ids": "The message ids of the same rows, in the same order.",
        "service": "The service whose consumer met the failure.",
        # the saga
        "step": "The step of the saga that is asked for or answered.",
        "round": "How often this step is done anew, from 1; a re-send keeps its round.",
        "reservation_round": "The round of the reservation to extend.",
        "attempt": "The number of the payment attempt, from 1.",
        "event_seq": "Counts the events of one aggregate from 1, without gaps.",
        "reason": "Why, as a stable machine-readable word.",
        "ResolveCheckout.reason": "Why the operator decided so, in their words.",
        "decision": "What the operator decided.",
        "by_hand": "Whether the money went back on another way: it is booked, no provider asked.",
        "requested_by": "Who asked for it.",
        "replace": "Whether a live attempt is closed at the provider first, rather than kept.",
        # time
        "requested_at": "When the shopper asked.",
        "occurred_at": "When it happened.",
        "changed_at": "When the change was made.",
        "moved_at": "When the stock moved.",
        "closed_at": "When the window closed.",
        "due_at": "When the wait ran out.",
        "expires_at": "Until when this holds.",
        "expected_by": "When the provider is expected to have decided.",
        "reported_at": "When the provider's word reached us.",
        "capture_before": "The last moment at which the authorized money can be captured.",
        "window_closes_at": "Until when the shopper may pay.",
        "payment_window_seconds": "How long the shopper may pay, counted from the reservation.",
        # money
        "currency": "ISO 4217 code of the currency of every amount in this message.",
        "amount_minor": "The amount in minor units (cents, yen, fils).",
        "total_minor": "What the order costs: the sum of the gross of its lines and shipping.",
        "unit_price_minor": "What one piece costs before discounts, in minor units.",
        "net_minor": "Unit price x quantity less discounts and inclusive taxes, in minor units.",
        "gross_minor": "Net plus all taxes: what is paid for this line, in minor units.",
        "authorized_minor": "Set aside at the provider so far, captured or not, in minor units.",
        "captured_minor": "Taken so far, in minor units.",
        "refund_pending_minor": "On its way back to the shopper, in minor units.",
        "refunded_minor": "Back with the shopper, in minor units.",
        "discounts": "What is taken off this line, by source.",
        "taxes": "The taxes on this line.",
        "rate": "The tax rate as a fraction: 0.2 is 20 %.",
        "inclusive": "Whether the tax is inside the unit price already.",
        # goods
        "sku": "The stock keeping unit; case-sensitive.",
        "product_code": "The product that the SKU is a variant of.",
        "prices": "The price of one piece in each currency it is sold in.",
        "quantity": "How many pieces.",
        "lines": "The lines this is about.",
        "line_count": "How many lines it is about: the work it makes for its reader.",
        "shipping": "What shipping costs.",
        "shortages": "The lines that do not fit, with what is left of each.",
        "requested": "How many pieces were asked for.",
        "available": "How many pieces can still be sold: on hand less reserved.",
        "on_hand": "How many pieces are in the warehouse after this movement.",
        "warehouse": "The code of the warehouse.",
        "kind": "What moved the stock.",
        "version": "Grows with every change of this SKU; a reader applies only newer ones.",
        "cart_version": "The version of the cart that the shopper agreed to.",
        # people and places
        "email": "Where the shopper is written to.",
        "shipping_address": "Where the goods go.",
        "line1": "Street and house number.",
        "line2": "A second line of the street address.",
        "city": "Town or city.",
        "postal_code": "Postal code, where the country has them.",
        "region": "State, province or county, where the country uses them.",
        "country": "The country, by ISO 3166-1 code or by name.",
        "name": "The name that the shopper saw.",
        # payment
        "payment": "How the first attempt is to be paid; null when the order waits for one.",
        "provider": "The payment provider that is asked.",
        "token": "The provider's token of the method; never a card number.",
        "flow": "`automatic` takes the money at once, `authorize` sets it aside first.",
        "next_action": "What the shopper must do.",
        "url": "Where the shopper does it.",
        "code": "The provider's reason as a stable machine-readable word.",
        "retryable": "Whether the shopper may try again at all.",
        "same_method_allowed": "Whether trying again with the very same method makes sense.",
        "facts": "The fields of that outcome.",
        # orders
        "number": "The order number that people use; it reveals nothing about volume.",
        "status": "The state after this change.",
        "outcome": "How it ended, one of a closed set.",
        # one word, another owner
        "Address.name": "Who receives the goods.",
        "CatalogItem.name": "The name to show.",
        "CatalogItem.status": "Whether the SKU can be sold: product and variant both active.",
        "ChargePayment.method": "How to pay.",
        "PayOrder.method": "How to pay.",
        "ShippingLine.method": "The code of the shipping method.",
        "Discount.source": "Where the discount came from: a coupon, a sale.",
        "Discount.amount_minor": "What it takes off the whole line, in minor units.",
        "NextAction.type": "What kind of action it is, such as `redirect`.",
        "Price.currency": "ISO 4217 code of the currency.",
        "Price.amount_minor": "What one piece costs, in minor units of that currency.",
        "ProviderReported.outcome": "The outcome of the provider port, by name.",
        "StockMoved.quantity": "How many pieces came (positive) or went (negative).",
        "StockAvailability.available": "How many pieces can be sold, over all warehouses.",
        "Tax.amount_minor": "The tax on the whole line, in minor units.",
    }
)
"""Field name, or `Owner.field`, to meaning."""


def meaning(owner: str, field: str) -> str:
    """What `field` of the message or value `owner` means. Raises `KeyError` when nobody said."""
    return MEANINGS.get(f"{owner}.{field}") or MEANINGS[field]
