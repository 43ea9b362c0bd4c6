"""How far a stream has come, so that it goes on from there when its connection is lost.

A cursor says what to ask for next and takes what comes; it never lets an item pass twice and never
misses one, however often the stream breaks. No I/O: the clients open the streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from runsd_client import calls, requests
from runsd_client.calls import Call
from runsd_client.conversion import read_event, read_watched_event
from runsd_client.errors import RunsError
from runsd_client.proto import runs_pb2
from runsd_client.values import Event, Page, WatchedEvent

Answer = TypeVar("Answer", contravariant=True)
Item = TypeVar("Item")


class Cursor(Protocol[Answer, Item]):
    """`finished` is true when no more items come."""

    method: str
    finished: bool

    def first_call(self) -> Call[Sequence[Item]] | None:
        """A call to make before the stream, where the stream itself may be silent for long."""

    def request(self) -> Message:
        """What to ask for to go on."""

    def accept(self, answer: Answer) -> Sequence[Item]:
        """The items of an answer that are new."""

    def stream_ended(self) -> Call[Sequence[Item]] | None:
        """Told that the daemon ended the stream with OK; may want a call to know whether it is the end."""


class EventCursor:
    """A run's events. With `follow` they end with the terminal event, else with the last there is."""

    method = "Events"

    def __init__(self, run_id: str, after_event_id: int, follow: bool) -> None:
        self.finished = False
        self._run_id = run_id
        self._after = after_event_id
        self._follow = follow

    def first_call(self) -> Call[Sequence[Event]] | None:
        """Tells whether there is a daemon and a run, however long the next event takes to come."""
        return self._next_page() if self._follow else None

    def request(self) -> runs_pb2.EventsRequest:
        values = {"run_id": self._run_id, "after_event_id": self._after, "follow": self._follow}
        return requests.fill(runs_pb2.EventsRequest(), values)

    def accept(self, answer: runs_pb2.EventsResponse) -> Sequence[Event]:
        return self._advance([read_event(message) for message in answer.data if message.event_id > self._after])

    def stream_ended(self) -> Call[Sequence[Event]] | None:
        """A stopping daemon may end the stream early, and nothing may come after a cursor at the end."""
        if not self._follow:
            self.finished = True
        return None if self.finished else self._next_page()

    def _next_page(self) -> Call[Sequence[Event]]:
        page = calls.events(self._run_id, self._after, limit=0)
        return Call(page.method, page.request, lambda answer: self._accept_page(page.read(answer)))

    def _accept_page(self, page: Page[Event]) -> Sequence[Event]:
        fresh = self._advance([event for event in page.data if event.event_id > self._after])
        self.finished = self.finished or not page.page_info.next
        return fresh

    def _advance(self, events: Sequence[Event]) -> Sequence[Event]:
        for event in events:
            if event.event_id != self._after + 1:
                raise RunsError(
                    f"run {self._run_id}: event {event.event_id} came after {self._after}; some are missing",
                    code="DATA_LOSS",
                    reason="EVENTS_MISSING",
                )
            self._after = event.event_id
            self.finished = self.finished or event.is_terminal
        return events


class WatchCursor:
    """The events of a project, for ever."""

    method = "WatchEvents"

    def __init__(
        self,
        project: str,
        after_position: int | None,
        event_types: Sequence[str] = (),
        targets: Sequence[str] = (),
    ) -> None:
        self.finished = False
        self._after = after_position
        self._asked = {"project": project, "event_types": list(event_types), "targets": list(targets)}

    def first_call(self) -> None:
        return None

    def request(self) -> runs_pb2.WatchEventsRequest:
        return requests.fill(runs_pb2.WatchEventsRequest(), {**self._asked, "after_position": self._after})

    def accept(self, answer: runs_pb2.WatchEventsResponse) -> Sequence[WatchedEvent]:
        seen = -1 if self._after is None else self._after
        fresh = [read_watched_event(message) for message in answer.data if message.position > seen]
        self._after = max([seen, answer.position, *(event.position for event in fresh)])
        return fresh

    def stream_ended(self) -> None:
        return None


class ArtifactCursor:
    """The bytes of an artifact."""

    method = "ReadArtifact"

    def __init__(self, run_id: str, name: str) -> None:
        self.finished = False
        self._run_id = run_id
        self._name = name
        self._offset = 0

    def first_call(self) -> None:
        return None

    def request(self) -> runs_pb2.ReadArtifactRequest:
        values = {"run_id": self._run_id, "name": self._name, "offset": self._offset}
        return requests.fill(runs_pb2.ReadArtifactRequest(), values)

    def accept(self, answer: runs_pb2.ReadArtifactResponse) -> Sequence[bytes]:
        self._offset += len(answer.data)
        return [answer.data] if answer.data else []

    def stream_ended(self) -> None:
        self.finished = True
