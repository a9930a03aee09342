"""Payment intents, by each road to the money and each way to lose it."""

import contextlib
from typing import Any

import pytest
import stripe

from stripe_sandbox.cards import BANK_ACCOUNTS, CARDS
from tests.stripe_sandbox.conftest import RETURN, Sandbox

DAY = 24 * 3600


async def declined(sandbox: Sandbox, method: str, **params: Any) -> stripe.CardError:
    """The error of an intent that is created, confirmed and declined at once."""
    with pytest.raises(stripe.CardError) as caught:
        await sandbox.paid(method, **params)
    return caught.value


def told_by(error: stripe.CardError) -> dict[str, Any]:
    """The error as it was sent."""
    body: Any = error.json_body
    told: dict[str, Any] = body["error"]
    return told


async def again(sandbox: Sandbox, intent: stripe.PaymentIntent | str) -> stripe.PaymentIntent:
    """The intent as it is now, with its latest charge."""
    name = intent if isinstance(intent, str) else intent.id
    return await sandbox.client.v1.payment_intents.retrieve_async(
        name, {"expand": ["latest_charge.balance_transaction"]}
    )


def charge_of(intent: stripe.PaymentIntent) -> stripe.Charge:
    """The latest charge of an intent that was retrieved by `again`."""
    assert isinstance(intent.latest_charge, stripe.Charge)
    return intent.latest_charge


