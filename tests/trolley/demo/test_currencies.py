"""Who pays in other money, and what comes back of it."""

from collections import Counter

import pytest

from contracts.money import provider_limit
from trolley.demo.act_currencies import ARTICLES, purchases
from trolley.demo.goods import Article


def test_each_currency_has_as_many_shoppers() -> None:
    wanted = purchases(24, most_pieces=6, seed=1)

    assert Counter(one.article.currency for one in wanted) == {"JPY": 8, "EUR": 8, "KWD": 8}


@pytest.mark.parametrize("seed", range(20))
def test_in_each_currency_something_comes_back_and_never_more_than_was_bought(seed: int) -> None:
    wanted = purchases(9, most_pieces=6, seed=seed)

    assert all(0 <= one.given_back <= one.pieces <= 6 for one in wanted)
    assert {one.article for one in wanted if one.given_back} == set(ARTICLES)


def test_the_same_seed_buys_the_same() -> None:
    assert purchases(9, most_pieces=6, seed=1) == purchases(9, most_pieces=6, seed=1)
    assert purchases(9, most_pieces=6, seed=1) != purchases(9, most_pieces=6, seed=2)


@pytest.mark.parametrize("article", ARTICLES, ids=lambda article: article.currency)
def test_stripe_takes_the_price_of_a_single_piece(article: Article) -> None:
    limit = provider_limit("stripe", article.currency)

    assert article.price_minor >= limit.minimum_minor
    assert article.price_minor % limit.rounding_unit_minor == 0
