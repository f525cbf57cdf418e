"""Endpoints, one module per noun."""

from __future__ import annotations

from scaiqueue.api.endpoint import Endpoint
from scaiqueue.api.routes.queues import queues
from scaiqueue.api.routes.scopes import scopes

ENDPOINTS: tuple[Endpoint, ...] = (*scopes.endpoints, *queues.endpoints)
