"""Examples for the documentation: what a first call may look like."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, Any] = {
    "CreateScope": {"slug": "orders", "display_name": "Orders"},
    "ChangeScope": {"display_name": "Orders of the shop"},
    "CreateQueue": {
        "slug": "tasks",
        "display_name": "Tasks",
        "consumer_mode": "competing",
        "ordering": "priority",
        "max_depth": 100000,
        "backoff": {"strategy": "exponential", "base_s": 1, "factor": 2, "max_s": 300, "jitter": "full"},
    },
    "ChangeQueue": {"max_depth": 0, "visibility_timeout_s": 60},
    "Publish": {
        "type": "task.run",
        "body": {"order_id": "ord_12345"},
        "priority": {"tier": "normal", "score": 500},
        "labels": {"region": "eu"},
        "idempotency_key": "ord_12345",
    },
    "PublishBatch": {"messages": [{"type": "task.run", "body": 1}, {"type": "task.run", "body": 2}]},
    "Claim": {"batch_size": 10, "visibility_timeout_s": 60, "wait_s": 20, "consumer_id": "worker-1"},
    "ClaimMany": {"queues": ["urgent", "tasks"], "strategy": "ordered", "batch_size": 10},
    "Complete": {"claim_token": "1.42", "response": {"shipped": True}},
    "Fail": {"claim_token": "1.42", "reason": "the shop is closed", "retry_after_s": 60},
    "Release": {"claim_token": "1.42"},
    "Extend": {"claim_token": "1.42", "visibility_timeout_s": 60},
    "CompleteBatch": {
        "items": [{"id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11", "claim_token": "1.42"}],
        "claim": {"queue": "tasks", "batch_size": 10},
    },
    "FailBatch": {
        "items": [{"id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11", "claim_token": "1.42", "reason": "closed"}]
    },
    "ReleaseBatch": {"items": [{"id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11", "claim_token": "1.42"}]},
    "ExtendBatch": {"items": [{"id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11", "claim_token": "1.42"}]},
    "CreateSubscription": {
        "name": "mailer",
        "filter": {"types": ["order.created"], "labels": {"region": "eu"}},
        "start": "earliest",
        "dedup_window_s": 3600,
    },
    "ChangeSubscription": {"filter": {"when": {"field": "body.total", "op": "gte", "value": 100}}},
    "Redrive": {"filter": {"type": "task.run"}, "rate": 100, "dry_run": True},
    "CreateSchema": {
        "name": "order",
        "schema": {
            "type": "object",
            "required": ["order_id"],
            "properties": {"order_id": {"type": "string"}},
        },
        "mode": "enforce",
    },
    "Validate": {"body": {"order_id": "ord_12345"}},
    "CreatePattern": {
        "name": "refund",
        "spec": {
            "sections": [
                {"type": "context", "title": "Refund for {{customer}}", "content": "{{order}}"},
                {"type": "input", "field": "comment", "kind": "textarea"},
                {"type": "decision", "field": "refund", "options": ["approve", "reject"]},
            ],
            "timeout_s": 3600,
            "on_timeout": "escalate",
        },
    },
    "Expand": {"parameters": {"customer": "Ada", "order": {"order_id": "ord_12345"}}},
    "Decide": {"decision": "approve", "fields": {"comment": "as agreed"}, "reviewer": "ada@example.org"},
    "CreateRule": {
        "name": "premium-first",
        "queue": "new-orders",
        "trigger": "message_published",
        "when": {"field": "labels.customer_tier", "op": "eq", "value": "premium"},
        "then": {"route": {"queue": "priority-orders", "mode": "move"}},
    },
    "ChangeRule": {"position": 1, "then": {"escalate": {"priority": {"tier": "high", "score": 500}}}},
    "Evaluate": {
        "trigger": "message_published",
        "queue": "new-orders",
        "message": {"type": "order.created", "labels": {"customer_tier": "premium"}},
    },
    "Erase": {"subject": {"source_id": "customer-42"}, "scope": "orders", "dry_run": True},
    "OpenStream": {"queue": "tasks", "type": "answer", "idle_timeout_s": 60},
    "Append": {"seq": 0, "data": "Once upon a time", "final": False},
    "Abort": {"reason": "the model is gone"},
    "CreateGrant": {
        "principal": {"type": "api_key", "id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11"},
        "permissions": ["scaiqueue:consume"],
        "expires_at": "2100-01-31T12:00:00Z",
    },
    "PutAcl": {
        "allow": [],
        "deny": [{"principal": {"type": "everyone"}, "permissions": ["scaiqueue:publish"]}],
    },
    "CreateTrust": {"from": "shop", "allow": ["parcels"], "filter": {"types": ["order.paid"]}},
    "CreateKey": {
        "name": "shop",
        "permissions": ["scaiqueue:publish"],
        "scopes": ["orders"],
        "rate_limit": 600,
    },
    "CreateWebhook": {
        "url": "https://example.com/scaiqueue",
        "events": ["scaiqueue.message.completed", "hitl.*"],
        "max_retries": 5,
    },
    "ChangeWebhook": {"enabled": True},
    "Rotate": {"overlap_s": 3600},
}
