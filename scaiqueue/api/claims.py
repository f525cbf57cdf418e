"""What consumers send to claim."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scaiqueue.api.words import ConsumerId, ShortText, VisibilitySeconds

BatchSize = Annotated[int, Meta(ge=1, le=1000, examples=[10])]
WaitSeconds = Annotated[
    float, Meta(ge=0, description="Wait so long for the first message; the setting max_wait_s bounds it.")
]
ClaimId = Annotated[
    ShortText, Meta(description="The same id within the lease answers the same leases again.")
]


class Claim(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`visibility_timeout_s` is the length of the leases; absent, the queue's."""

    batch_size: BatchSize = 1
    visibility_timeout_s: VisibilitySeconds | None = None
    wait_s: WaitSeconds = 0
    claim_id: ClaimId | None = None
    consumer_id: ConsumerId | None = None


class ClaimMany(Claim, forbid_unknown_fields=True, kw_only=True):
    """`ordered` empties the queues in the order given, `oldest` goes by publish order, `fair` by turns."""

    queues: Annotated[list[ShortText], Meta(min_length=1, max_length=64)]
    strategy: Literal["ordered", "oldest", "fair"] = "ordered"
