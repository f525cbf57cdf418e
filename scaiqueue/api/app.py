"""The HTTP application: `create_app` is a factory for uvicorn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.plugins.prometheus import PrometheusConfig

from scaiqueue.api import failures
from scaiqueue.api.hot import HotPaths
from scaiqueue.api.logs import configure_logs
from scaiqueue.api.routes import ENDPOINTS
from scaiqueue.api.routes.docs import docs_routes
from scaiqueue.api.routes.event_socket import event_socket
from scaiqueue.api.routes.events import stream_events
from scaiqueue.api.routes.health import public_routes
from scaiqueue.api.stopping import on_stop_signal
from scaiqueue.api.tracking import before_send
from scaiqueue.collector import rest_the_collector
from scaiqueue.errors import QueueError
from scaiqueue.services import Services
from scaiqueue.settings import Settings, load_settings

# What a request carries around its bodies: names, quotes, base64.
_REQUEST_SLACK = 1 << 20


def create_app(settings: Settings | None = None) -> HotPaths:
    """The whole API with everything behind it; settings come from the environment unless given."""
    settings = settings or load_settings()
    configure_logs(settings)
    services: Services | None = None

    def available() -> Services:
        if services is None:
            raise RuntimeError("the application has not been started")
        return services

    @asynccontextmanager
    async def running(_app: Litestar) -> AsyncIterator[None]:
        nonlocal services
        services = Services(settings)
        await services.start()
        rest_the_collector()
        try:
            with on_stop_signal(services.let_go):
                yield
        finally:
            await services.stop()

    metrics = PrometheusConfig(app_name="scaiqueue", prefix="scaiqueue_http", group_path=True)
    limit = max(settings.max_batch_bytes, 2 * settings.max_body_bytes) + _REQUEST_SLACK
    app = Litestar(
        route_handlers=[
            *(endpoint.route(available) for endpoint in ENDPOINTS),
            event_socket(next(e for e in ENDPOINTS if e.handler is stream_events), available),
            *public_routes(available),
            *docs_routes(),
        ],
        lifespan=[running],
        middleware=[metrics.middleware],
        before_send=[before_send],
        exception_handlers={
            QueueError: failures.on_queue_error,
            HTTPException: failures.on_http_error,
            Exception: failures.on_fault,
        },
        request_max_body_size=limit,
        openapi_config=None,
        logging_config=None,
    )
    return HotPaths(app, ENDPOINTS, available, metrics, limit)
