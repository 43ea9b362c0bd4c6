"""Events for a person, as they come: output as itself, the rest as lines, progress as a bar if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from runsd_client.commands.event_text import approval_asked, describe, how_to_decide, log_stream, log_text
from runsd_client.commands.progress_bar import ProgressBar
from runsd_client.commands.terminal import Screen
from runsd_client.values import Event, WatchedEvent, rfc3339

_EVENT_STYLES = {
    "run.completed": "bold green",
    "run.failed": "bold red",
    "run.cancelled": "bold yellow",
    "run.retrying": "yellow",
    "run.interrupted": "yellow",
    "run.waiting": "magenta",
    "step.failed": "red",
    "approval.requested": "bold magenta",
    "schedule.health_changed": "bold yellow",
}
_NEVER_CUT = frozenset(
    {"run.completed", "run.failed", "run.retrying", "run.interrupted", "step.failed", "approval.requested"}
)
_STREAM_STYLES = {"stderr": "yellow", "system": "dim"}
_WIDTH_OF_ID = 3
_WIDTH_OF_POSITION = 5
# Enough to tell runs apart that are watched at the same time.
_END_OF_RUN_ID = 8
_LONGEST_LINE = 1000


class EventDisplay:
    """Output need not end with its line, so it is known what stands in the cursor's.

    On a terminal progress is a bar, with `bar`. It stands below the last line; while there is one,
    output comes in whole lines. With `followed`, the id of the run, an approval says how to decide it.
    """

    def __init__(self, screen: Screen, *, bar: bool = True, followed: str = "") -> None:
        self._screen = screen
        self._followed = followed
        self._wants_bar = bar and screen.is_terminal
        self._unfinished = ""
        self._held_back = ""
        self._bar: ProgressBar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, event: Event) -> None:
        if (text := log_text(event)) is not None:
            self._output(text, log_stream(event))
        elif event.event_type == "progress" and self._wants_bar:
            self._progress(event)
        else:
            if event.is_terminal:
                self.close()
            self._line(event)

    def close(self) -> None:
        """Takes the bar away and ends the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._end_line()

    def _output(self, text: str, stream: str) -> None:
        if self._bar is not None:
            text, newline, self._held_back = (self._held_back + text).rpartition("\n")
            text += newline
        if text:
            self._screen.text(text, _STREAM_STYLES.get(stream, ""))
            self._unfinished = (self._unfinished + text).rpartition("\n")[2][-_LONGEST_LINE:]

    def _progress(self, event: Event) -> None:
        if self._bar is None:
            self._make_room()
            self._bar = ProgressBar(self._screen)
        payload = event.payload if isinstance(event.payload, Mapping) else {}
        self._bar.update(payload.get("fraction"), payload.get("message"))

    def _make_room(self) -> None:
        """For the bar; a line that is not finished comes back as a whole one."""
        if self._unfinished and self._screen.take_back(self._unfinished):
            self._held_back, self._unfinished = self._unfinished, ""
        else:
            self._end_line()

    def _line(self, event: Event) -> None:
        self._end_line()
        number = str(event.event_id)
        self._screen.line(
            (number.rjust(_WIDTH_OF_ID) if self._screen.is_terminal else number, "dim"),
            (_time(self._screen, event.created_at), "dim"),
            (event.event_type, _style(event)),
            (describe(event), ""),
            (self._how_to_decide(event), "magenta"),
            cut=event.event_type not in _NEVER_CUT,
        )

    def _how_to_decide(self, event: Event) -> str:
        name = approval_asked(event) if self._followed else None
        return "" if name is None else f"-> {how_to_decide(self._followed, name)}"

    def _end_line(self) -> None:
        if self._held_back or self._unfinished:
            self._screen.text(f"{self._held_back}\n")
        self._held_back, self._unfinished = "", ""


def show_watched(screen: Screen, watched: WatchedEvent) -> None:
    """A line, or one for each line of output; on a terminal none is longer than that."""
    event = watched.event
    written = log_text(event)
    # The target is there already.
    texts = (
        [describe(event).removeprefix(f"{watched.target} ")]
        if written is None
        else written.removesuffix("\n").replace("\r\n", "\n").split("\n")
    )
    style = "" if written is None else _STREAM_STYLES.get(log_stream(event), "")
    position = str(watched.position)
    for text in texts:
        screen.line(
            (position.rjust(_WIDTH_OF_POSITION) if screen.is_terminal else position, "dim"),
            (_time(screen, event.created_at), "dim"),
            (_whose(screen, watched), "cyan"),
            (watched.target, ""),
            (event.event_type, _style(event)),
            (text, style),
            cut=True,
        )


def _whose(screen: Screen, watched: WatchedEvent) -> str:
    if watched.schedule_id:
        return watched.schedule_id
    return watched.run_id[-_END_OF_RUN_ID:] if screen.is_terminal else watched.run_id


def _style(event: Event) -> str:
    return _EVENT_STYLES.get(event.event_type, "bold")


def _time(screen: Screen, moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return f"{moment.astimezone():%H:%M:%S}" if screen.is_terminal else rfc3339(moment)
