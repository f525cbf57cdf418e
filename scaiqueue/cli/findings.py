"""What a check of `scaiqueue doctor` answers."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """`remedy` is "" where all is well; `warning` findings don't fail the whole."""

    check: str
    state: Literal["ok", "warning", "bad"]
    found: str
    remedy: str = ""
