"""What runs, as it is declared."""

import pytest

from trolley.services import SANDBOX_KEY, STRIPE_SANDBOX, Service, stand_ins


@pytest.mark.parametrize(
    ("environment", "services"),
    [
        ({}, (STRIPE_SANDBOX,)),
        ({"PAYMENT_STRIPE_API_KEY": SANDBOX_KEY}, (STRIPE_SANDBOX,)),
        ({"PAYMENT_STRIPE_API_KEY": "sk_test_of_an_account"}, ()),
        ({"PAYMENT_STRIPE_API_KEY": "sk_live_1"}, ()),
    ],
)
def test_something_stands_in_for_stripe_until_there_is_a_key_of_stripes(
    environment: dict[str, str], services: tuple[Service, ...]
) -> None:
    assert stand_ins(environment) == services
