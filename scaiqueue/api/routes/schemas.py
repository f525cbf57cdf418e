"""JSON Schemas of a scope: created, read, tried, deleted; never changed."""

from __future__ import annotations

from typing import Any

import msgspec
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.failures import ErrorDetail
from scaiqueue.api.paging import after, cursor_for, cut
from scaiqueue.api.routes.documents import DocumentPage, next_version, refuse_large, version_taken
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import DocumentVersion, ShortText, Slug
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.nesting import TOO_DEEP, too_deep
from scaiqueue.rows import documents, queues
from scaiqueue.rows.documents import SchemaRow, VersionTaken
from scaiqueue.rows.queues import SchemaMode
from scaiqueue.schemas.compatibility import narrowings
from scaiqueue.schemas.compiled import CompiledSchema, SchemaError

schemas = Registry("Schemas")

MAX_SCHEMA_BYTES = 65_536


class CreateSchema(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`schema` is JSON Schema 2020-12. It holds for messages of `message_type`, if one is given, and wherever
    a queue or a publisher names it. `require_compatible` refuses what takes less than the version before."""

    name: Slug
    version: DocumentVersion | None = None
    schema: dict[str, Any]
    message_type: ShortText | None = None
    mode: SchemaMode = "enforce"
    require_compatible: bool = False


class Compatibility(msgspec.Struct):
    """Whether the version takes whatever the `previous` one took; `problems` names the places."""

    previous: int
    compatible: bool
    problems: list[ErrorDetail]


class Schema(msgspec.Struct, kw_only=True):
    """One version. `compatibility` is null for the first one, and in lists."""

    id: str
    tenant_id: str
    scope_id: str
    name: str
    version: int
    schema: dict[str, Any]
    message_type: str | None
    mode: SchemaMode
    compatibility: Compatibility | None
    created_by: str
    created_at: str


class Validate(msgspec.Struct, forbid_unknown_fields=True):
    """A body to try; any JSON value."""

    body: msgspec.Raw


class Validity(msgspec.Struct):
    """`details` names each field that does not fit, at most 100."""

    valid: bool
    details: list[ErrorDetail]


_create = msgspec.json.Decoder(CreateSchema)
_validate = msgspec.json.Decoder(Validate)


def _view(row: SchemaRow, compatibility: Compatibility | None = None) -> Schema:
    return Schema(
        id=row.id,
        tenant_id=row.tenant_id,
        scope_id=row.scope_id,
        name=row.name,
        version=row.version,
        schema=msgspec.json.decode(row.document),
        message_type=row.message_type or None,
        mode=row.mode,  # type: ignore[arg-type]
        compatibility=compatibility,
        created_by=row.created_by,
        created_at=moments.text(row.created_at),
    )


def _compared(before: SchemaRow | None, schema: dict[str, Any]) -> Compatibility | None:
    if before is None:
        return None
    problems = narrowings(msgspec.json.decode(before.document), schema)
    return Compatibility(before.version, not problems, [ErrorDetail(*problem) for problem in problems])


@schemas(
    "POST /scopes/{scope}/schemas",
    "Create a version of a schema",
    body=CreateSchema,
    answer=Schema,
    status=201,
    errors=(Code.SLUG_CONFLICT,),
)
async def create_schema(call: Call) -> Rendered:
    """A version never changes. The answer says whether it takes all that the version before took."""
    scope = await call.scope()
    asked = await call.body(_create)
    if too_deep(asked.schema):
        raise invalid(Detail("schema", TOO_DEEP))
    document = refuse_large(asked.schema, MAX_SCHEMA_BYTES, "schema")
    try:
        CompiledSchema(asked.schema)
    except SchemaError as error:
        raise invalid(Detail(f"schema.{error.field}".rstrip("."), str(error))) from None
    engine = call.services.engine
    version = asked.version or await next_version(documents.schemas, engine, scope.id, asked.name)
    before = await documents.schemas.newest(engine, scope.id, asked.name, below=version)
    compatibility = _compared(before, asked.schema)
    if asked.require_compatible and compatibility and not compatibility.compatible:
        details = [Detail(problem.field, problem.message) for problem in compatibility.problems]
        raise invalid(*details, message=f"Not compatible with version {compatibility.previous}.")
    row = SchemaRow(
        id=str(uuid7()),
        tenant_id=scope.row.tenant_id,
        scope_id=scope.id,
        name=asked.name,
        version=version,
        document=document,
        created_by=call.principal.key_id,
        created_at=moments.now_ms(),
        message_type=asked.message_type or "",
        mode=asked.mode,
    )
    try:
        await documents.schemas.create(engine, row)
    except VersionTaken:
        raise version_taken(row) from None
    await call.services.changed("scope", scope.id)
    return call.one(_view(row, compatibility), 201)


@schemas(
    "GET /scopes/{scope}/schemas",
    "List schemas in the order of their creation",
    answer=Schema,
    many=True,
    query=DocumentPage,
)
async def list_schemas(call: Call) -> Rendered:
    scope = await call.scope()
    page = call.query(DocumentPage)
    found = await documents.schemas.page(
        call.services.engine, scope.id, page.name, after(page.cursor), page.limit + 1
    )
    shown, more = cut(found, page.limit)
    return call.many([_view(row) for row in shown], cursor_for(shown[-1].id) if more else None)


@schemas("GET /scopes/{scope}/schemas/{schema}", "Get a schema", answer=Schema)
async def get_schema(call: Call) -> Rendered:
    scope = await call.scope()
    row = await call.services.schemas.fresh(scope.id, call.path("schema"))
    before = await documents.schemas.newest(call.services.engine, scope.id, row.name, below=row.version)
    return call.one(_view(row, _compared(before, msgspec.json.decode(row.document))))


@schemas(
    "DELETE /scopes/{scope}/schemas/{schema}",
    "Delete one version of a schema",
    answer=Schema,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def delete_schema(call: Call) -> Rendered:
    """Not while it is what a queue's setting means."""
    scope = await call.scope()
    services = call.services
    row = await services.schemas.fresh(scope.id, call.path("schema"))
    every = await queues.all_of(services.engine, scope.id)
    named = {queue.slug: queue.parsed.schema for queue in every}
    meant = {
        slug: await documents.schemas.find(services.engine, scope.id, name)
        for slug, name in named.items()
        if name
    }
    using = [slug for slug, found in meant.items() if found is not None and found.id == row.id]
    if using:
        details = tuple(Detail(slug, f"Its setting schema is {named[slug]}") for slug in using)
        raise QueueError(Code.SCAIQUEUE_INVALID_STATE, "Queues use this schema.", details=details)
    await documents.schemas.remove(services.engine, row.id)
    await services.changed("scope", scope.id)
    return call.one(_view(row))


@schemas(
    "POST /scopes/{scope}/schemas/{schema}/validate",
    "Try a body against a schema",
    body=Validate,
    answer=Validity,
)
async def validate_body(call: Call) -> Rendered:
    """Answers 200 whether it fits or not, and publishes nothing."""
    scope = await call.scope()
    row = await call.services.schemas.fresh(scope.id, call.path("schema"))
    asked = await call.body(_validate)
    wrong = call.services.schema_checks.compiled(row).faults(bytes(asked.body))
    return call.one(Validity(not wrong, [ErrorDetail(*detail) for detail in wrong]))
