"""Messages as JSON text, spliced from stored bytes: what many share is encoded once, and kept.

A template is the read model itself, encoded with a byte in its open places that no JSON text contains.
Messages that have something special are encoded one by one, from the same model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from scaiqueue import moments
from scaiqueue.queueing.claim import Lease
from scaiqueue.queueing.header import DEFAULT_RANK, is_json_header, read_header
from scaiqueue.queueing.message import (
    NO_OUTCOME,
    ClaimedMessage,
    Message,
    Place,
    claimant,
    fields_of,
    is_json,
)
from scaiqueue.queueing.publish import Draft, Published
from scaiqueue.records import Record, State, decode_outcome, decode_record, split_envelope
from scaiqueue.scripts.binding import PublishOptions

MAX_TEMPLATES = 4096
# Longer headers are hardly ever the same, and would fill the memory.
MAX_KEPT_HEADER = 1024

_OPEN = b"\0"
_open, _open_text = Raw(b"\0"), Raw(b'"\0"')
_encode = msgspec.json.Encoder().encode
_PENDING = State.pending.name
# Of a record: flags for overlay, outcome, limits, origin and a shared envelope, which the plain template has
# no place for.
_SPECIAL = 1 | 2 | 32 | 64 | 128

# A key of its own is all that differs in the headers of many messages.
_KEY_NAME, _KEY = b"idempotency_key", b'"idempotency_key":"'

Template = tuple[bytes, ...]
_Key = tuple[object, ...]
_kept: dict[_Key, Template | None] = {}


def _keep(key: _Key, header: bytes, template: Template | None) -> Template | None:
    if len(header) <= MAX_KEPT_HEADER:
        if len(_kept) >= MAX_TEMPLATES:
            _kept.clear()
        _kept[key] = template
    return template


def _make(
    place: Place, record: Record, header: bytes, effective_rank: int | None, own_key: bytes = b""
) -> Template | None:
    """Open in published messages: id, body, created at, updated at; in claimed ones: id, body, the message's
    own idempotency key if it has one, attempts, claimed by, created at, updated at, visible at, token, lease
    end. None where the content isn't JSON, or the key is something else."""
    read = read_header(header)
    if not is_json_header(read) or (own_key and read.idempotency_key != own_key.decode(errors="replace")):
        return None
    fields = fields_of(place, "", record, read, b"null", NO_OUTCOME, effective_rank)
    fields |= {"id": _open_text, "body": _open, "created_at": _open_text, "updated_at": _open_text}
    if record.state == State.claimed:
        fields |= {"attempts": _open, "claimed_by": _open, "visible_at": _open_text}
        fields |= {"claim_token": _open_text, "lease_expires_at": _open_text}
    if own_key:
        fields["idempotency_key"] = _open_text
    return tuple(_encode(fields).split(_OPEN))


def _record(
    slug: str, state: State, rank: int, created_at: int = 0, due_at: int = 0, deadline: int = 0
) -> Record:
    """Of a message that has just been published, or of which only this is asked."""
    return Record(
        queue=slug, state=state, attempts=0, seq=0, rank=rank, deadline=deadline, expires_at=0, size=0,
        token="", holder="", verb="", touched_epoch=0, touched_n=0, max_retries=-1, created_at=created_at,
        flags=0, due_at=due_at, updated_at=created_at,
    )  # fmt: skip


def published_json(place: Place, draft: Draft, published: Published, *, by_rank: bool) -> bytes:
    """From what was just sent: nothing is read back. `by_rank`: the queue orders by priority."""
    if draft.options is not None or published.state != _PENDING:
        return _published_message(place, draft, published, by_rank)
    slug, header = draft.queue.slug, draft.header
    key = (place.queue_id, header, by_rank)
    if key in _kept:
        template = _kept[key]
    else:
        record = _record(slug, State.pending, DEFAULT_RANK)
        template = _keep(key, header, _make(place, record, header, DEFAULT_RANK if by_rank else None))
    if template is None:
        return _published_message(place, draft, published, by_rank)
    before, after_id, after_body, between, after = template
    at = _at(published.created_at)
    return b"".join((before, published.id.encode(), after_id, draft.body, after_body, at, between, at, after))


def _published_message(place: Place, draft: Draft, published: Published, by_rank: bool) -> bytes:
    options, state = draft.options or PublishOptions(), State[published.state]
    rank = DEFAULT_RANK if options.rank is None else options.rank
    waits = {State.scheduled: options.delay_ms, State.awaiting_review: options.review_ms}.get(state)
    due_at = published.created_at + waits if waits else 0
    record = _record(draft.queue.slug, state, rank, published.created_at, due_at, options.deadline or 0)
    effective_rank = rank if by_rank and state is State.pending else None
    header = read_header(draft.header)
    return _encode(
        Message(**fields_of(place, published.id, record, header, draft.body, NO_OUTCOME, effective_rank))
    )


