"""The reference pages that are made from the code: `python -m tests.reference.pages` writes them."""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from scaiqueue.access import metrics as access_metrics
from scaiqueue.audit import metrics as audit_metrics
from scaiqueue.client.metrics import Metrics as JobMetrics
from scaiqueue.erasure import metrics as erasure_metrics
from scaiqueue.errors import Code
from scaiqueue.events import metrics as event_metrics
from scaiqueue.fallback import metrics as fallback_metrics
from scaiqueue.integrity.kinds import Kind
from scaiqueue.osqueue import metrics as osqueue_metrics
from scaiqueue.persister import metrics as persister_metrics
from scaiqueue.queueing import metrics as api_metrics
from scaiqueue.recovery import progress as recovery_metrics
from scaiqueue.settings import FIELDS, PREFIX, Settings, allowed
from scaiqueue.streams import metrics as stream_metrics
from scaiqueue.webhooks import metrics as webhook_metrics
from scaiqueue_agents import metrics as agent_metrics
from tests.reference import protocol
from tests.reference.http import http_page

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

PURPOSES = {
    "redis_url": "the queue's Redis or Valkey; unset: `scaiqueue dev` brings its own",
    "database_url": "the rows, `mysql+asyncmy://…` or `sqlite+aiosqlite:///…`; unset: SQLite in the data folder",
    "saq_redis_url": "Redis of the agents' queue, never a cluster; unset: `redis_url`",
    "host": "address that the API listens on",
    "port": "port that the API listens on",
    "data_dir": "folder of what `scaiqueue dev` keeps",
    "api_key": "first key, with all permissions for the tenant `default`; `scaiqueue dev` makes one if unset",
    "shards": "shards of the index; fixed at installation, another number refuses to start",
    "reserved_shards": "so many, the last ones, hold only scopes that were created with their number",
    "durability": "of scopes that name none",
    "log_format": "of all processes",
    "log_level": "least level that is logged",
    "max_body_bytes": "largest body of a message",
    "max_batch_items": "most items of a batch call",
    "max_batch_bytes": "largest request of a batch call; not below `max_body_bytes`",
    "visibility_timeout_s": "lease of queues that name none",
    "max_wait_s": "longest `wait_s` of a claim",
    "idempotency_window_s": "how long a key is remembered, of queues that name none",
    "backlog_limit": "messages of a shard that may wait for their rows; then publish answers `BACKLOG_FULL`",
    "commit_timeout_s": "longest wait for a row's commit; then `SCAIQUEUE_UNAVAILABLE`",
    "redis_timeout_ms": "longest wait for a connection of Redis, and for an answer; a call that takes longer has failed",
    "database_timeout_s": "longest wait for an answer of the row store; more than its lock wait of 10 s",
    "redis_silence_ms": "how long Redis may say nothing before it is doubted; 2 s later the rows take over; 0: never",
    "routing_max_hops": "how often rules may send one message on; then the dead letter, `ROUTING_LOOP`",
    "routing_max_matches": "how often one rule may act in 10 s before its breaker opens",
    "rate_limit": "calls a minute of keys that have no limit of their own; 0: any number",
    "archive_after_s": "age at which terminal rows move to the archive",
    "event_retention_s": "how long events are kept; 0: for ever",
    "audit_retention_s": "how long the audit is kept; 0: for ever",
    "audit_buffer_bytes": "of calls that wait for the row store to take the audit; then calls answer `SCAIQUEUE_UNAVAILABLE`",
    "stream_max_chunks": "most chunks of a stream",
    "stream_max_chunk_bytes": "largest chunk of a stream; all of them together are at most `max_body_bytes`",
    "stream_idle_timeout_s": "after so long without a chunk a stream is aborted, if it names no time itself",
    "stream_retention_s": "how long a stream is kept after its end; at least 5 minutes",
    "worker_metrics_port": "port of a worker's or persister's metrics; 0: none",
    "persist": "whether an API process writes rows; if none does, `scaiqueue persister` must run",
    "osqueue_port": "port for osqueue's clients; 0: `scaiqueue dev` does not serve them",
    "osqueue_scope": "slug of the scope that osqueue's jobs are in",
    "osqueue_key": "API key that osqueue's clients act with when they bring none; unset: each must bring one",
    "osqueue_origins": "origins of web pages that may call the osqueue port, with blanks between, or `*`; pages of this machine always may",
    "webhook_private_networks": "private networks that webhooks may go to all the same, with commas between",
    "webhook_retry_base_ms": "about how long a webhook's first retry waits; each further one four times as long",
    "webhook_disable_after_s": "how long every attempt of a webhook must have failed before it is switched off",
}
# Measured by the framework, under our prefix.
HTTP_METRICS = """\
| `scaiqueue_http_requests_total` | counter | `method` `path` `status_code` `app_name` | Requests; `path` is the template |
| `scaiqueue_http_requests_in_progress` | gauge | the same | Requests under way |
| `scaiqueue_http_request_duration_seconds` | histogram | the same | Duration of requests |
"""


