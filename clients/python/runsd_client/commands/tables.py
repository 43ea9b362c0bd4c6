"""Tables that fit a terminal: columns are cut or left out, and no cell is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runsd_client.commands.terminal import on_one_line

Cell = tuple[str, str]
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of low `rank` is given room first; `least` is how narrow it may become, 0 for not at all."""

    title: str
    rank: int
    least: int = 0


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> tuple[list[str], list[list[Cell]]]:
    """The titles and cells that `room` characters hold; rank 0 is there in any case, an empty column never."""
    rows = [[(on_one_line(text), style) for text, style in row] for row in rows]
    filled = [i for i in range(len(columns)) if not rows or any(row[i][0] for row in rows)]
    wanted = {i: _width(columns[i], [row[i][0] for row in rows]) for i in filled}
    widths = _given_widths(columns, wanted, room)
    cells = [[(_cut(row[i][0], width), row[i][1]) for i, width in widths.items()] for row in rows]
    return [columns[i].title for i in widths], cells


def _given_widths(columns: Sequence[Column], wanted: Mapping[int, int], room: int) -> dict[int, int]:
    """By the column's index, in the columns' order."""
    given: dict[int, int] = {}
    left = room
    for index in sorted(wanted, key=lambda index: columns[index].rank):
        least = min(columns[index].least or wanted[index], wanted[index])
        if not given or least <= left:
            given[index] = min(wanted[index], left) if given else wanted[index]
            left -= given[index] + _GAP
    return dict(sorted(given.items()))


def _width(column: Column, texts: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, (column.title, *texts)))


def _cut(text: str, width: int) -> str:
    from rich.text import Text

    shown = Text(text)
    shown.truncate(width, overflow="ellipsis")
    return shown.plain
