"""Pages of events as messages, made once for all who follow the same run at the same pace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from runsd_client.proto import runs_pb2

from runsd.api.conversion import event_message
from runsd.model.events import Event

KEPT = 16


class PageMessages:
    """Keeps the latest few. Events never change, so a run and a range of ids say all about a page."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], runs_pb2.EventsResponse] = OrderedDict()

    def message(self, run_id: str, events: Sequence[Event]) -> runs_pb2.EventsResponse:
        key = (run_id, events[0].event_id, events[-1].event_id)
        message = self._kept.get(key)
        if message is None:
            message = runs_pb2.EventsResponse(data=map(event_message, events))
            self._kept[key] = message
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return message
