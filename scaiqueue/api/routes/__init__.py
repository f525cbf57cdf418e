"""Endpoints, one module per noun."""

from __future__ import annotations

from scaiqueue.api.endpoint import Endpoint
from scaiqueue.api.routes.claiming import claiming
from scaiqueue.api.routes.keys import keys
from scaiqueue.api.routes.publishing import publishing
from scaiqueue.api.routes.queues import queues
from scaiqueue.api.routes.reading import reads
from scaiqueue.api.routes.scopes import scopes
from scaiqueue.api.routes.settling import settling

ENDPOINTS: tuple[Endpoint, ...] = (
    *scopes.endpoints,
    *queues.endpoints,
    *publishing.endpoints,
    *claiming.endpoints,
    *settling.endpoints,
    *reads.endpoints,
    *keys.endpoints,
)
