"""The address of a payment link: everybody who goes there gets a session of their own."""

from collections.abc import Callable
from html import escape

from aiohttp import web

from stripe_sandbox.database import Database
from stripe_sandbox.errors import ResourceMissing
from stripe_sandbox.pages.layout import page
from stripe_sandbox.resources.payment_links import visited


def routes(database: Database, happened: Callable[[], None]) -> list[web.RouteDef]:
    """The address. `happened` is called after a session was made."""

    async def visit(request: web.Request) -> web.Response:
        try:
            with database.transaction() as transaction:
                found = visited(transaction, request.match_info["link"], request.query)
        except ResourceMissing:
            return page("There is no such link", "<p>Please ask the shop for another one.</p>", 404)
        if found["object"] == "payment_link":
            message = found["inactive_message"] or "Please ask the shop for another one."
            return page("This link is not active any more", f"<p>{escape(message)}</p>", 410)
        happened()
        raise web.HTTPSeeOther(found["url"])

    # A program that only looks whether the address answers makes no session.
    return [web.get("/l/{link}", visit, allow_head=False)]
