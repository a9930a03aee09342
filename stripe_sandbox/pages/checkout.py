"""The page of a Checkout Session: what is sold, and a form to pay for it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from html import escape

from aiohttp import web

from stripe_sandbox.cards import (
    US_ROUTING_NUMBER,
    CardEntryRefused,
    TestBankAccount,
    TestCard,
    UnknownTestCard,
    bank_account_of_number,
    check_entry,
    full_year,
)
from stripe_sandbox.database import Database, Object, Transaction
from stripe_sandbox.errors import ApiError, CardError, ResourceMissing
from stripe_sandbox.pages.layout import money, page
from stripe_sandbox.resources import line_items, sessions
from stripe_sandbox.resources.payment_methods import new_method

LONGEST_ENTRY = 300
"""Characters of a field that are read."""

_NAMES = {"card": "Card", "us_bank_account": "US bank account", "sepa_debit": "SEPA direct debit"}
_EXAMPLES = {
    "card": "4242 4242 4242 4242",
    "us_bank_account": f"{US_ROUTING_NUMBER} and 000123456789",
    "sepa_debit": "DE89 3704 0044 0532 0130 00",
}
_FIELD_OF_PARAM = {"number": "number", "exp_month": "expiry", "exp_year": "expiry", "cvc": "cvc"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_EXPIRY = re.compile(r"(\d{1,2})\s*/\s*(\d{2}|\d{4})|(\d{2})(\d{2})")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why it did not work: for the whole form, and by field."""

    whole: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


class EntryRefused(Exception):
    """Fields are not filled in as they have to be."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("fields are wrong")
        self.fields = fields


def routes(database: Database, happened: Callable[[], None]) -> list[web.RouteDef]:
    """The page. `happened` is called after what a shopper did."""

    async def show(request: web.Request) -> web.Response:
        with database.transaction() as transaction:
            session = _session_of(transaction, request)
            return _shown(transaction, session, Trouble(), {})

    async def come_back(request: web.Request) -> web.Response:
        """From the bank's page."""
        with database.transaction() as transaction:
            session = _session_of(transaction, request)
            trouble = Trouble(whole=_last_error(transaction, session))
            response = _shown(transaction, session, trouble, _known(transaction, session))
        return _sent_back(session) or response

    async def pay(request: web.Request) -> web.Response:
        form = await request.post()
        entry = {
            name: value.strip()[:LONGEST_ENTRY]
            for name, value in form.items()
            if isinstance(value, str)
        }
        try:
            with database.transaction() as transaction:
                session = _session_of(transaction, request)
                if session["status"] != "open":
                    return _sent_back(session) or _see(request.path)
                response: web.Response | None = None
                try:
                    session = _pay(transaction, session, entry)
                except EntryRefused as refused:
                    trouble = Trouble("Please look at these fields:", refused.fields)
                    return _shown(transaction, session, trouble, entry, 422)
                except CardError as error:
                    response = _shown(transaction, session, _declined(error), entry, 402)
                elsewhere = _action_of(transaction, session)
        except ApiError as error:
            return page("This cannot be done", f"<p>{escape(error.message)}</p>", 409)
        happened()
        if response is not None:
            return response
        if elsewhere is not None:
            raise web.HTTPSeeOther(elsewhere)
        return _sent_back(session) or _see(request.path)

    return [
        web.get("/c/pay/{session}", show),
        web.post("/c/pay/{session}", pay),
        web.get("/c/pay/{session}/return", come_back),
    ]


def _session_of(transaction: Transaction, request: web.Request) -> Object:
    try:
        return transaction.get("checkout.session", request.match_info["session"])
    except ResourceMissing:
        response = page("There is nothing to pay here", "<p>There is no such session.</p>", 404)
        raise web.HTTPNotFound(text=response.text, content_type="text/html") from None


def _see(url: str) -> web.Response:
    return web.Response(status=303, headers={"Location": url})


def _sent_back(session: Object) -> web.Response | None:
    """On to the shop, if the session is complete and the shop wants its shoppers back."""
    if session["status"] != "complete" or session["success_url"] is None:
        return None
    return _see(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))


# What the shopper does.


