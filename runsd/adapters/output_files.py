"""Reads the files that a process writes, and turns them into events without losing a byte.

A reader stands at an offset of its file; what it gives out ends at the next one. Text is cut at ends
of lines where a piece is full, never inside a character. Memory is bounded by the size of a piece,
whatever the length of a line.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from runsd.adapters.regular_file import open_regular
from runsd.model.documents import checked
from runsd.model.events import Draft, Stream, emitted, log

PIECE_BYTES = 64 << 10
# A reader gives at most this much at once, so that a commit stays small and others get their turn.
BATCH_BYTES = 1 << 20
QUOTED_CHARACTERS = 200


@dataclass(slots=True)
class File:
    """A file that may not be there yet. `offset` is where the reader stands."""

    path: Path
    offset: int
    _descriptor: int | None = None

    def read(self, size: int, at: int | None = None) -> bytes:
        if self._descriptor is None and not self._open():
            return b""
        assert self._descriptor is not None
        return os.pread(self._descriptor, size, self.offset if at is None else at)

    def _open(self) -> bool:
        try:
            self._descriptor = open_regular(self.path)
        except OSError:
            # Not there yet, or the process has put something in its place that has no content.
            return False
        return True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(slots=True)
class TextReader:
    """stdout or stderr as `log` events."""

    file: File
    stream: Stream

    def read(self, *, final: bool, limit: int = BATCH_BYTES) -> list[Draft]:
        """What is there, up to `limit` bytes. `final`: nothing will be added to the file."""
        drafts: list[Draft] = []
        data = self.file.read(limit)
        begin = 0
        while begin < len(data):
            piece = _piece(data, begin, final=final)
            if not piece:
                break
            drafts.append(_log(self.stream, piece))
            begin += len(piece)
        self.file.offset += begin
        return drafts


def _piece(data: bytes, begin: int, *, final: bool) -> bytes:
    piece = data[begin : begin + PIECE_BYTES]
    if begin + PIECE_BYTES < len(data):
        line_end = piece.rfind(b"\n")
        if line_end >= 0:
            return piece[: line_end + 1]
    elif final:
        return piece
    return piece[: len(piece) - _unfinished(piece)]


def _unfinished(piece: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character that is not whole yet."""
    for back in range(1, min(3, len(piece)) + 1):
        byte = piece[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if byte < 0xF8 and length > back else 0
        if byte < 0x80:
            return 0
    return 0


def _log(stream: Stream, piece: bytes) -> Draft:
    try:
        return log(stream, piece.decode())
    except UnicodeDecodeError:
        return log(stream, piece.decode(errors="replace"), base64.b64encode(piece).decode())


@dataclass(slots=True)
class EventReader:
    """Lines of RUNSD_EVENTS as events. A line that is no event is told in the log, and skipped."""

    file: File
    line_limit: int
    # Bytes of lines that were too long. They count as output, or a run could keep the daemon reading for ever.
    skipped_bytes: int = 0
    # None until the first read: then the file tells whether a former daemon stopped inside a line.
    _is_skipping: bool | None = None

    def read(self, *, final: bool) -> list[Draft]:
        """The whole lines that are there. `final`: a last line without an end is whole as well."""
        size = max(BATCH_BYTES, self.line_limit + 1)
        data = self.file.read(size)
        if self._is_skipping is None and data:
            self._is_skipping = self.file.offset > 0 and self.file.read(1, self.file.offset - 1) != b"\n"
        if self._is_skipping:
            self._skip(data)
            return []
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) > self.line_limit:
            self._is_skipping = True
            self._skip(data)
            return [self._complaint(f"is longer than the {self.line_limit:,} bytes that are allowed", data)]
        if final and len(data) < size:
            end = len(data)
        self.file.offset += end
        lines = data[:end].split(b"\n")
        return [draft for line in lines if (draft := self._draft(line)) is not None]

    def _skip(self, data: bytes) -> None:
        """On to behind the end of the line, which may not be there yet."""
        line_end = data.find(b"\n")
        self._is_skipping = line_end < 0
        length = len(data) if line_end < 0 else line_end + 1
        self.file.offset += length
        self.skipped_bytes += length

    def _draft(self, line: bytes) -> Draft | None:
        if not line.strip():
            return None
        try:
            value = checked(line.decode(), self.line_limit)
            if not isinstance(value, dict) or "event_type" not in value:
                raise ValueError('must be an object such as {"event_type": "rows.loaded", "payload": {"rows": 3}}')
            return emitted(value["event_type"], value.get("payload", {}))
        except ValueError as error:
            return self._complaint(str(error), line)

    def _complaint(self, wrong: str, line: bytes) -> Draft:
        quoted = line[:QUOTED_CHARACTERS].decode(errors="replace")
        return log(Stream.SYSTEM, f"RUNSD_EVENTS: a line was skipped: {wrong}: {quoted}\n")
