"""What may serve as a code: a SKU, a product code, a warehouse."""

LONGEST_CODE = 64
"""Characters of a code: it stands in URLs, record keys and on labels."""


def is_code(text: str) -> bool:
    """Whether `text` can be a code.

    Printable characters without a slash, no blanks at the ends, and not "." or "..", which
    clients resolve away in URLs.
    """
    return (
        1 <= len(text) <= LONGEST_CODE
        and text.isprintable()
        and text == text.strip()
        and "/" not in text
        and text not in {".", ".."}
    )
