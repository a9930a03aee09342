"""The payment service put together: `python -m payment_service.app`."""

import asyncio
from collections.abc import Collection

from pydantic import SecretStr

from messaging.clock import utc_now
from messaging.database import Database
from messaging.periodic import BackgroundTask, Run, every
from messaging.service import Service, start
from payment_service.api import payments, reconciliations, saved_methods
from payment_service.consumers import subscriptions
from payment_service.domain.rules import Rules
from payment_service.handlers import PaymentHandler
from payment_service.providers.port import Provider
from payment_service.providers.simulated.api import simulated_router
from payment_service.providers.simulated.bank import Bank
from payment_service.providers.simulated.provider import SimulatedProvider
from payment_service.providers.stripe.api import stripe_router
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.provider import StripeProvider
from payment_service.reconciliation import reconcile
from payment_service.settings import PaymentSettings
from payment_service.sweeper import forget_methods, heed_webhooks, resend_reports
from payment_service.worker import ProviderWorker


def build(settings: PaymentSettings | None = None) -> Service:
    """The service on these settings, by default those of the environment; nothing runs yet.

    `app.state.providers` are its providers by name, for who works on the parts one by one.
    """
    settings = settings or PaymentSettings()
    bank = Bank(
        Database(
            settings.simulated_database_url.get_secret_value(),
            pool_connections=settings.simulated_database_connections,
            application_name="simulated-provider",
        ),
        settings.signing_key,
    )
    simulated = SimulatedProvider(bank, settings.link_base_url)
    providers: dict[str, Provider] = {simulated.name: simulated}
    if settings.stripe_api_key is not None:
        stripe = _stripe(settings, settings.stripe_api_key)
        providers[stripe.name] = stripe
    rules = Rules(
        frozenset(providers), settings.ask_first, settings.ask_longest, settings.ask_bank_longest
    )
    worker = ProviderWorker(providers, rules, settings)
    routers = [
        payments.providers_router(worker.lanes),
        reconciliations.reconciliations_router(tuple(providers)),
        payments.router,
        saved_methods.router,
        simulated_router(simulated, worker.wake),
    ]
    if settings.stripe_api_key is not None:
        routers.append(stripe_router(settings, worker.wake))
    service = Service(
        "payment",
        settings,
        title="Trolley payments",
        subscriptions=subscriptions(PaymentHandler(rules, worker.wake)),
        routers=routers,
        tasks=(
            BackgroundTask("provider-worker", _working(worker, providers.values())),
            BackgroundTask(
                "report-sweeper",
                every(settings.report_resend_seconds / 2, resend_reports(settings)),
            ),
            BackgroundTask(
                "webhook-sweeper",
                every(settings.webhook_again_after_seconds, heed_webhooks(settings)),
            ),
            BackgroundTask(
                "saved-methods",
                every(settings.forget_method_seconds, forget_methods(settings, providers)),
            ),
            BackgroundTask(
                "reconciliation",
                every(settings.reconcile_poll_seconds, reconcile(settings, providers)),
            ),
        ),
    )
    service.app.state.providers = providers
    return service


def _stripe(settings: PaymentSettings, key: SecretStr) -> StripeProvider:
    connection = StripeConnection(
        key.get_secret_value(), settings.stripe_base_url, call_seconds=settings.stripe_call_seconds
    )
    return StripeProvider(
        connection,
        settings.stripe_returns_to,
        utc_now,
        slow_methods=settings.stripe_slow_methods,
    )


def _working(worker: ProviderWorker, providers: Collection[Provider]) -> Run:
    async def run(database: Database, stop: asyncio.Event) -> None:
        try:
            await worker.run(database, stop)
        finally:
            # Last: the calls that still drain need them. After a fault the worker runs again.
            if stop.is_set():
                for provider in providers:
                    await provider.close_connections()

    return run


if __name__ == "__main__":
    start(build)
