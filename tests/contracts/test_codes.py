"""What may be a SKU, a product code or the name of a warehouse."""

import pytest

from contracts.codes import is_code


@pytest.mark.parametrize("text", ["85123A", "a", "x" * 64, "gift 0001", "ÄÖ-½", "#?%&", "..."])
def test_these_can_be_codes(text: str) -> None:
    assert is_code(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 65, " a", "a ", "a/b", "a\n", "a\x00b", "a\u2028b", "\u202ea", ".", ".."]
)
def test_these_cannot_be_codes(text: str) -> None:
    assert not is_code(text)
