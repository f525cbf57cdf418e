"""What is to be delivered for one webhook, within a window: of each message only the first may go."""

from __future__ import annotations

from collections.abc import Iterator

from scaiqueue.rows.webhook_deliveries import DeliveryRow
from scaiqueue.webhooks.collector import Item

WINDOW = 500
WINDOW_BYTES = 8 * 2**20


class Backlog:
    """Beyond its window events wait in their own rows."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[Item]] = {}
        self._known: set[str] = set()
        self._under_way: set[str] = set()
        self._bytes = 0

    @property
    def room(self) -> int:
        """For how many more; 0 until half of the window is free."""
        free = WINDOW - len(self._known)
        return free if free >= WINDOW // 2 and self._bytes < WINDOW_BYTES // 2 else 0

    def add(self, item: Item) -> None:
        """What is known already is passed over."""
        if item.row.id in self._known:
            return
        self._known.add(item.row.id)
        self._bytes += len(item.body or b"")
        lane = self._lanes.setdefault(item.row.lane, [])
        lane.append(item)
        # Nearly always it is in its place already; the first may be under way and stays first.
        if len(lane) > 1 and lane[-2].row.order > item.row.order:
            first = 1 if item.row.lane in self._under_way else 0
            lane[first:] = sorted(lane[first:], key=lambda one: one.row.order)

    def start(self, now: int, most: int) -> Iterator[Item]:
        """Deliveries that may be made now, at most `most`; each is under way from then on."""
        ready = [
            lane[0]
            for name, lane in self._lanes.items()
            if name not in self._under_way and lane[0].row.next_at <= now
        ]
        for item in ready[:most]:
            self._under_way.add(item.row.lane)
            yield item

    def next_due(self) -> int | None:
        """When the next one that is not under way may go, ms."""
        waiting = (lane[0].row.next_at for name, lane in self._lanes.items() if name not in self._under_way)
        return min(waiting, default=None)

    def over(self, row: DeliveryRow) -> None:
        """It was delivered, or given up."""
        self._under_way.discard(row.lane)
        lane = self._lanes[row.lane]
        item = lane.pop(0)
        self._known.discard(item.row.id)
        self._bytes -= len(item.body or b"")
        if not lane:
            del self._lanes[row.lane]

    def again(self, row: DeliveryRow) -> None:
        """It is to be tried once more, as the row says; those of the same message wait."""
        self._under_way.discard(row.lane)
        lane = self._lanes[row.lane]
        lane[0] = lane[0]._replace(row=row)
