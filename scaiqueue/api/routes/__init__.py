"""Endpoints, one module per noun."""

from __future__ import annotations

from scaiqueue.api.endpoint import Endpoint
from scaiqueue.api.routes.acls import acls
from scaiqueue.api.routes.audit import audit
from scaiqueue.api.routes.claiming import claiming
from scaiqueue.api.routes.deliveries import deliveries
from scaiqueue.api.routes.erasures import erasures
from scaiqueue.api.routes.evaluating import evaluating
from scaiqueue.api.routes.events import events
from scaiqueue.api.routes.following import following
from scaiqueue.api.routes.grants import grants
from scaiqueue.api.routes.keys import keys
from scaiqueue.api.routes.patterns import patterns
from scaiqueue.api.routes.publishing import publishing
from scaiqueue.api.routes.queues import queues
from scaiqueue.api.routes.reading import reads
from scaiqueue.api.routes.redriving import redriving
from scaiqueue.api.routes.removing import removing
from scaiqueue.api.routes.reviews import reviews
from scaiqueue.api.routes.routing import routing
from scaiqueue.api.routes.schemas import schemas
from scaiqueue.api.routes.scopes import scopes
from scaiqueue.api.routes.settling import settling
from scaiqueue.api.routes.stats import stats
from scaiqueue.api.routes.streams import streams
from scaiqueue.api.routes.subscriptions import subscriptions
from scaiqueue.api.routes.system import system
from scaiqueue.api.routes.trusts import trusts
from scaiqueue.api.routes.webhooks import webhooks

ENDPOINTS: tuple[Endpoint, ...] = (
    *scopes.endpoints,
    *queues.endpoints,
    *stats.endpoints,
    *publishing.endpoints,
    *claiming.endpoints,
    *settling.endpoints,
    *reads.endpoints,
    *removing.endpoints,
    *redriving.endpoints,
    *schemas.endpoints,
    *patterns.endpoints,
    *reviews.endpoints,
    *evaluating.endpoints,
    *routing.endpoints,
    *audit.endpoints,
    *erasures.endpoints,
    *streams.endpoints,
    *following.endpoints,
    *subscriptions.endpoints,
    *grants.endpoints,
    *acls.endpoints,
    *trusts.endpoints,
    *events.endpoints,
    *webhooks.endpoints,
    *deliveries.endpoints,
    *keys.endpoints,
    *system.endpoints,
)
