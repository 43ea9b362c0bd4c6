"""Events for a person, as they come: output as itself, progress as a bar, the rest as lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from runsd_client.commands.terminal import Screen, on_one_line
from runsd_client.documents import display_json
from runsd_client.values import Event, WatchedEvent, rfc3339

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVENT_STYLES = {
    "run.completed": "bold green",
    "run.failed": "bold red",
    "run.cancelled": "bold yellow",
    "run.retrying": "yellow",
    "run.interrupted": "yellow",
}
_LEAST_OF_A_PAYLOAD = 40
_STREAM_STYLES = {"stderr": "yellow", "system": "dim"}


class EventDisplay:
    """Output need not end with its line, so it is known where the cursor is.

    A bar stands below the last line; while there is one, output comes in whole lines.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._in_line = False
        self._held_back = ""
        self._bar: ProgressBar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, event: Event) -> None:
        payload = event.payload if isinstance(event.payload, Mapping) else {}
        if event.event_type == "log" and isinstance(payload.get("text"), str):
            self._output(payload["text"], str(payload.get("stream")))
        elif event.event_type == "progress" and self._screen.is_terminal:
            self._progress(payload)
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
            text = self._held_back + text
            text, newline, self._held_back = text.rpartition("\n")
            text += newline
        if text:
            self._screen.text(text, _STREAM_STYLES.get(stream, ""))
            self._in_line = not text.endswith("\n")

    def _progress(self, payload: Mapping[str, Any]) -> None:
        if self._bar is None:
            self._end_line()
            self._bar = ProgressBar(self._screen)
        self._bar.update(payload.get("fraction"), payload.get("message"))

    def _line(self, event: Event) -> None:
        self._end_line()
        self._screen.line(*event_parts(self._screen, event))

    def _end_line(self) -> None:
        if self._held_back or self._in_line:
            self._screen.text(f"{self._held_back}\n")
        self._held_back, self._in_line = "", False


class ProgressBar:
    """A run's progress, on a terminal; `fraction` that is no number makes it go to and fro."""

    def __init__(self, screen: Screen) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            console=screen.console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID = self._progress.add_task("", total=None)

    def update(self, fraction: Any, message: Any) -> None:
        is_known = isinstance(fraction, (int, float)) and math.isfinite(fraction)
        self._progress.update(
            self._task,
            description=on_one_line(message) if isinstance(message, str) else None,
            total=1.0 if is_known else None,
            completed=min(1.0, max(0.0, fraction)) if is_known else None,
        )
        self._progress.start()

    def close(self) -> None:
        self._progress.stop()


def show_watched(screen: Screen, watched: WatchedEvent) -> None:
    time, *rest = event_parts(screen, watched.event)
    screen.line(time, (watched.run_id, "cyan"), (watched.target, ""), *rest)


def event_parts(screen: Screen, event: Event) -> list[tuple[str, str]]:
    """Time, type and payload, of which a terminal gets what fits a line."""
    time = _time(screen, event.created_at)
    payload = "" if event.payload in (None, {}) else display_json(event.payload)
    if screen.is_terminal:
        room = screen.console.width - len(time) - len(event.event_type) - 2
        payload = _cut(payload, max(room, _LEAST_OF_A_PAYLOAD))
    return [(time, "dim"), (event.event_type, _EVENT_STYLES.get(event.event_type, "bold")), (payload, "")]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _time(screen: Screen, moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return f"{moment.astimezone():%H:%M:%S}" if screen.is_terminal else rfc3339(moment)
