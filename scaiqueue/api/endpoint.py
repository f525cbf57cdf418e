"""An endpoint: one definition from which come the route, the permission check and the OpenAPI entry."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec
from litestar import Request, Response
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive

from scaiqueue.api import auditing
from scaiqueue.api.admission import admit, known_to_be_open
from scaiqueue.api.answers import Rendered, many, one
from scaiqueue.api.permissions import PERMISSIONS, Permission
from scaiqueue.api.tracking import request_id_of
from scaiqueue.api.validation import decode, invalid
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.queueing.principals import Principal
from scaiqueue.rows import queues, scopes
from scaiqueue.rows.queues import QueueRow
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.services import Services

BASE = "/v1/modules/scaiqueue"

_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Of the caller's own making: they may hold slashes.
_LONG = ("correlation_id", "idempotency_key")
_placeholder = re.compile(r"\{(\w+)\}")

T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)
Handler = Callable[["Call"], Awaitable[Rendered]]


class Asked(Protocol):
    """What endpoints use of a request: Litestar's, or one of `hot`."""

    @property
    def headers(self) -> Any: ...
    @property
    def path_params(self) -> dict[str, Any]: ...
    @property
    def query_params(self) -> Any: ...
    @property
    def receive(self) -> Receive: ...
    @property
    def scope(self) -> Any: ...
    async def body(self) -> bytes: ...