def errors_page() -> str:
    """Every code, from the registry."""
    rows = [
        f"| `{code.name}` | {code.status} | {'yes' if code.retryable else 'no'} | {code.value.advice} |\n"
        for code in sorted(Code, key=lambda code: (code.status, code.name))
    ]
    return (
        "# Errors\n\nGenerated from the registry of codes. Clients branch on `code`; `retryable` says whether the "
        "same call may succeed later, `retry_after` (also the header `Retry-After`) when to try. With `Accept: "
        "application/problem+json` the same content comes as RFC 9457 problem details.\n\n"
        "| code | status | retry helps | what to do |\n|---|---|---|---|\n" + "".join(rows)
    )


def settings_page() -> str:
    """Every setting with its default and what is allowed."""
    rows = []
    for field in msgspec.structs.fields(Settings):
        default = f"`{field.default}`" if field.default != "" else "unset"
        name = f"`{PREFIX}{field.name.upper()}`"
        rows.append(f"| {name} | {default} | {allowed(FIELDS[field.name])} | {PURPOSES[field.name]} |\n")
    return (
        "# Settings\n\nGenerated from the code. Defaults, then `scaiqueue.toml` (the same names without the prefix, in "
        "small letters), then the environment, then options of the command. What makes no sense is refused at the "
        "start, with what would. Sizes in bytes, times in seconds, but for names that end with `_ms`.\n\n"
        "| setting | default | allowed | is |\n|---|---|---|---|\n" + "".join(rows)
    )


def metrics_page() -> str:
    """What `/metrics` of the API and the worker's port show."""
    head = "| metric | type | labels | is |\n|---|---|---|---|\n"
    others = (persister_metrics, recovery_metrics, fallback_metrics, audit_metrics, erasure_metrics)
    modules = (api_metrics, access_metrics, stream_metrics, event_metrics, *others)
    api = head + "".join(_metrics(modules)) + HTTP_METRICS
    return (
        "# Metrics\n\nGenerated from the code, for Prometheus. No label grows with queues or messages; beyond 1,000 "
        f"scopes the rest share one label value.\n\n## `/metrics` of the API\n\n{api}\n"
        "## `/metrics` of the osqueue port\n\nThe API's own, but for `scaiqueue_http_…`, and\n\n"
        f"{head}{''.join(_metrics((osqueue_metrics,)))}\n"
        f"## The worker, on `SCAIQUEUE_WORKER_METRICS_PORT`\n\n{head}{''.join(_metrics((agent_metrics, webhook_metrics)))}\n"
        "## A worker of jobs, on `scaiqueue run --metrics-port`\n\n"
        f"{head}{''.join(_metrics((JobMetrics(CollectorRegistry()),)))}"
    )


def _metrics(holders: Iterable[object]) -> Iterable[str]:
    """Of modules, or of an object that has them."""
    for holder in holders:
        for metric in vars(holder).values():
            if isinstance(metric, MetricWrapperBase):
                (family,) = metric.describe()
                name = family.name + ("_total" if family.type == "counter" else "")
                labels = " ".join(f"`{label}`" for label in metric._labelnames)
                yield f"| `{name}` | {family.type} | {labels} | {family.documentation.rstrip('.')} |\n"


def divergences_page() -> str:
    """Every class of divergence, from the checker's list."""
    rows = [f"| `{kind.name}` | {kind.value.means} | {'yes' if kind.repaired else 'no'} |\n" for kind in Kind]
    return (
        "# Divergences\n\nGenerated from the code. The agent `consistency_checker` compares index and rows every five "
        "minutes, a bounded piece a run; `scaiqueue doctor --deep` compares all of it at once and changes nothing. What "
        "is merely under way between index and rows is not reported: a divergence is what a second look finds "
        "unchanged, where the rows are at least as far as what they are compared with.\n\n"
        "What the agent finds can be read in a scope's queue `_integrity`, what it put right in `_corrections`; "
        "`scaiqueue_divergences_total` counts it. Messages are put right by the script `repair`, in one step with an "
        "entry `repaired` in their history, after which their row is written again. The others need a recovery or a "
        "person: `index_behind`, `epoch_differs`, `position_beyond` and `journal_gap` say that a server lost "
        "or got back something that it should not have; an API process recovers such a shard by itself when it takes "
        "it up, so restart one. `unreadable` and `part_missing` say that content was damaged: the row has a copy. "
        "`queue_unknown` heals with the next call that names the queue. `position_stuck` means that no persister gets "
        "on: look at its log and at the row store.\n\n"
        "| kind | is | put right |\n|---|---|---|\n" + "".join(rows)
    )


PAGES = {
    "divergences.md": divergences_page,
    "errors.md": errors_page,
    "http.md": http_page,
    "settings.md": settings_page,
    "metrics.md": metrics_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
    protocol.PAGE.write_text(protocol.protocol_page())
