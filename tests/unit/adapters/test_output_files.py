"""Readers of output files: however the file grows, what they give is what was written."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runsd.adapters.output_files import PIECE_BYTES, EventReader, File, TextReader
from runsd.model.events import Draft, Stream

PIECES = st.lists(st.binary(max_size=40) | st.text(max_size=20).map(lambda t: t.encode("utf-8", "surrogatepass")))


def content(drafts: list[Draft]) -> bytes:
    payloads = [json.loads(draft.payload_json) for draft in drafts]
    return b"".join(base64.b64decode(p["base64"]) if "base64" in p else p["text"].encode() for p in payloads)


@given(PIECES, st.data())
def test_text_is_whole_however_it_is_written_and_read(pieces: list[bytes], data: st.DataObject) -> None:
    """Also when each read is by another daemon that knows only the offset."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "out"
        reader = TextReader(File(path, 0), Stream.STDOUT)
        drafts: list[Draft] = []
        for piece in pieces:
            with path.open("ab") as file:
                file.write(piece)
            drafts += reader.read(final=False, limit=data.draw(st.integers(4, 50)))
            if data.draw(st.booleans()):
                offset = reader.file.offset
                reader.file.close()
                reader = TextReader(File(path, offset), Stream.STDOUT)
        while more := reader.read(final=True, limit=10):
            drafts += more
        reader.file.close()
        written = b"".join(pieces)
        assert content(drafts) == written
        assert reader.file.offset == len(written)


@given(st.text(alphabet="aé☃𝄞\n", max_size=200))
def test_valid_text_is_never_cut_inside_a_character(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "out"
        reader = TextReader(File(path, 0), Stream.STDOUT)
        drafts: list[Draft] = []
        for byte in text.encode():
            with path.open("ab") as file:
                file.write(bytes([byte]))
            drafts += reader.read(final=False)
        drafts += reader.read(final=True)
        reader.file.close()
        assert "".join(json.loads(draft.payload_json)["text"] for draft in drafts) == text
        assert not [draft for draft in drafts if "base64" in draft.payload_json]


def test_full_pieces_end_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("".join(f"line {n}\n" for n in range(20_000)))
    drafts = TextReader(File(path, 0), Stream.STDOUT).read(final=False)
    texts = [json.loads(draft.payload_json)["text"] for draft in drafts]
    assert all(text.endswith("\n") and len(text) <= PIECE_BYTES for text in texts)


LINES = st.lists(
    st.sampled_from(
        [
            b'{"event_type": "a"}',
            b'{"event_type": "b", "payload": {"n": 1}}',
            b"",
            b"nonsense",
            b"\xff",
            b"[1]",
            b"x" * 300,
        ]
    )
)


@settings(max_examples=200)
@given(LINES, st.lists(st.integers(0, 2000)), st.booleans())
def test_event_lines_are_taken_once_in_order(lines: list[bytes], cuts: list[int], ends: bool) -> None:
    written = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events"
        path.touch()
        drafts: list[Draft] = []
        offset = 0
        for cut in [*sorted(cuts), len(written)]:
            path.write_bytes(written[:cut])
            reader = EventReader(File(path, offset), line_limit=100)
            drafts += reader.read(final=False)
            offset = reader.file.offset
            reader.file.close()
        reader = EventReader(File(path, offset), line_limit=100)
        before = -1
        while reader.file.offset != before:
            before = reader.file.offset
            drafts += reader.read(final=True)
        reader.file.close()
    expected = [json.loads(line)["event_type"] for line in lines if line.startswith(b'{"event')]
    assert [draft.event_type for draft in drafts if draft.event_type != "log"] == expected
    complaints = [draft for draft in drafts if draft.event_type == "log"]
    assert len(complaints) == sum(line in (b"nonsense", b"\xff", b"[1]", b"x" * 300) for line in lines)
