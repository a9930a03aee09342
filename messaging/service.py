"""A service put together: its database pools, consumers, relay, background loops and REST API."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
import uvicorn
from aiokafka.errors import KafkaError
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.responses import Response

from contracts.topics import Topic
from messaging import inbox, metrics
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.consumer import TopicConsumer, make_broker
from messaging.contact import KafkaContact
from messaging.database import Database, sql
from messaging.dead_letters.api import router as dead_letters
from messaging.dead_letters.replayer import Replayer
from messaging.dead_letters.replays import ReplayProcessor
from messaging.dead_letters.upkeep import call_stalled, count_open, forget_settled
from messaging.delivery import Subscription
from messaging.dispatch import Processor
from messaging.faults import heals_with_time
from messaging.garbage import look_for_garbage_seldom
from messaging.http import problems
from messaging.http.commands import forget_responses
from messaging.http.connections import BoundedConfig
from messaging.http.edge import Edge
from messaging.http.openapi import DescribedApi
from messaging.http.rendering import JsonResponse
from messaging.kafka import broker_security
from messaging.logs import configure_logs
from messaging.periodic import BackgroundTask, every, keep_running
from messaging.relay import PlainRelay, TransactionalRelay
from messaging.settings import ServiceSettings
from messaging.slots import Slot
from messaging.tracing import configure_tracing
from messaging.waiting import Backoff, answers, is_cancelled

log = structlog.get_logger()

HOUSEKEEPING_SECONDS = 600.0
COUNT_SECONDS = 15.0
FORGET_ROWS = 2000
POOL_WAIT_SECONDS = 30.0
STOP_WAIT_SECONDS = 6.0
"""With the requests' drain this keeps a stop under ten seconds."""

