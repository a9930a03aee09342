"""Which key goes where; no SDK is needed to tell."""

from pydantic import SecretStr

TEST_KEYS = ("sk_test_", "rk_test_")
LIVE_KEYS = ("sk_live_", "rk_live_")


class WrongKey(ValueError):
    """The key does not go with where it would be sent to, or with the mode; it is not shown."""


def checked_key(key: SecretStr, base_url: str | None, *, production: bool) -> str:
    """The key, if it may be used there. Raises WrongKey.

    A live key goes to Stripe alone, and a shop in production takes no test money for real.
    """
    value = key.get_secret_value()
    if value.startswith(LIVE_KEYS):
        if base_url is not None:
            raise WrongKey(
                "a live key must not be sent to a sandbox: unset PAYMENT_STRIPE_BASE_URL"
            )
    elif value.startswith(TEST_KEYS):
        if production:
            raise WrongKey("a test key takes no money: production needs a live key")
    else:
        raise WrongKey("PAYMENT_STRIPE_API_KEY must be a secret or restricted key of Stripe")
    return value
