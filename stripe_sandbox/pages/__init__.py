"""What shoppers see of the sandbox: plain pages that work without scripts.

checkout         the page of a Checkout Session: pay, or have a method set up
links            the address of a payment link
authentication   the bank's question, 3-D Secure
layout           what all of them look like
"""

from collections.abc import Callable

from aiohttp import web

from stripe_sandbox.database import Database
from stripe_sandbox.pages import authentication, checkout, links


def add_to(application: web.Application, database: Database, happened: Callable[[], None]) -> None:
    """Add the pages. `happened` is called after what a shopper did."""
    for pages in (authentication, checkout, links):
        application.add_routes(pages.routes(database, happened))
