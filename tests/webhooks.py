"""The webhook payloads for tests; the demo uses the same loader."""

from loadtest.webhooks import Webhook, generated_webhooks, load_webhooks

__all__ = ["Webhook", "generated_webhooks", "load_webhooks", "make_webhooks"]


def make_webhooks() -> list[Webhook]:
    """All real payloads, or the generated set where the file isn't there."""
    return load_webhooks()
