"""Documents as HTML: one page without scripts or outside parts, which prints well."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from order_service.documents.page import Page

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""The page's own style and nothing else: whatever a name may hold, nothing of it runs."""


@lru_cache(1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("order_service.documents", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("document.html")


def render_html(page: Page) -> bytes:
    """The page in UTF-8; everything that it says is escaped."""
    return _template().render(page=page).encode()