def _pay(transaction: Transaction, session: Object, entry: Mapping[str, str]) -> Object:
    """The session, after a try to pay with what was entered. Raises EntryRefused and ApiError."""
    wrong: dict[str, str] = {}
    shopper = _known(transaction, session) | {"name": entry.get("name", "")}
    shopper.setdefault("email", entry.get("email", ""))
    if not _EMAIL.fullmatch(shopper["email"]):
        wrong["email"] = "Enter an email address, such as name@example.com."
    if not shopper["name"]:
        wrong["name"] = "Enter your name."
    account: TestCard | TestBankAccount | None = None
    expiry: tuple[int, int] | None = None
    if _needs_method(session):
        today = datetime.fromtimestamp(transaction.now, UTC).date()
        kind = entry.get("method", session["payment_method_types"][0])
        try:
            if kind not in session["payment_method_types"]:
                raise EntryRefused({"method": "Choose how to pay."})
            if kind == "card":
                account, expiry = _card(entry, today)
            else:
                account = _bank_account(entry, kind)
        except EntryRefused as refused:
            wrong |= refused.fields
    if wrong:
        raise EntryRefused(wrong)
    method: Object | None = None
    if account is not None:
        has_cvc = expiry is not None
        method = new_method(transaction, account, billing=shopper, cvc_given=has_cvc, expiry=expiry)
    return sessions.paid_by(transaction, session, method, shopper)


def _needs_method(session: Object) -> bool:
    return session["mode"] == "setup" or bool(session["amount_total"])


def _known(transaction: Transaction, session: Object) -> dict[str, str]:
    """What is known of the shopper beforehand."""
    details = session["customer_details"] or {}
    return {"email": details["email"]} if details.get("email") else {}


def _card(entry: Mapping[str, str], today: date) -> tuple[TestCard, tuple[int, int]]:
    found = _EXPIRY.fullmatch(entry.get("expiry", ""))
    if found is None:
        raise EntryRefused({"expiry": "Enter month and year, such as 04 / 30."})
    month, year = (int(part) for part in found.groups() if part is not None)
    try:
        card = check_entry(entry.get("number", ""), month, year, entry.get("cvc", ""), today)
    except CardEntryRefused as refused:
        name = _FIELD_OF_PARAM.get(refused.decline.param or "", "number")
        raise EntryRefused({name: refused.decline.message}) from None
    return card, (month, full_year(year, today))


def _bank_account(entry: Mapping[str, str], kind: str) -> TestBankAccount:
    if kind == "us_bank_account":
        if entry.get("routing") != US_ROUTING_NUMBER:
            raise EntryRefused({"routing": f"Enter the test bank's number, {US_ROUTING_NUMBER}."})
        name, number = "account", entry.get("account", "")
    else:
        name, number = "iban", entry.get("iban", "").replace(" ", "").upper()
    try:
        account = bank_account_of_number(number)
    except UnknownTestCard:
        account = None
    if account is None or account.kind != kind:
        raise EntryRefused({name: "Only Stripe's test accounts are taken here."})
    if account.creation_error is not None:
        raise EntryRefused({name: "This bank takes no debits."})
    return account


def _declined(error: CardError) -> Trouble:
    name = _FIELD_OF_PARAM.get(error.param or "")
    if name is None:
        return Trouble(error.message)
    return Trouble("Your bank did not take this:", {name: error.message})


def _intent_of(transaction: Transaction, session: Object) -> Object | None:
    name = session["payment_intent"] or session["setup_intent"]
    return transaction.find(name) if name else None


def _action_of(transaction: Transaction, session: Object) -> str | None:
    """Where the shopper has to go first, if anywhere."""
    intent = _intent_of(transaction, session)
    if intent is None or intent["status"] != "requires_action":
        return None
    url: str = intent["next_action"]["redirect_to_url"]["url"]
    return url


def _last_error(transaction: Transaction, session: Object) -> str:
    """Why the last try to pay came to nothing."""
    intent = _intent_of(transaction, session) or {}
    error = intent.get("last_payment_error") or intent.get("last_setup_error") or {}
    message: str = error.get("message", "")
    return message


# What the shopper sees.


def _shown(
    transaction: Transaction,
    session: Object,
    trouble: Trouble,
    entry: Mapping[str, str],
    status: int = 200,
) -> web.Response:
    if session["status"] == "open":
        title, lines = "Save a payment method", ""
        if session["mode"] == "payment":
            title = _button(session)
            lines = _lines(sessions.lines_of(transaction, session))
        form = _form(session, trouble, entry, _known(transaction, session).get("email"))
        return page(title, f"{_way_back(session)}{_alert(trouble)}{lines}{form}", status)
    link = transaction.find(session["payment_link"]) if session["payment_link"] else None
    return _ended(session, link)


def _ended(session: Object, link: Object | None = None) -> web.Response:
    if session["status"] == "expired":
        text = "<p>Nothing was paid. Please start again at the shop.</p>"
        return page("This page has expired", f"{_way_back(session)}{text}", 410)
    after = link["after_completion"] if link else {}
    message = (after.get("hosted_confirmation") or {}).get("custom_message")
    text = f"<p>{escape(message or 'There is nothing left to do here.')}</p>"
    if (onward := _sent_back(session)) is not None:
        text += f'<p><a href="{escape(onward.headers["Location"])}">Go on to the shop</a></p>'
    return page("Thank you, this is done", text)