async def test_an_intent_goes_step_by_step_to_the_money(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intents = client.v1.payment_intents
    intent = await intents.create_async({"amount": 1099, "currency": "USD"})
    assert (intent.status, intent.currency, intent.latest_charge) == (
        "requires_payment_method",
        "usd",
        None,
    )
    intent = await intents.update_async(
        intent.id, {"payment_method": "pm_card_visa", "metadata": {"order": "1"}}
    )
    assert intent.status == "requires_confirmation"
    intent = await intents.confirm_async(intent.id, {"return_url": RETURN})
    assert (intent.status, intent.amount_received, intent.metadata.to_dict()) == (
        "succeeded",
        1099,
        {"order": "1"},
    )
    assert await sandbox.event_types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


async def test_money_that_is_taken_automatically_is_booked_at_once(sandbox: Sandbox) -> None:
    intent = await again(sandbox, await sandbox.paid(capture_method="automatic"))
    charge = charge_of(intent)
    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    assert (charge.captured, charge.amount_captured, charge.balance_transaction.net) == (
        True,
        2000,
        2000,
    )


async def test_asynchronous_capture_is_booked_a_moment_later(sandbox: Sandbox) -> None:
    intent = await again(sandbox, await sandbox.paid())
    assert intent.capture_method == "automatic_async"
    assert charge_of(intent).balance_transaction is None
    await sandbox.forward(3)
    charge = charge_of(await again(sandbox, intent))
    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    event = (await sandbox.event("charge.updated")).to_dict()
    assert event["data"]["previous_attributes"] == {"balance_transaction": None}
    assert event["request"] == {"id": None, "idempotency_key": None}


async def test_a_hold_is_captured_whole(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    intent = await sandbox.paid(capture_method="manual")
    assert (intent.status, intent.amount_capturable, intent.amount_received) == (
        "requires_capture",
        2000,
        0,
    )
    intent = await client.v1.payment_intents.capture_async(intent.id)
    assert (intent.status, intent.amount_capturable, intent.amount_received) == (
        "succeeded",
        0,
        2000,
    )
    assert (await sandbox.event_types())[-2:] == ["charge.captured", "payment_intent.succeeded"]
    assert await sandbox.ledger() == 2000


async def test_a_hold_is_captured_in_part_and_the_rest_let_go(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid(capture_method="manual")
    intent = await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 700})
    assert (intent.amount, intent.amount_received, intent.status) == (2000, 700, "succeeded")
    charge = await client.v1.charges.retrieve_async(
        str(intent.latest_charge), {"expand": ["refunds"]}
    )
    assert (charge.amount_captured, charge.amount_refunded, charge.refunded) == (700, 1300, False)
    assert charge.refunds is not None
    [released] = charge.refunds.data
    assert (released.amount, released.balance_transaction, released.status) == (
        1300,
        None,
        "succeeded",
    )
    assert await sandbox.ledger() == 700


@pytest.mark.parametrize(
    ("amount", "code"), [(2001, "amount_too_large"), (0, "parameter_invalid_integer")]
)
async def test_a_hold_gives_what_it_holds_and_no_more(
    sandbox: Sandbox, client: stripe.StripeClient, amount: int, code: str
) -> None:
    intent = await sandbox.paid(capture_method="manual")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": amount})
    assert (caught.value.code, caught.value.param) == (code, "amount_to_capture")
    assert (await again(sandbox, intent)).status == "requires_capture"


async def test_a_hold_that_nobody_captures_expires(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid(capture_method="manual")
    charge = charge_of(await again(sandbox, intent))
    assert charge.payment_method_details is not None
    assert charge.payment_method_details.card is not None
    assert charge.payment_method_details.card.capture_before == charge.created + 7 * DAY
    await sandbox.forward(7 * DAY - 60)
    assert (await again(sandbox, intent)).status == "requires_capture"
    await sandbox.forward(61)
    intent = await again(sandbox, intent)
    assert (intent.status, intent.cancellation_reason, intent.amount_capturable) == (
        "canceled",
        "automatic",
        0,
    )
    assert (await sandbox.event_types())[-2:] == ["charge.expired", "payment_intent.canceled"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.capture_async(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    assert await sandbox.ledger() == 0


async def test_a_captured_hold_does_not_expire(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid(capture_method="manual")
    await client.v1.payment_intents.capture_async(intent.id)
    await sandbox.forward(8 * DAY)
    assert (await again(sandbox, intent)).status == "succeeded"


@pytest.mark.parametrize(
    "params",
    [
        {"payment_method": None, "confirm": False},
        {"confirm": False},
        {"payment_method": "pm_card_threeDSecure2Required", "return_url": RETURN},
        {"capture_method": "manual"},
        {
            "payment_method": "pm_usBankAccount_processing",
            "payment_method_types": ["us_bank_account"],
        },
    ],
    ids=["no method", "not confirmed", "requires action", "held", "processing"],
)
async def test_what_is_not_done_is_cancelled_once(
    sandbox: Sandbox, client: stripe.StripeClient, params: dict[str, Any]
) -> None:
    given = {"method": "pm_card_visa", **params}
    if "payment_method" in params:
        given["method"] = given.pop("payment_method")
    if given["method"] is None:
        intent = await client.v1.payment_intents.create_async({"amount": 2000, "currency": "usd"})
    else:
        intent = await sandbox.paid(**given)
    reason: Any = {"cancellation_reason": "abandoned"}
    intent = await client.v1.payment_intents.cancel_async(intent.id, reason)
    assert (intent.status, intent.cancellation_reason, intent.next_action) == (
        "canceled",
        "abandoned",
        None,
    )
    assert intent.canceled_at is not None
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.cancel_async(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    await sandbox.forward(20 * DAY)
    intent = await again(sandbox, intent)
    assert intent.status == "canceled"
    if intent.latest_charge is not None:
        charge = charge_of(intent)
        assert charge.status == "failed" or charge.refunded
    assert await sandbox.ledger() == 0


@pytest.mark.parametrize("step", ["cancel", "confirm", "capture"])
async def test_what_is_done_stays_done(
    sandbox: Sandbox, client: stripe.StripeClient, step: str
) -> None:
    intent = await sandbox.paid()
    answer = await sandbox.raw("POST", f"/v1/payment_intents/{intent.id}/{step}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "payment_intent_unexpected_state")
    assert error["payment_intent"]["id"] == intent.id
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.update_async(intent.id, {"amount": 50})
    changed = await client.v1.payment_intents.update_async(intent.id, {"description": "paid"})
    assert (changed.description, changed.amount) == ("paid", 2000)


async def test_an_intent_without_a_method_is_not_confirmed(client: stripe.StripeClient) -> None:
    intent = await client.v1.payment_intents.create_async({"amount": 2000, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.confirm_async(intent.id, {"return_url": RETURN})
    assert caught.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("visa_chargeDeclined", "card_declined", "generic_decline"),
        ("visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("chargeDeclinedProcessingError", "processing_error", "processing_error"),
        (
            "visa_chargeDeclinedVelocityLimitExceeded",
            "card_declined",
            "card_velocity_exceeded",
        ),
        ("radarBlock", "card_declined", "fraudulent"),
    ],
)
async def test_a_decline_says_why_and_leaves_the_intent(
    sandbox: Sandbox, card: str, code: str, decline_code: str
) -> None:
    error = await declined(sandbox, f"pm_card_{card}", metadata={"order": "7"})
    assert (error.http_status, error.code) == (402, code)
    told = told_by(error)
    assert told["decline_code"] == decline_code
    intent = await again(sandbox, told["payment_intent"]["id"])
    assert (intent.status, intent.payment_method, intent.metadata.to_dict()) == (
        "requires_payment_method",
        None,
        {"order": "7"},
    )
    assert intent.last_payment_error is not None
    assert (intent.last_payment_error.code, intent.last_payment_error.decline_code) == (
        code,
        decline_code,
    )
    charge = charge_of(intent)
    assert (charge.id, charge.status, charge.paid, charge.failure_code) == (
        told["charge"],
        "failed",
        False,
        code,
    )
    assert charge.balance_transaction is None
    assert (await sandbox.event_types())[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    assert await sandbox.ledger() == 0


async def test_a_declined_intent_is_paid_by_another_card(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    error = await declined(sandbox, "pm_card_visa_chargeDeclined")
    name = told_by(error)["payment_intent"]["id"]
    intent = await client.v1.payment_intents.confirm_async(name, {"payment_method": "pm_card_visa"})
    assert (intent.status, intent.last_payment_error) == ("succeeded", None)
    charges = await client.v1.charges.list_async({"payment_intent": name})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]
    await sandbox.forward(3)
    assert await sandbox.ledger() == 2000


@pytest.mark.parametrize("flag", ["off_session", "error_on_requires_action"])
async def test_who_cannot_send_the_shopper_away_is_declined(sandbox: Sandbox, flag: str) -> None:
    error = await declined(sandbox, "pm_card_authenticationRequired", **{flag: True})
    assert error.code == "authentication_required"
    intent = await again(sandbox, told_by(error)["payment_intent"]["id"])
    assert intent.status == "requires_payment_method"


@pytest.mark.parametrize(
    "params", [{"off_session": True}, {"return_url": RETURN}, {"error_on_requires_action": True}]
)
async def test_how_to_confirm_is_said_when_confirming(
    client: stripe.StripeClient, params: dict[str, Any]
) -> None:
    wanted: Any = {"amount": 2000, "currency": "usd", **params}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.create_async(wanted)
    assert caught.value.param in params


async def challenged(sandbox: Sandbox, **params: Any) -> tuple[stripe.PaymentIntent, str]:
    """An intent that waits for its shopper, and the page that the shopper is sent to."""
    intent = await sandbox.paid(
        "pm_card_threeDSecure2Required", return_url=f"{RETURN}?order=1#done", **params
    )
    assert intent.status == "requires_action"
    assert intent.latest_charge is None
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    assert intent.next_action.redirect_to_url.url is not None
    return intent, intent.next_action.redirect_to_url.url


async def test_a_shopper_who_authenticates_pays_and_comes_back(sandbox: Sandbox) -> None:
    intent, url = await challenged(sandbox)
    assert "20" in (await sandbox.page(url)).text
    answer = await sandbox.page(url, "complete")
    assert answer.status_code == 303
    assert answer.headers["Location"] == (
        f"{RETURN}?order=1&payment_intent={intent.id}"
        f"&payment_intent_client_secret={intent.client_secret}&redirect_status=succeeded#done"
    )
    intent = await again(sandbox, intent)
    assert (intent.status, intent.next_action, intent.amount_received) == ("succeeded", None, 2000)
    assert (await sandbox.page(url, "complete")).status_code == 409
    await sandbox.forward(3)
    assert await sandbox.ledger() == 2000


async def test_a_shopper_who_fails_to_authenticate_may_pay_otherwise(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent, url = await challenged(sandbox)
    assert "redirect_status=failed" in (await sandbox.page(url, "fail")).headers["Location"]
    intent = await again(sandbox, intent)
    assert (intent.status, intent.payment_method, intent.latest_charge) == (
        "requires_payment_method",
        None,
        None,
    )
    assert intent.last_payment_error is not None
    assert intent.last_payment_error.code == "payment_intent_authentication_failure"
    assert (await sandbox.event_types())[-1] == "payment_intent.payment_failed"
    intent = await client.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert intent.status == "succeeded"


async def test_a_shopper_who_only_looks_leaves_the_intent_waiting(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent, url = await challenged(sandbox)
    await sandbox.page(url)
    assert (await sandbox.page(url, "maybe")).status_code == 400
    assert (await sandbox.page(url, b"outcome=\xff\xfe")).status_code == 400
    assert (await again(sandbox, intent)).status == "requires_action"
    await client.v1.payment_intents.cancel_async(intent.id)
    assert (await sandbox.page(url, "complete")).status_code == 409
    assert (await again(sandbox, intent)).status == "canceled"


async def test_a_method_that_replaces_a_challenged_one_needs_no_challenge(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent, url = await challenged(sandbox)
    intent = await client.v1.payment_intents.update_async(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert (intent.status, intent.next_action) == ("requires_confirmation", None)
    assert (await sandbox.page(url, "complete")).status_code == 409
    assert (await client.v1.payment_intents.confirm_async(intent.id)).status == "succeeded"


async def test_a_challenge_may_end_in_a_decline(sandbox: Sandbox) -> None:
    intent = await sandbox.paid(
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", return_url=RETURN
    )
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    answer = await sandbox.page(str(intent.next_action.redirect_to_url.url), "complete")
    assert "redirect_status=failed" in answer.headers["Location"]
    intent = await again(sandbox, intent)
    assert intent.last_payment_error is not None
    assert intent.last_payment_error.decline_code == "insufficient_funds"


async def test_a_hold_may_be_challenged(sandbox: Sandbox) -> None:
    intent, url = await challenged(sandbox, capture_method="manual")
    await sandbox.page(url, "complete")
    intent = await again(sandbox, intent)
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 2000)


async def test_without_a_return_url_the_challenge_is_for_scripts(sandbox: Sandbox) -> None:
    intent = await sandbox.paid("pm_card_threeDSecure2Required")
    assert intent.next_action is not None
    assert (intent.status, intent.next_action.type) == ("requires_action", "use_stripe_sdk")


@pytest.mark.parametrize("url", ["nowhere", "https://a\nb", ""])
async def test_a_shopper_is_sent_to_a_url_only(sandbox: Sandbox, url: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.paid(return_url=url)
    assert caught.value.param == "return_url"


async def test_a_payment_that_may_redirect_needs_a_return_url(client: stripe.StripeClient) -> None:
    create: Any = {
        "amount": 2000,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.create_async(create)
    assert caught.value.param == "return_url"
    create["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    assert (await client.v1.payment_intents.create_async(create)).status == "succeeded"


async def debited(sandbox: Sandbox, method: str) -> stripe.PaymentIntent:
    """An intent that is paid by a bank debit."""
    return await sandbox.paid(method, payment_method_types=["us_bank_account"])


async def test_a_bank_debit_arrives_later(sandbox: Sandbox) -> None:
    intent = await debited(sandbox, "pm_usBankAccount_success")
    assert (intent.status, intent.amount_received) == ("processing", 0)
    assert str(intent.latest_charge).startswith("py_")
    await sandbox.forward(10)
    intent = await again(sandbox, intent)
    assert (intent.status, intent.amount_received) == ("succeeded", 2000)
    kinds = await sandbox.event_types()
    assert kinds[:3] == ["payment_intent.created", "charge.pending", "payment_intent.processing"]
    assert kinds[3:5] == ["charge.succeeded", "payment_intent.succeeded"]
    await sandbox.forward(3)
    assert await sandbox.ledger() == 2000


async def test_a_bank_debit_bounces(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    intent = await debited(sandbox, "pm_usBankAccount_insufficientFunds")
    assert intent.status == "processing"
    await sandbox.forward(10)
    intent = await again(sandbox, intent)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert charge_of(intent).status == "failed"
    intent = await client.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_usBankAccount_success"}
    )
    await sandbox.forward(10)
    await sandbox.forward(3)
    assert (await again(sandbox, intent)).status == "succeeded"
    assert await sandbox.ledger() == 2000


async def test_a_cancelled_bank_debit_does_not_arrive(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await debited(sandbox, "pm_usBankAccount_processing")
    await sandbox.forward(DAY)
    assert (await again(sandbox, intent)).status == "processing"
    await client.v1.payment_intents.cancel_async(intent.id)
    await sandbox.forward(DAY)
    assert charge_of(await again(sandbox, intent)).status == "failed"
    assert await sandbox.ledger() == 0


async def test_a_sepa_debit_arrives(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    method = await client.v1.payment_methods.create_async(
        {
            "type": "sepa_debit",
            "sepa_debit": {"iban": "AT61 1904 3002 3457 3201"},
            "billing_details": {"name": "Ada", "email": "ada@shop.test"},
        }
    )
    assert method.sepa_debit is not None
    assert (method.sepa_debit.country, method.sepa_debit.last4) == ("AT", "3201")
    intent = await sandbox.paid(method.id, payment_method_types=["sepa_debit"], currency="eur")
    assert intent.status == "processing"
    await sandbox.forward(10)
    assert (await again(sandbox, intent)).status == "succeeded"


NAMES = [(name, "card") for card in CARDS for name in card.payment_methods] + [
    (name, account.kind) for account in BANK_ACCOUNTS for name in account.names
]


async def test_whatever_pays_has_the_published_shapes(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    for name, kind in NAMES:
        currency = "eur" if kind == "sepa_debit" else "usd"
        with contextlib.suppress(stripe.CardError, stripe.InvalidRequestError):
            await sandbox.paid(name, payment_method_types=[kind], currency=currency)
    for days in (1, 30):
        await sandbox.forward(10)
        await sandbox.forward(days * DAY)
    v1 = client.v1
    lists: list[Any] = [v1.payment_intents, v1.charges, v1.disputes, v1.balance_transactions]
    for service in [*lists, v1.payment_methods]:
        page = await service.list_async({"limit": 100})
        assert len([one async for one in page.auto_paging_iter()]) > 0


async def test_a_bank_debit_is_not_held(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.paid(
            "pm_usBankAccount_success",
            payment_method_types=["us_bank_account"],
            capture_method="manual",
        )
    assert caught.value.param == "capture_method"


async def test_what_is_excluded_is_not_among_the_types(client: stripe.StripeClient) -> None:
    intent = await client.v1.payment_intents.create_async(
        {
            "amount": 2000,
            "currency": "usd",
            "automatic_payment_methods": {"enabled": True},
            "excluded_payment_method_types": ["us_bank_account", "klarna"],
        }
    )
    assert intent.payment_method_types == ["card", "link"]
    assert intent.excluded_payment_method_types == ["us_bank_account", "klarna"]


async def test_a_method_of_another_type_does_not_pay(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.paid("pm_usBankAccount_processing")
    assert caught.value.code == "payment_intent_incompatible_payment_method"


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"currency": "zzz"}, None, "currency"),
        ({"customer": "cus_none"}, "resource_missing", "customer"),
        ({"payment_method": "pm_none"}, "resource_missing", "payment_method"),
        ({"transfer_data": {"destination": "acct_1"}}, "sandbox_unsupported", "transfer_data"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
    ],
)
async def test_what_an_intent_cannot_be_is_refused(
    sandbox: Sandbox, params: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.paid(**({"method": params.pop("payment_method", "pm_card_visa")} | params))
    error = caught.value
    assert (error.http_status, error.code) == (400, code)
    assert str(error.param).startswith(param)
    listed = await sandbox.client.v1.payment_intents.list_async()
    assert listed.data == []


async def test_an_unknown_intent_is_not_found(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.retrieve_async("pi_none")
    assert (caught.value.http_status, caught.value.code, caught.value.param) == (
        404,
        "resource_missing",
        "intent",
    )
