#!/bin/sh
# One shopper with curl, against a running stack (`make up`): product, stock, cart, checkout, order.
set -eu
set -a; . "${TROLLEY_ENV_FILE:-.trolley/runtime.env}"; set +a
trolley() { .venv/bin/python -m trolley "$@"; }
key() { .venv/bin/python -c 'import uuid; print(uuid.uuid4())'; }
field() { .venv/bin/python -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }

catalog=http://127.0.0.1:$CATALOG_HTTP_PORT
cart=http://127.0.0.1:$CART_HTTP_PORT
inventory=http://127.0.0.1:$INVENTORY_HTTP_PORT
operator="Authorization: Bearer $(trolley token --sub me --role operator)"
sku="MUG-$(key | cut -c1-8)"

post() { # post URL BODY [HEADER]: an unsafe request, under a fresh Idempotency-Key
    curl --silent --show-error --fail-with-body --json "$2" \
        -H "Idempotency-Key: $(key)" -H "${3:-Accept: */*}" "$1"
}

# The shop: a product with one variant, and three pieces of it.
post "$catalog/products" "{\"code\": \"$sku\", \"name\": \"Enamel mug\",
    \"base_prices\": [{\"currency\": \"GBP\", \"amount_minor\": 895}],
    \"variants\": [{\"sku\": \"$sku\"}]}" "$operator" >/dev/null
post "$inventory/receipts" "{\"lines\": [{\"sku\": \"$sku\", \"quantity\": 3}]}" "$operator" >/dev/null

# The shopper: a guest's cart answers to its token only.
opened=$(post "$cart/carts" '{"currency": "GBP"}')
id=$(echo "$opened" | field cart_id)
token="Cart-Token: $(echo "$opened" | field cart_token)"
until post "$cart/carts/$id/lines" "{\"sku\": \"$sku\", \"quantity\": 2}" "$token" >/dev/null 2>&1; do
    sleep 0.1 # the cart's read model is a moment behind the catalog
done
accepted=$(post "$cart/carts/$id/checkout" '{"email": "ann@example.com",
    "address": {"name": "Ann", "line1": "1 High St", "city": "Leeds", "country": "United Kingdom"},
    "payment": {"token": "pm_ok"}}' "$token")
status=$(echo "$accepted" | field status_url)
until [ "$(curl --silent "$status" | field final)" = True ]; do sleep 0.1; done
order=$(curl --silent "$status" | field order_id)
curl --silent "http://127.0.0.1:$ORDER_HTTP_PORT/orders/$order" -H "$token"
echo
