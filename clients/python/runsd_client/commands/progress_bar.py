"""A run's progress as a bar on the terminal's last line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runsd_client.commands.event_text import known_fraction
from runsd_client.commands.terminal import Screen, on_one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Stays free: a terminal writes ^C where the cursor is, and a second line would not be taken away.
_KEPT_FREE = 4
_WIDTH_OF_PERCENTAGE = 6
_LONGEST_BAR = 40


class ProgressBar:
    """`fraction` that is no number makes it go to and fro. What the screen says stands above it."""

    def __init__(self, screen: Screen) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._screen = screen
        self._message = ""
        self._bar = BarColumn()
        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            self._bar,
            TaskProgressColumn(),
            console=screen.console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID = self._progress.add_task("", total=None)

    def update(self, fraction: Any, message: Any) -> None:
        if isinstance(message, str):
            self._message = on_one_line(message)
        known = known_fraction(fraction)
        width = self._screen.console.width - _KEPT_FREE
        self._bar.bar_width = max(1, min(_LONGEST_BAR, width // 3))
        self._progress.update(
            self._task,
            description=_cut(self._message, width - self._bar.bar_width - _WIDTH_OF_PERCENTAGE),
            total=None if known is None else 1.0,
            completed=known,
        )
        self._screen.has_bar = True
        self._progress.start()

    def close(self) -> None:
        self._progress.stop()
        self._screen.has_bar = False


def _cut(message: str, room: int) -> str:
    from rich.text import Text

    text = Text(message)
    text.truncate(max(0, room), overflow="ellipsis")
    return text.plain