def _way_back(session: Object) -> str:
    if session["cancel_url"] is None:
        return ""
    return f'<p><a href="{escape(session["cancel_url"])}">Back to the shop</a></p>'


def _alert(trouble: Trouble) -> str:
    """What went wrong, before all else, with a way to each field."""
    if not trouble.whole and not trouble.fields:
        return ""
    items = "".join(
        f'<li><a href="#{name}">{escape(message)}</a></li>'
        for name, message in trouble.fields.items()
    )
    fields = f"<ul>{items}</ul>" if items else ""
    return f'<div role="alert"><p>{escape(trouble.whole)}</p>{fields}</div>'


def _lines(lines: list[Object]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(line["description"])}'
        f"<br><small>{line['quantity']} &times;"
        f" {money(line['price']['unit_amount'], line['currency'])}</small></th>"
        f"<td>{money(line['amount_total'], line['currency'])}</td></tr>"
        for line in lines
    )
    total = money(line_items.total(lines), lines[0]["currency"])
    return (
        f'<table aria-label="Your order"><tbody>{rows}</tbody>'
        f'<tfoot><tr><th scope="row">Total</th><td>{total}</td></tr></tfoot></table>'
    )


_BUTTONS = {"book": "Book for", "donate": "Donate"}


def _form(session: Object, trouble: Trouble, entry: Mapping[str, str], email: str | None) -> str:
    def input_of(name: str, label: str, more: str, *, shown_again: bool = False) -> str:
        wrong = trouble.fields.get(name)
        marks = f' aria-invalid="true" aria-describedby="{name}-wrong"' if wrong else ""
        told = f'<p class="wrong" id="{name}-wrong">{escape(wrong)}</p>' if wrong else ""
        value = f' value="{escape(entry[name])}"' if shown_again and name in entry else ""
        return (
            f'<div><label for="{name}">{label}</label>'
            f'<input id="{name}" name="{name}" {more}{value}{marks}>{told}</div>'
        )

    contact = (
        f"<p>{escape(email)}</p>"
        if email
        else input_of(
            "email", "Email", 'type="email" autocomplete="email" required', shown_again=True
        )
    )
    name = input_of("name", "Name", 'autocomplete="name" required', shown_again=True)
    parts = [f"<fieldset><legend>Who you are</legend>{contact}{name}</fieldset>"]
    if _needs_method(session):
        types = session["payment_method_types"]
        parts.append(_choice(types, entry.get("method", types[0]), trouble))
        fields = {
            "card": input_of(
                "number",
                "Card number",
                'inputmode="numeric" autocomplete="cc-number"',
            )
            + '<div class="pair">'
            + input_of(
                "expiry",
                "Expires (MM / YY)",
                'inputmode="numeric" autocomplete="cc-exp" placeholder="MM / YY"',
                shown_again=True,
            )
            + input_of("cvc", "Security code", 'inputmode="numeric" autocomplete="cc-csc"')
            + "</div>",
            "us_bank_account": input_of(
                "routing",
                "Routing number",
                'inputmode="numeric" autocomplete="off"',
            )
            + input_of("account", "Account number", 'inputmode="numeric" autocomplete="off"'),
            "sepa_debit": input_of(
                "iban", "IBAN", 'autocomplete="off" autocapitalize="characters"'
            ),
        }
        parts += [
            f'<fieldset class="of-{one}"><legend>{_NAMES[one]}</legend>{fields[one]}'
            f"<small>Only test numbers are taken, such as {_EXAMPLES[one]}.</small></fieldset>"
            for one in types
        ]
    return (
        f'<form method="post" action="/c/pay/{session["id"]}">{"".join(parts)}'
        f'<button class="main wide">{_button(session)}</button></form>'
    )


def _choice(types: list[str], chosen: str, trouble: Trouble) -> str:
    """How to pay, where there is a choice."""
    if len(types) == 1:
        return ""
    wrong = trouble.fields.get("method")
    told = f'<p class="wrong" id="method">{escape(wrong)}</p>' if wrong else ""
    radios = "".join(
        f'<label class="choice" for="pay-{one}"><input type="radio" id="pay-{one}" name="method"'
        f' value="{one}"{" checked" if one == chosen else ""}>{_NAMES[one]}</label>'
        for one in types
    )
    return f"<fieldset><legend>How to pay</legend>{radios}{told}</fieldset>"


def _button(session: Object) -> str:
    if session["mode"] == "setup":
        return "Save"
    if not session["amount_total"]:
        return "Complete the order"
    total = money(session["amount_total"], session["currency"])
    return f"{_BUTTONS.get(session['submit_type'] or '', 'Pay')} {total}"
