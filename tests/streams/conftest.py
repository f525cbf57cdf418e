"""The API of tests/api."""

from tests.api.conftest import api, api_servers

__all__ = ["api", "api_servers"]
