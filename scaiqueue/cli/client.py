"""Calls a running ScaiQueue over HTTP, for the commands of an operator."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import msgspec

from scaiqueue.cli.output import CommandError
from scaiqueue.embedded.data_folder import with_embedded
from scaiqueue.settings import Settings, load_settings

BASE = "/v1/modules/scaiqueue"
_TIMEOUT_S = 60

# A proxy of the environment must not get between the commands and a server on this machine.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def local_url(settings: Settings) -> str:
    """Where a process on this machine reaches the API."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def is_ready(url: str) -> bool:
    """True when `/readyz` answers 200."""
    try:
        with _direct.open(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Client:
    """Reads address and key from the settings; the key of the data folder where none is set."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = with_embedded(settings or load_settings())
        self.url = local_url(settings)
        self.key = settings.api_key

    def get(self, path: str, **query: object) -> Any:
        """The whole answer. Query values that are None are left out. Raises CommandError."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", BASE + path + ("?" + urllib.parse.urlencode(given) if given else ""))

    def pages(self, path: str, limit: int, **query: object) -> list[Any]:
        """`data` of a list, followed through its cursor up to `limit` things."""
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < limit:
            answer = self.get(path, limit=min(500, limit - len(found)), cursor=cursor, **query)
            found += answer["data"]
            cursor = answer["meta"].get("next_cursor")
            if not cursor:
                break
        return found

    def post(self, path: str, body: object = None) -> Any:
        """The whole answer. Raises CommandError."""
        return self._call("POST", BASE + path, msgspec.json.encode({} if body is None else body))

    def readiness(self) -> Any:
        """The content of `/readyz`, whatever its status."""
        return self._call("GET", "/readyz", accept_unready=True)

    def _call(
        self, method: str, path: str, body: bytes | None = None, *, accept_unready: bool = False
    ) -> Any:
        request = urllib.request.Request(self.url + path, body, method=method)
        request.add_header("Authorization", f"Bearer {self.key}")
        request.add_header("Content-Type", "application/json")
        try:
            with _direct.open(request, timeout=_TIMEOUT_S) as answer:
                return _decode(answer.read())
        except urllib.error.HTTPError as error:
            content = _decode(error.read())
            if accept_unready and error.code == 503:
                return content
            raise CommandError(_explain(error.code, content)) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise CommandError(
                f"no answer from {self.url} ({reason}): start `scaiqueue dev`, "
                "or set SCAIQUEUE_HOST and SCAIQUEUE_PORT"
            ) from None


def _decode(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content) if content else None
    except msgspec.DecodeError:
        return content.decode(errors="replace")


def _explain(status: int, content: Any) -> str:
    if not isinstance(content, dict) or "error" not in content:
        return f"the server answered {status}: {content}"
    error = content["error"]
    lines = [f"{error['code']}: {error['message']}"]
    lines += [f"  {detail['field']}: {detail['message']}" for detail in error.get("details", [])]
    return "\n".join(lines)