class Call:
    """One request to an endpoint: who calls, with what, and the services that answer.

    `permission`: the one that the endpoint asks for, of the scopes and queues that the call turns out to
    concern, too. For the audit: `scope_id` and `queue_slug` are what the path turned out to name; handlers
    say which messages they touched (`message_ids`, joined) and how many `refused_items` there were.
    """

    __slots__ = (
        "_queue",
        "_scope",
        "message_ids",
        "permission",
        "principal",
        "queue_slug",
        "refused_items",
        "request",
        "request_id",
        "scope_id",
        "services",
    )

    def __init__(self, request: Asked, principal: Principal, services: Services, permission: str) -> None:
        self.request = request
        self.principal = principal
        self.services = services
        self.permission = permission
        self.request_id = request_id_of(request.scope)
        self.scope_id = self.queue_slug = self.message_ids = ""
        self.refused_items = 0
        self._scope: ScopeEntry | None = None
        self._queue: QueueEntry | None = None

    def path(self, name: str) -> str:
        text: str = self.request.path_params[f"{name}_ref"]
        return text.removeprefix("/")

    def known_place(self, with_queue: bool) -> str:
        """The id of the path's scope, where the process knows it, and its queue if asked; else ""."""
        directory = self.services.directory
        if with_queue:
            queue = directory.known_queue(self.principal.tenant, self.path("scope"), self.path("queue"))
            self._queue, self._scope = queue, None if queue is None else queue.scope
        else:
            self._scope = directory.known_scope(self.principal.tenant, self.path("scope"))
        return "" if self._scope is None else self._scope.id

    async def scope(self) -> ScopeEntry:
        """The scope that the path names, from the process's cache."""
        if self._scope is None:
            self._scope = await self.services.directory.scope(self.principal.tenant, self.path("scope"))
        self.scope_id = self._scope.id
        return self._scope

    async def queue(self) -> QueueEntry:
        """The queue that the path names, from the process's cache."""
        if self._queue is None:
            self._queue = await self.services.directory.queue(await self.scope(), self.path("queue"))
        self.scope_id, self.queue_slug = self._queue.scope.id, self._queue.slug
        return self._queue

    async def fresh_scope(self) -> ScopeRow:
        """The scope that the path names, read now."""
        row = await scopes.find(self.services.engine, self.principal.tenant, self.path("scope"))
        if row is None:
            raise QueueError(Code.SCAIQUEUE_SCOPE_NOT_FOUND)
        self.scope_id = row.id
        await self.services.access.require(self.principal, self.permission, row.id)
        return row

    async def fresh_queue(self) -> tuple[ScopeEntry, QueueRow]:
        """The queue that the path names, read now, with its scope."""
        scope = ScopeEntry(await self.fresh_scope())
        row = await queues.find(self.services.engine, scope.id, self.path("queue"))
        if row is None:
            raise QueueError(Code.SCAIQUEUE_QUEUE_NOT_FOUND)
        self.queue_slug = row.slug
        await self.services.access.require(self.principal, self.permission, scope.id, row.owner_id)
        return scope, row

    async def queue_named(self, scope: ScopeEntry, name: str) -> QueueEntry:
        """A queue of the scope that the request names elsewhere than in its path."""
        queue = await self.services.directory.queue(scope, name)
        if not self.sees_all(scope):
            await self.services.access.require(self.principal, self.permission, scope.id, queue.owner_id)
        return queue

    def sees_all(self, scope: ScopeEntry) -> bool:
        """No queue is closed to the key, as far as the process knows at once."""
        return self.principal.queues is None and self.services.access.is_open(scope.id)

    async def every_queue(self, scope_id: str) -> None:
        """For what concerns all queues of the scope: refuse who may not use one of them."""
        await self.services.access.require_every_queue(self.principal, self.permission, scope_id)

    async def message_id(self, scope: ScopeEntry) -> str:
        """The message that the path names. What can't be an id is not found."""
        text = self.path("message").lower()
        if _uuid.fullmatch(text) is None:
            raise QueueError(Code.SCAIQUEUE_MESSAGE_NOT_FOUND)
        self.message_ids = text
        return text

    async def require_message(self, scope: ScopeEntry, message_id: str) -> None:
        """Refuse a message of a queue that is closed to the key."""
        if not self.sees_all(scope):
            record = await self.services.reader.record(scope, message_id)
            await self.queue_named(scope, record.queue)

    async def allowed_slugs(self, scope: ScopeEntry) -> list[str] | None:
        """Slugs of the queues that are open to the key; None: all are."""
        ids = await self.allowed_queues(scope)
        if ids is None:
            return None
        found = await queues.all_of(self.services.engine, scope.id)
        return [queue.slug for queue in found if queue.owner_id in ids]

    async def allowed_queues(self, scope: ScopeEntry) -> frozenset[str] | None:
        """Ids of the queues that are open to the key, each with its subscriptions; None: all are."""
        closed = await self.services.access.closed(self.principal, self.permission, scope.id)
        if self.principal.queues is not None or not closed:
            return self.principal.queues and self.principal.queues - closed
        found = await queues.all_of(self.services.engine, scope.id)
        return frozenset(queue.id for queue in found) - closed

    async def body(self, decoder: msgspec.json.Decoder[T], *, optional: bool = False) -> T:
        """The request's body, checked. An absent one is `{}` where `optional`."""
        raw = await self.request.body()
        return decode(decoder, raw if raw or not optional else b"{}")

    def query(self, kind: type[Q], *, also: str = "") -> Q:
        """Query parameters as a Struct, each converted from text; names beginning with `also` are left out.

        Raises VALIDATION_ERROR for unknown, repeated and wrong ones.
        """
        given = self.request.query_params.multi_items()
        values: dict[str, str] = {}
        wrong: list[Detail] = []
        fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
        for name, value in given:
            if also and name.startswith(also):
                continue
            if name not in fields:
                wrong.append(Detail(name, "Unknown parameter"))
            elif name in values:
                wrong.append(Detail(name, "Given more than once"))
            else:
                values[name] = value
                try:
                    msgspec.convert(value, fields[name].type, strict=False)
                except msgspec.ValidationError as error:
                    wrong.append(Detail(name, str(error)))
        if wrong:
            raise invalid(*wrong)
        return msgspec.convert(values, kind, strict=False)

    def one(self, data: object, status: int = 200, **headers: str) -> Rendered:
        return one(data, self.request_id, status, headers)

    def many(
        self, data: Sequence[object] | bytes, next_cursor: str | None = None, stale: bool = False
    ) -> Rendered:
        return many(data, self.request_id, next_cursor, stale)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or header parameter, for the documentation."""

    name: str
    description: str
    kind: Any = str
    place: str = "query"
    free_names: bool = False


@dataclass(frozen=True)
class Endpoint:
    """`body` and `answer` are the types documented; `many` says that the answer is a list."""

    method: str
    path: str
    summary: str
    tag: str
    handler: Handler
    permission: Permission | None
    body: Any = None
    body_optional: bool = False
    answer: Any = None
    many: bool = False
    status: int = 200
    query: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[Code, ...] = ()
    description: str = ""
    other_statuses: dict[int, str] = field(default_factory=dict)
    media_types: tuple[str, ...] = ("application/json",)
    produces: str = "application/json"
    hot: bool = False
    names_queues: bool = False
    """It manages queues that its body names, and asks for each: no need to be let into all."""

    async def begin(self, request: Asked, services: Services) -> tuple[Call, Mapping[str, str] | None]:
        """Authenticates, counts the call, decides whether it may be made, and says its rates. The audit hears
        of a refusal."""
        auditing.require_room(services.audit)
        principal: Principal | None = None
        call: Call | None = None
        try:
            authorization: str | None = request.headers.get("authorization")
            principal = services.key_ring.known(authorization)
            if principal is None:
                principal = await services.key_ring.authenticate(authorization)
            call = Call(request, principal, services, self.needs)
            rate = principal.rate
            told = await services.rates.take(principal.key_id, rate, request.scope["state"]) if rate else None
            if not known_to_be_open(self, call):
                await admit(self, call)
        except BaseException as error:
            auditing.refused(services.audit, self.name, request, principal, call, error)
            raise
        return call, told

    async def respond(self, request: Asked, services: Services) -> Rendered:
        """Begins the call, calls the handler; the audit hears of it however it ends."""
        call, told = await self.begin(request, services)
        try:
            answer = await self.handler(call)
        except BaseException as error:
            auditing.refused(services.audit, self.name, request, call.principal, call, error)
            raise
        auditing.answered(services.audit, self.name, call, answer.status)
        if told:
            answer.headers = {**answer.headers, **told}
        return answer

    def route(self, services: Callable[[], Services]) -> HTTPRouteHandler:
        """The Litestar handler."""

        async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
            request_id_of(request.scope)
            return (await self.respond(request, services())).response()

        handle.__name__ = self.handler.__name__
        return HTTPRouteHandler(
            self.route_path,
            http_method=HttpMethod(self.method),
            status_code=self.status,
            name=self.name,
            include_in_schema=False,
        )(handle)

    @cached_property
    def needs(self) -> str:
        """The permission as it is written."""
        return "" if self.permission is None else self.permission.value

    @cached_property
    def names(self) -> frozenset[str]:
        """What its path names."""
        return frozenset(_placeholder.findall(self.path))

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def route_path(self) -> str:
        """As Litestar knows it, which keeps names such as `scope` to itself."""
        return BASE + _placeholder.sub(_typed, self.path)

    @property
    def full_path(self) -> str:
        return BASE + self.path


def _typed(match: re.Match[str]) -> str:
    """What may hold slashes stands last."""
    return f"{{{match[1]}_ref:{'path' if match[1] in _LONG else 'str'}}}"


class Registry:
    """The endpoints of one noun, in the order they are written."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: list[Endpoint] = []

    def __call__(self, call: str, summary: str, **details: Any) -> Callable[[Handler], Handler]:
        """Register the decorated handler for `call`, such as `POST /scopes`; raises KeyError when the
        permissions table doesn't list it."""
        method, path = call.split(" ")
        permission = PERMISSIONS[call]

        def register(handler: Handler) -> Handler:
            described = (handler.__doc__ or "").strip()
            self.endpoints.append(
                Endpoint(
                    method, path, summary, self.tag, handler, permission, description=described, **details
                )
            )
            return handler

        return register
