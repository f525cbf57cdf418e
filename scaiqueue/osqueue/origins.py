"""Which web pages may call: browsers say where a page comes from, and other programs don't."""

from __future__ import annotations

from urllib.parse import urlsplit

_LOCAL = ("localhost", "127.0.0.1", "::1")
_METHODS = "GET, POST, OPTIONS"
_HEADERS = "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms"


class Origins:
    """Pages of this machine and of the origins named; `*` names all.

    Where a caller needs no key, a page that anybody wrote must not reach the queue through the browser of
    somebody who can.
    """

    def __init__(self, named: str) -> None:
        self._named = frozenset(named.split())

    def allow(self, origin: str) -> bool:
        if "*" in self._named or origin in self._named:
            return True
        try:
            return urlsplit(origin).hostname in _LOCAL
        except ValueError:
            return False

    @staticmethod
    def headers(origin: str) -> dict[str, str]:
        """Of every answer to a page that may call."""
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    @staticmethod
    def preflight(origin: str) -> dict[str, str]:
        return {
            **Origins.headers(origin),
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": "7200",
        }
