"""What a stream's message will be made of, as it is kept with the stream."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

import msgspec

from scaiqueue.queueing.header import is_json_type

TEXT_TYPE = "text/plain; charset=utf-8"
Encoding = Literal["text", "base64"]


class Template(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`message` is what a publish says of it besides its body and its content type."""

    content_type: str = TEXT_TYPE
    committed: bool = True
    message: dict[str, Any] = {}

    @property
    def encoding(self) -> Encoding:
        """How chunks travel: as text where the content is text, else as base64."""
        essence = self.content_type.partition(";")[0].strip().lower()
        return "text" if essence.startswith("text/") or is_json_type(self.content_type) else "base64"


encode_template = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Template).decode


def read_template(text: str) -> Template:
    """What can't be read, since anyone may write one, counts as absent."""
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return Template(content_type="application/octet-stream")


def shown(template: Template, data: bytes) -> tuple[Encoding, str]:
    """Content as it travels in JSON: as text where it is meant as text and is, else as base64."""
    if template.encoding == "text":
        try:
            return "text", data.decode()
        except UnicodeDecodeError:
            pass
    return "base64", b64encode(data).decode()
