"""The signature by which a receiver knows that a call is ours, and new."""

from __future__ import annotations

import hmac
from secrets import token_urlsafe

SIGNATURE = "X-ScaiGrid-Signature"
TIMESTAMP = "X-ScaiGrid-Timestamp"
SECRET_PREFIX = "whsec_"


def new_secret() -> str:
    return SECRET_PREFIX + token_urlsafe(32)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over the timestamp's digits with the body right behind them, which begins with `{`."""
    return "sha256=" + hmac.digest(secret.encode(), timestamp.encode() + body, "sha256").hex()