def claimed_json(places: Mapping[str, Place], leases: Iterable[Lease]) -> bytes:
    """The list of what a claim was given. `places` by queue."""
    parts: list[bytes] = []
    for lease in leases:
        _splice(places, lease, parts)
    if parts:
        parts[0] = parts[0][1:]
    return b"[%b]" % b"".join(parts)


def _splice(places: Mapping[str, Place], lease: Lease, parts: list[bytes]) -> None:
    """Each message with a comma before it."""
    shapes: dict[bytes, Template | None] = {}
    messages = iter(lease.messages)
    for message_id, raw, envelope in zip(messages, messages, messages, strict=True):
        header, _, body = envelope.partition(b"\n")
        shared, own_key = header, b""
        if _KEY in header:
            shared, own_key = _cut(header)
        # Lease end, update, attempts and flags; rank; queue, limits, origin and holder; the header.
        shape = b"".join((raw[20:35], raw[41:43], raw[54:], shared))
        if shape in shapes:
            filled = shapes[shape]
        else:
            filled = shapes[shape] = _fill(places, raw, header, shared, own_key, lease.token)
        if filled is None or not is_json(body):
            parts += (b",", _encode(_claimed_message(places, lease, message_id, raw, envelope)))
            continue
        before, after_id, after_body, after_key, after = filled
        if own_key:
            body = b"".join((body, after_body, own_key))
        parts += (before, message_id, after_id, body, after_key, _at_bytes(raw[48:54]), after)


def _cut(header: bytes) -> tuple[bytes, bytes]:
    """A header without its idempotency key, and that key: together they are the header again. Where the text
    could be read in two ways nothing is cut."""
    before, _, rest = header.partition(_KEY)
    own_key, _, after = rest.partition(b'"')
    if not own_key or b"\\" in header or header.count(_KEY_NAME) > 1:
        return header, b""
    return b"%b\0%b" % (before, after), own_key


def _fill(
    places: Mapping[str, Place], raw: bytes, header: bytes, shared: bytes, own_key: bytes, token: bytes
) -> Template | None:
    """The template of a claimed message, open only for id, body, its own key and time of creation."""
    if raw[34] & _SPECIAL:
        return None
    upto = 55 + raw[54]
    slug = raw[55:upto].decode()
    place = places[slug]
    key = (place.queue_id, shared, raw[41:43])
    if key in _kept:
        template = _kept[key]
    else:
        record = _record(slug, State.claimed, int.from_bytes(raw[41:43]))
        template = _keep(key, header, _make(place, record, header, None, own_key))
    if template is None:
        return None
    before, after_id, *middle, after_attempts, after_holder, after_created = template[:-4]
    after_updated, after_visible, after_token, after = template[-4:]
    lease_end, updated_at = _at_bytes(raw[20:26]), _at_bytes(raw[26:32])
    to_creation = b"%b%d%b%b%b" % (
        middle[-1], int.from_bytes(raw[32:34]), after_attempts, _holder_json(raw[upto:]), after_holder,
    )  # fmt: skip
    after_body = middle[0] if own_key else b""
    to_the_end = (
        after_created, updated_at, after_updated, lease_end, after_visible, token, after_token, lease_end,
        after,
    )  # fmt: skip
    return b"," + before, after_id, after_body, to_creation, b"".join(to_the_end)


@lru_cache(4096)
def _at(ms: int) -> bytes:
    return moments.text(ms).encode()


@lru_cache(4096)
def _at_bytes(ms: bytes) -> bytes:
    """Of six bytes of a record."""
    return moments.text(int.from_bytes(ms)).encode()


@lru_cache(4096)
def _holder_json(holder: bytes) -> bytes:
    return _encode(claimant(holder.decode()))


def _claimed_message(
    places: Mapping[str, Place], lease: Lease, message_id: bytes, raw: bytes, envelope: bytes
) -> ClaimedMessage:
    header, body = split_envelope(envelope)
    record = decode_record(raw)
    overlay, outcome = lease.extras.get(message_id, (b"", b""))
    fields: dict[str, Any] = fields_of(
        places[record.queue],
        message_id.decode(),
        record,
        read_header(header, overlay),
        body,
        decode_outcome(outcome),
    )
    return ClaimedMessage(
        **fields, claim_token=lease.token.decode(), lease_expires_at=moments.text(record.due_at)
    )
