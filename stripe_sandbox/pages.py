"""What shoppers see of the sandbox: plain pages that work without scripts."""

from collections.abc import Callable
from html import escape

from aiohttp import web

from stripe_sandbox.database import Database, Object, Transaction
from stripe_sandbox.errors import ApiError, ResourceMissing
from stripe_sandbox.resources.attempts import authenticated

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 26rem; padding: 2rem 1rem; }
h1 { font-size: 1.3rem; } p.note { color: #777; font-size: .85rem; }
button { font: inherit; padding: .6rem 1.2rem; margin-right: .5rem; border-radius: .4rem; }
button { border: 1px solid #777; cursor: pointer; }
button.main { background: #2453d6; border-color: #2453d6; color: #fff; }
"""


def page(title: str, body: str, status: int = 200) -> web.Response:
    """A page; `body` is HTML."""
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}"
        f'<p class="note">A sandbox: no bank is asked, and no money moves.</p></html>'
    )
    return web.Response(text=text, content_type="text/html", status=status)


def add_to(application: web.Application, database: Database, happened: Callable[[], None]) -> None:
    """Add the pages. `happened` is called after what a shopper did."""

    async def challenge(request: web.Request) -> web.Response:
        try:
            with database.transaction() as transaction:
                intent = _intent_of(transaction, request.match_info["secret"])
        except ApiError as error:
            return page("There is nothing to confirm", f"<p>{escape(error.message)}</p>", 404)
        if intent["status"] != "requires_action":
            return page("This is over", f"<p>The payment is {escape(intent['status'])}.</p>")
        return page(
            "Confirm your payment",
            f"<p>Your bank asks whether you pay "
            f"<b>{intent['amount']} {escape(intent['currency'].upper())}</b>"
            " (in the currency's smallest unit).</p>"
            '<form method="post"><button class="main" name="outcome" value="complete">Complete'
            '</button><button name="outcome" value="fail">Fail</button></form>',
        )

    async def act(request: web.Request) -> web.Response:
        try:
            outcome = (await request.post()).get("outcome")
        except (ValueError, LookupError):  # no form, or in no charset there is
            outcome = None
        if outcome not in ("complete", "fail"):
            return page("Nothing was chosen", "<p>Choose complete or fail.</p>", 400)
        try:
            with database.transaction() as transaction:
                intent = _intent_of(transaction, request.match_info["secret"])
                back = authenticated(transaction, intent, passed=outcome == "complete")
        except ApiError as error:
            return page("This is over", f"<p>{escape(error.message)}</p>", 409)
        happened()
        if back is not None:
            raise web.HTTPSeeOther(back)
        return page("Thank you", f"<p>The payment is {escape(intent['status'])}.</p>")

    application.add_routes(
        [web.get("/authenticate/{secret}", challenge), web.post("/authenticate/{secret}", act)]
    )


def _intent_of(transaction: Transaction, secret: str) -> Object:
    name = secret.partition("_secret_")[0]
    intent = transaction.find(name)
    if intent is None or intent.get("client_secret") != secret:
        raise ResourceMissing("payment_intent", name, "intent")
    return intent
