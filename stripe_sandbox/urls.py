"""URLs that callers name, to be told of events at or to send shoppers back to."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from stripe_sandbox.errors import InvalidRequest


def checked_url(url: str, param: str, *, of_web: bool = True) -> str:
    """The URL; apps have schemes of their own, where it need not be `of_web`.

    Raises InvalidRequest.
    """
    try:
        parts = urlsplit(url)
        is_one = bool(parts.hostname) if of_web else bool(parts.scheme)
        fits = is_one and url.isprintable() and " " not in url and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or (of_web and parts.scheme not in ("http", "https")):
        raise InvalidRequest("Not a valid URL", code="url_invalid", param=param)
    return url


def with_query(url: str, added: Mapping[str, str]) -> str:
    """The URL with more in its query."""
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *added.items()])
    return urlunsplit(parts._replace(query=query))
