"""What needs no key: health and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.plugins.prometheus import PrometheusController

from scaiqueue.api.answers import json_response
from scaiqueue.services import Services


class MetricsController(PrometheusController):
    """Prometheus text at /metrics."""

    path = "/metrics"
    include_in_schema = False
    openmetrics_format = False


def public_routes(services: Callable[[], Services]) -> list[HTTPRouteHandler | type[MetricsController]]:
    @get("/healthz", include_in_schema=False)
    async def healthz() -> Response[Any]:
        """The process answers."""
        services()
        return json_response({"status": "ok"})

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[Any]:
        """200 when calls can be served; 503 with the reason otherwise."""
        found = await services().readiness()
        return json_response(found, 200 if found.ready else 503)

    return [healthz, readyz, MetricsController]