NO_TELEMETRY_OF_ITS_OWN: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""`Edge` has a request's span and metrics. FastAPI's own would be a second set of them: five spans
a request, at 0.4 ms together, with the values of the request in their reach."""


class Service:
    """One service process. `app` is its REST API, whose lifespan runs everything else."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        *,
        title: str,
        subscriptions: Sequence[Subscription] = (),
        routers: Sequence[APIRouter] = (),
        tasks: Sequence[BackgroundTask] = (),
    ) -> None:
        self.name = name
        self.settings = settings
        self.subscriptions = tuple(subscriptions)
        url = settings.database_url.get_secret_value()
        self.database = Database(
            url,
            pool_connections=settings.database_connections,
            pool_wait_seconds=POOL_WAIT_SECONDS,
            application_name=name,
        )
        self.api_database = Database(
            url,
            pool_connections=settings.api_database_connections,
            pool_wait_seconds=settings.http.idempotency_wait_seconds,
            application_name=f"{name}-api",
            lock_timeout_ms=int(settings.http.idempotency_wait_seconds * 1000),
        )
        self._relays = tuple(
            kind(name, url, settings.kafka, settings.relay)
            for kind in (PlainRelay, TransactionalRelay)
        )
        for database in (self.database, self.api_database):
            for relay in self._relays:
                database.after_emit(relay.lane, relay.wake)
        self._slot = Slot(url, name, settings.instance_slot)
        self.replayer = Replayer(name, subscriptions)
        self._processors = self._make_processors(subscriptions)
        # A loop each, so that a fault of one never keeps the other from its work.
        self._tasks = (
            *tasks,
            BackgroundTask("inbox-partitions", every(HOUSEKEEPING_SECONDS, self._keep_partitions)),
            BackgroundTask("stored-responses", every(HOUSEKEEPING_SECONDS, self._forget_responses)),
            BackgroundTask(
                "settled-dead-letters",
                every(HOUSEKEEPING_SECONDS, forget_settled(settings.dead_letter_keep_days)),
            ),
            BackgroundTask("stalled-dead-letters", every(HOUSEKEEPING_SECONDS, call_stalled(name))),
            BackgroundTask("open-dead-letters", every(COUNT_SECONDS, count_open(name))),
        )
        self._consumers: tuple[TopicConsumer, ...] = ()
        self._contact = KafkaContact(settings.kafka, f"{name}-readiness")
        self._server: uvicorn.Server | None = None
        self._failed = False
        self.app = self._make_app(title, routers)

    def _make_processors(self, subscriptions: Sequence[Subscription]) -> tuple[Processor, ...]:
        """One for each topic that is read, and for the replays of what failed there."""
        if not subscriptions:
            return ()
        settings = self.settings.consumer
        return (
            *(BatchProcessor(self.name, one, self.database, settings) for one in subscriptions),
            ReplayProcessor(self.replayer, self.database, settings),
        )

    def _make_app(self, title: str, routers: Sequence[APIRouter]) -> FastAPI:
        app = DescribedApi(
            title=title, version="1", lifespan=self._lifespan, telemetry=NO_TELEMETRY_OF_ITS_OWN
        )
        app.state.service = self.name
        app.state.settings = self.settings
        app.state.database = self.database
        app.state.api_database = self.api_database
        problems.install(app)
        app.state.replayer = self.replayer
        for router in (*routers, *((dead_letters,) if self._processors else ())):
            app.include_router(router)
        app.add_api_route("/health/live", self._live, include_in_schema=False)
        app.add_api_route("/health/ready", self._ready, include_in_schema=False)
        app.add_api_route("/metrics", self._metrics, include_in_schema=False)
        app.add_middleware(
            Edge,
            service=self.name,
            requests_at_once=self.settings.http.requests_at_once,
            header_bytes=self.settings.http.header_bytes,
            header_fields=self.settings.http.header_fields,
        )
        return app

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. Exits with 1 after a fatal fault."""
        slot = self.settings.instance_slot
        configure_logs(self.name, slot, self.settings.log_level)
        configure_tracing(self.name, slot, self.settings.otlp_endpoint)
        look_for_garbage_seldom()
        config = BoundedConfig(
            self.app,
            service=self.name,
            bounds=self.settings.http,
            host=self.settings.http_host,
            port=self.settings.http_port,
        )
        self._server = uvicorn.Server(config)
        self._server.run()
        if self._failed or not self._server.started:
            sys.exit(1)

    def assigned(self, topic: Topic) -> int:
        """How many partitions of a topic this replica reads at present."""
        name = f"{self.name}.{topic.name}"
        return sum(consumer.assigned for consumer in self._consumers if consumer.name == name)

    def fail(self, error: BaseException) -> None:
        """End this process: something broke that only a fresh start can mend."""
        log.critical("service ends", error=type(error).__name__, exc_info=error)
        self._failed = True
        if self._server is not None:
            self._server.should_exit = True

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        loops = [
            *(
                asyncio.create_task(self._guarded(relay.run(stop)), name=f"{relay.lane} relay")
                for relay in self._relays
            ),
            asyncio.create_task(self._guarded(self._work(stop)), name="work"),
        ]
        try:
            yield
        finally:
            stop.set()
            loops.append(asyncio.create_task(self._contact.close(), name="contact"))
            _, late = await asyncio.wait(loops, timeout=STOP_WAIT_SECONDS)
            for task in late:
                log.warning("stopped while still at work", task=task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            await self.database.close()
            await self.api_database.close()

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, this process is done
            self.fail(error)
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            self.fail(error)  # it would end this work without a word

    async def _work(self, stop: asyncio.Event) -> None:
        """Consume, and do what is to be done besides, while the slot is ours."""
        if not await self._slot.take(stop):
            return
        holding = asyncio.create_task(self._guarded(self._slot.hold(stop)), name="slot")
        tasks = [
            asyncio.create_task(keep_running(task, self.database, stop), name=task.name)
            for task in self._tasks
        ]
        try:
            await self._consume(stop)
            await asyncio.gather(*tasks)
        finally:
            for task in (holding, *tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._slot.release()

    async def _consume(self, stop: asyncio.Event) -> None:
        """Consume until `stop`, from the first moment Kafka can be reached."""
        if not self._processors:
            await stop.wait()
            return
        broker = await self._started_broker(stop)
        if broker is not None:
            await stop.wait()
            await asyncio.gather(*(consumer.stop() for consumer in self._consumers))
            await broker.stop()

    async def _started_broker(self, stop: asyncio.Event) -> Any:
        settings = self.settings.consumer
        backoff = Backoff(settings.retry_first_ms, settings.retry_longest_ms)
        while not stop.is_set():
            kafka = self.settings.kafka
            broker = make_broker(kafka, broker_security(kafka), f"{self.name}-consumer")
            consumers = tuple(
                TopicConsumer(
                    broker,
                    processor,
                    service=self.name,
                    slot=self.settings.instance_slot,
                    kafka=kafka,
                    settings=self.settings.consumer,
                    fail=self.fail,
                )
                for processor in self._processors
            )
            try:
                await broker.start()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("consumers wait for Kafka", error=type(error).__name__)
                await broker.stop()
                await backoff.rest(stop)
                continue
            for consumer in consumers:
                consumer.start_housekeeping()
            self._consumers = consumers
            log.info("consumers run", groups=[consumer.group for consumer in consumers])
            return broker
        return None

    async def _keep_partitions(self, database: Database) -> int:
        async with database.transaction() as connection:
            await inbox.keep_partitions(connection, utc_now(), self.settings.inbox_keep_days)
        return 0

    async def _forget_responses(self, database: Database) -> int:
        before = utc_now() - timedelta(seconds=self.settings.http.idempotency_keep_seconds)
        async with database.transaction() as connection:
            return await forget_responses(connection, before, FORGET_ROWS)

    async def _live(self) -> Response:
        """The process answers."""
        return JsonResponse({"status": "live"})

    async def _ready(self) -> Response:
        """The service can do its work: database, relay and Kafka can be reached."""
        database, kafka = await asyncio.gather(self._database_answers(), self._kafka_answers())
        relay = all(relay.connected for relay in self._relays)
        checks = {"database": database, "relay": relay, "kafka": kafka}
        ready = all(checks.values())
        content = {"status": "ready" if ready else "waiting", "checks": checks}
        return JsonResponse(content, 200 if ready else 503)

    async def _database_answers(self) -> bool:
        async def ask() -> None:
            async with self.database.reading() as connection:
                await connection.execute(sql("SELECT 1"))

        try:
            await answers(ask)
        except Exception as error:
            if not heals_with_time(error):
                raise
            return False
        return True

    async def _kafka_answers(self) -> bool:
        if not self._processors:
            return await self._contact.reaches_kafka()  # its relays write there
        return bool(self._consumers) and await self._consumers[0].reaches_kafka()

    async def _metrics(self) -> Response:
        """Prometheus metrics."""
        for relay in self._relays:
            metrics.RELAY_LEADS.labels(self.name, relay.lane).set(1 if relay.leads else 0)
        for consumer in self._consumers:
            metrics.ASSIGNED.labels(consumer.name).set(consumer.assigned)
            metrics.SINCE_POLL.labels(consumer.name).set(consumer.seconds_since_poll)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def start(build: Callable[[], Service]) -> None:
    """Run a service on the settings of the environment.

    Where these cannot be it exits with 2 and says why in one line, without their values.
    """
    try:
        service = build()
    except ValidationError as error:
        wrong = [
            ": ".join((*map(str, one["loc"]), one["msg"].removeprefix("Value error, ")))
            for one in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        print(f"{error.title}: {'; '.join(wrong)}", file=sys.stderr)
        sys.exit(2)
    service.run()
