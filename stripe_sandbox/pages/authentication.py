"""3-D Secure: the bank asks its customer, who says yes or no."""

from collections.abc import Callable
from html import escape

from aiohttp import web

from stripe_sandbox.database import Database, Object, Transaction
from stripe_sandbox.errors import ApiError, ResourceMissing
from stripe_sandbox.pages.layout import money, page
from stripe_sandbox.resources import attempts, sessions, setup_intents


def routes(database: Database, happened: Callable[[], None]) -> list[web.RouteDef]:
    """The page. `happened` is called after what a shopper did."""

    async def challenge(request: web.Request) -> web.Response:
        try:
            with database.transaction() as transaction:
                intent = _intent_of(transaction, request.match_info["secret"])
        except ApiError as error:
            return page("There is nothing to confirm", f"<p>{escape(error.message)}</p>", 404)
        if intent["status"] != "requires_action":
            return _over(f"It is {intent['status']}.")
        return page(
            "Confirm that it is you",
            f"<p>{_question(intent)}</p>"
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
                back = _authenticated(transaction, intent, passed=outcome == "complete")
                sessions.followed(transaction, intent)
        except ApiError as error:
            return _over(error.message, 409)
        happened()
        if back is not None:
            raise web.HTTPSeeOther(back)
        return page("Thank you", f"<p>It is {escape(intent['status'])}.</p>")

    return [web.get("/authenticate/{secret}", challenge), web.post("/authenticate/{secret}", act)]


def _over(message: str, status: int = 200) -> web.Response:
    return page("This is over", f"<p>{escape(message)}</p>", status)


def _question(intent: Object) -> str:
    if intent["object"] == "setup_intent":
        return "Your bank asks whether your card may be charged later on."
    return f"Your bank asks whether you pay <b>{money(intent['amount'], intent['currency'])}</b>."


def _authenticated(transaction: Transaction, intent: Object, *, passed: bool) -> str | None:
    if intent["object"] == "setup_intent":
        return setup_intents.authenticated(transaction, intent, passed=passed)
    return attempts.authenticated(transaction, intent, passed=passed)


def _intent_of(transaction: Transaction, secret: str) -> Object:
    name = secret.partition("_secret_")[0]
    intent = transaction.find(name)
    if intent is None or intent.get("client_secret") != secret:
        raise ResourceMissing("payment_intent", name, "intent")
    return intent
