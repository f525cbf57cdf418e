"""The API of tests/api, and a Redis of a test's own."""

from tests.api.conftest import api, api_servers
from tests.fallback.conftest import own_redis

__all__ = ["api", "api_servers", "own_redis"]
