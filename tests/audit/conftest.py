from __future__ import annotations

from tests.api.conftest import api, api_servers

__all__ = ["api", "api_servers"]
