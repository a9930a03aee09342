"""What all pages look like, in light and in dark, on a phone and on a desk."""

from html import escape

from aiohttp import web

from stripe_sandbox.currencies import decimals
from stripe_sandbox.settings import API_VERSION

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f27, #e8eaee);
  --paper: light-dark(#f5f6f8, #14171c); --sheet: light-dark(#fff, #1d2128);
  --line: light-dark(#c3c8d1, #464d59); --edge: light-dark(#767e8d, #7f8796);
  --quiet: light-dark(#59606d, #a4abb8);
  --main: light-dark(#2148c0, #8fabff); --on-main: light-dark(#fff, #10131a);
  --wrong: light-dark(#b3161f, #ff9a96); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 30rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: .5rem 0 1rem; }
a { color: var(--main); }
table { width: 100%; border-collapse: collapse; margin-bottom: 1.5rem; }
th, td { padding: .4rem 0; border-bottom: 1px solid var(--line); text-align: start;
  font-weight: inherit; vertical-align: top; }
td { text-align: end; white-space: nowrap; padding-inline-start: 1rem;
  font-variant-numeric: tabular-nums; }
tfoot th, tfoot td { border: 0; font-weight: 700; font-size: 1.1rem; }
small, .note { color: var(--quiet); font-size: .875rem; }
fieldset { border: 1px solid var(--line); border-radius: .5rem; background: var(--sheet);
  margin: 0 0 1rem; padding: .5rem 1rem 1rem; min-width: 0; }
legend { font-weight: 600; padding: 0 .3rem; }
label { display: block; margin: .6rem 0 .2rem; }
.choice { display: flex; gap: .6rem; align-items: center; min-height: 2.75rem; margin: 0; }
input { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--edge);
  border-radius: .4rem; padding: .6rem .7rem; width: 100%; min-height: 2.75rem; }
::placeholder { color: var(--quiet); opacity: 1; }
input[type=radio] { width: 1.2rem; min-height: 1.2rem; margin: 0; accent-color: var(--main); }
input[aria-invalid=true] { border: 2px solid var(--wrong); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; }
.wrong { color: var(--wrong); margin: .2rem 0 0; font-size: .925rem; }
[role=alert] { border: 2px solid var(--wrong); border-radius: .5rem; padding: .7rem 1rem;
  margin: 0 0 1rem; background: var(--sheet); }
[role=alert] p { margin: 0; } [role=alert] ul { margin: .3rem 0 0; padding-inline-start: 1.2rem; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; padding: .6rem 1.2rem;
  margin: 0 .5rem .5rem 0; border-radius: .4rem; border: 1px solid var(--edge);
  background: var(--sheet); color: inherit; cursor: pointer; }
button.main { background: var(--main); border-color: var(--main); color: var(--on-main); }
button.wide { width: 100%; margin: .5rem 0; }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
form:has(#pay-card:checked) .of-us_bank_account, form:has(#pay-card:checked) .of-sepa_debit,
form:has(#pay-us_bank_account:checked) .of-card,
form:has(#pay-us_bank_account:checked) .of-sepa_debit,
form:has(#pay-sepa_debit:checked) .of-card,
form:has(#pay-sepa_debit:checked) .of-us_bank_account { display: none; }
"""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def page(title: str, body: str, status: int = 200) -> web.Response:
    """A page; `title` is text, `body` is HTML."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>{body}"
        f'<p class="note">A sandbox ({API_VERSION}): no bank is asked, and no money moves.</p>'
        "</main></body></html>"
    )
    return web.Response(text=text, content_type="text/html", status=status, headers=_HEADERS)


def money(amount: int, currency: str) -> str:
    """An amount of minor units as people read it: 1,234.50 EUR, 1,234 JPY, 1.234 KWD."""
    code = currency.upper()
    places = decimals(code)
    whole, fraction = divmod(amount, 10**places)
    return f"{whole:,}.{fraction:0{places}d} {code}" if places else f"{whole:,} {code}"
