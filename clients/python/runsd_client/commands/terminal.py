"""What the command writes, and to whom.

What a run wrote or was named must not drive the user's terminal: on a terminal, control characters
are shown, not sent. In a pipe or a file the bytes stay as they were. Neither colour nor bar is
written to anything but a terminal.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from runsd_client.documents import display_json

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROLS_AND_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escape_controls(text: str) -> str:
    """Every control character but newline and tab, made visible; a CRLF is a newline."""
    return _CONTROLS.sub(_visible, text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """Every control character made visible, newline and tab too: for names, cells and messages."""
    return _CONTROLS_AND_BREAKS.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class Screen:
    """The command's stdout and stderr."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.is_terminal = self.out.isatty()
        # A bar is redrawn below all that goes through `console`, and spoilt by what does not.
        self.has_bar = False
        for file in (self.out, self.err):
            if isinstance(file, io.TextIOWrapper):
                file.reconfigure(errors="backslashreplace")

    @cached_property
    def console(self) -> Console:
        return _console(self.out)

    @cached_property
    def error_console(self) -> Console:
        return _console(self.err)

    def text(self, text: str, style: str = "") -> None:
        """Text as it is, on a terminal without its control characters; no newline is added."""
        if self.is_terminal:
            self._print(self.console, escape_controls(text), style, end="")
        else:
            self.out.write(text)
            self.out.flush()

    def line(self, *parts: tuple[str, str], cut: bool = False) -> None:
        """One line of the parts that are not empty, each with its style; `cut` to a terminal's width."""
        shown = [(on_one_line(text), style) for text, style in parts if text]
        if not self.is_terminal:
            self.text(" ".join(text for text, _ in shown) + "\n")
            return
        from rich.text import Text

        line = Text(" ").join(Text(text, style) for text, style in shown)
        if cut:
            line.truncate(self.console.width, overflow="ellipsis")
        self.console.print(line, soft_wrap=True)

    def take_back(self, text: str) -> bool:
        """Erases `text`, the unfinished last line of a terminal; False where that cannot be done."""
        from rich.cells import cell_len
        from rich.control import Control
        from rich.segment import ControlType

        shown = escape_controls(text)
        if self.console.is_dumb_terminal or "\t" in shown or cell_len(shown) >= self.console.width:
            return False
        self.console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        return True

    def json(self, value: Any, *, in_stream: bool = False) -> None:
        """One JSON value. In a stream each has a line to itself."""
        indent = 2 if self.is_terminal and not in_stream else None
        self.out.write(display_json(value, indent) + "\n")
        self.out.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Rows of cells, each a text and its style."""
        cells = [[(on_one_line(text), style) for text, style in row] for row in rows]
        if self.is_terminal:
            self._rich_table(columns, cells)
        else:
            self.text(plain_table(columns, [[text for text, _ in row] for row in cells]))

    def note(self, text: str) -> None:
        """Something beside the result, on stderr."""
        self._say(text, "dim")

    def error(self, text: str) -> None:
        self._say(f"runs: {text}", "red")

    def _say(self, text: str, style: str) -> None:
        shown = on_one_line(" ".join(text.split("\n")))
        if self.err.isatty():
            self._print(self.console if self.has_bar else self.error_console, shown, style, end="\n")
        else:
            self.err.write(f"{shown}\n")
            self.err.flush()

    @staticmethod
    def _print(console: Console, text: str, style: str, end: str) -> None:
        from rich.text import Text

        console.print(Text(text, style), soft_wrap=True, end=end)

    def _rich_table(self, columns: Sequence[str], cells: Sequence[Sequence[tuple[str, str]]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False)
        for index, column in enumerate(columns):
            table.add_column(column, no_wrap=index < 2, overflow="fold")
        for row in cells:
            table.add_row(*(Text(text, style) for text, style in row))
        self.console.print(table)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "".join(f"{line}\n" for line in padded)


def write_output(file: TextIO, content: bytes) -> None:
    """A run's output as it was; on a terminal without its control characters."""
    if file.isatty():
        file.write(escape_controls(content.decode("utf-8", "backslashreplace")))
    else:
        file.buffer.write(content)
    file.flush()


def _console(file: TextIO) -> Console:
    from rich.console import Console

    return Console(file=file, markup=False, highlight=False, emoji=False)
