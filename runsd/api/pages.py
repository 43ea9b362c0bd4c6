"""Pages as messages: of events, made once for all who follow the same run at the same pace; of records."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from runsd_client.proto import run_pb2, runs_pb2

from runsd.api.conversion import event_message, record_message
from runsd.model.events import Event
from runsd.model.record import Record

KEPT = 16
# Of records: one may have nearly the 4 MiB that gRPC clients take unless told otherwise, and then goes alone.
RECORDS_BYTES = 1 << 20


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


def record_pages(records: Iterable[Record]) -> Iterator[list[run_pb2.Run]]:
    page: list[run_pb2.Run] = []
    size = 0
    for message in map(record_message, records):
        size += message.ByteSize()
        if page and size > RECORDS_BYTES:
            yield page
            page, size = [], message.ByteSize()
        page.append(message)
    if page:
        yield page
