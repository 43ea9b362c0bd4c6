"""Nothing that a run wrote drives the user's terminal; nothing is changed in a pipe."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runsd_client.commands.event_display import EventDisplay
from runsd_client.commands.formats import age, duration
from runsd_client.commands.streams import log_bytes
from runsd_client.commands.terminal import Screen, escape_controls, on_one_line, plain_table, write_output
from runsd_client.values import Event


class Output(io.TextIOWrapper):
    """A file that may say that it is a terminal, and tells what was written."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def written(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def screen(is_terminal: bool, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[Screen, Output, Output]:
    if monkeypatch is not None:
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
    out, err = Output(is_terminal), Output(is_terminal)
    return Screen(out, err), out, err


def is_harmless(text: str, allowed: str) -> bool:
    return not any((ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0) and c not in allowed for c in text)


@given(st.text(st.characters(codec=None, categories=["Cc", "Cs", "L"])))
def test_escaping_leaves_no_control_character(text: str) -> None:
    assert is_harmless(escape_controls(text), "\n\t")
    assert is_harmless(on_one_line(text), "")


def test_escaping_is_visible() -> None:
    assert escape_controls("a\x1b[2J\x9b1m\x07\r\nb\tc\rd\0") == "a\\x1b[2J\\x9b1m\\x07\nb\tc\\rd\\x00"
    assert on_one_line("a\nb\t\x85") == "a\\nb\\t\\x85"
    assert escape_controls("größer 🙂") == "größer 🙂"


HOSTILE = "\x1b]0;owned\x07\x9b2Jx"


def test_hostile_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    to, out, err = screen(True, monkeypatch)
    to.line((HOSTILE, "bold"), ("[red]not markup[/]", ""))
    to.text(HOSTILE + "\n")
    to.table(("A", "B"), [((HOSTILE, ""), ("x\ny", "red"))])
    to.json({"x": HOSTILE})
    to.note(HOSTILE)
    to.error(HOSTILE)
    write_output(out, HOSTILE.encode())
    assert is_harmless(out.written() + err.written(), "\n")
    assert "[red]not markup[/]" in out.written()
    assert "\\x1b]0;owned" in out.written()
    assert "x\\ny" in out.written()


def test_output_in_a_pipe_stays_as_it_was() -> None:
    to, out, _ = screen(False)
    to.text("a\x1b[1m\r\n")
    write_output(out, b"\x1b[2J\r\n")
    assert out.written() == "a\x1b[1m\r\n\x1b[2J\r\n"


def test_json_in_a_pipe_is_one_line_and_the_same_value() -> None:
    to, out, _ = screen(False)
    to.json({"x": HOSTILE, "n": 2**80, "lone": "\ud800"})
    assert out.written().count("\n") == 1
    assert json.loads(out.written()) == {"x": HOSTILE, "n": 2**80, "lone": "\ud800"}


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for is_terminal in (True, False):
        to, out, err = screen(is_terminal)
        to.line(("failed", "red"))
        to.error("no")
        assert ("\x1b[31m" in out.written()) is is_terminal
        assert ("\x1b[31m" in err.written()) is is_terminal


def test_an_error_is_one_line() -> None:
    to, _, err = screen(False)
    to.error("first\nsecond")
    assert err.written() == "runs: first second\n"


def test_long_lines_are_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    to, out, _ = screen(True, monkeypatch)
    to.text("word " * 100 + "\n")
    assert out.written().count("\n") == 1


def test_plain_tables_are_aligned_without_spaces_at_the_end() -> None:
    assert plain_table(("A", "LONG"), [("abc", "x"), ("d", "")]) == "A    LONG\nabc  x\nd\n"
    assert plain_table(("A", "B"), []) == "A  B\n"


def show(events: list[tuple[str, object]], to: Screen) -> None:
    with EventDisplay(to) as display:
        for number, (event_type, payload) in enumerate(events, 1):
            display.show(Event(number, event_type, payload, None))


def test_output_is_shown_as_itself_and_lines_begin_at_the_left() -> None:
    to, out, _ = screen(False)
    log = {"stream": "stdout", "text": "half a li"}
    show([("log", log), ("log", {"stream": "stderr", "text": "ne"}), ("my.event", {"a": 1}), ("log", None)], to)
    assert out.written() == 'half a line\n- my.event {"a": 1}\n- log \n'


def test_a_long_payload_is_cut_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    event: list[tuple[str, object]] = [("my.event", {"text": "x" * 200})]
    to, out, _ = screen(True, monkeypatch)
    show(event, to)
    assert len(out.written()) == 81
    assert out.written().endswith("x…\n")
    to, out, _ = screen(False)
    show(event, to)
    assert "x" * 200 in out.written()


def test_progress_in_a_pipe_is_a_line() -> None:
    to, out, _ = screen(False)
    show([("progress", {"fraction": 0.5, "message": "half"})], to)
    assert out.written() == '- progress {"fraction": 0.5, "message": "half"}\n'


def test_progress_on_a_terminal_is_a_bar_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    to, out, _ = screen(True)
    show(
        [
            ("log", {"stream": "stdout", "text": "before"}),
            ("progress", {"fraction": 0.5, "message": "half\x1b[2J"}),
            ("progress", {"fraction": "odd", "message": None}),
            ("progress", {"fraction": float("nan")}),
            ("log", {"stream": "stdout", "text": "in the "}),
            ("log", {"stream": "stdout", "text": "middle\nthe rest"}),
            ("run.completed", {}),
        ],
        to,
    )
    written = out.written()
    assert "\\x1b[2J" in written
    assert "in the middle" in written
    assert written.index("the rest") < written.index("run.completed")
    # The cursor is shown again and the bar erased before the last line.
    assert written.rindex("\x1b[?25h") < written.index("run.completed")
    assert "\x1b[2K" in written


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"text": "größer\r\n"}, "größer\r\n".encode()),
        ({"text": "�", "base64": "/w=="}, b"\xff"),
        ({"text": "x", "base64": "not base64"}, b"x"),
        ({}, b""),
    ],
)
def test_bytes_of_a_log_chunk(payload: dict[str, str], expected: bytes) -> None:
    assert log_bytes(payload) == expected


def test_durations_and_ages() -> None:
    assert [duration(ms) for ms in (None, 7, 1500, 61_000, 7_380_000)] == ["", "7ms", "1.5s", "1m 1s", "2h 3m"]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ages = [age(now - timedelta(seconds=s), now) for s in (0, 5, 200, 7200, 172_800, -60)]
    assert ages == ["now", "5s ago", "3m ago", "2h ago", "2d ago", "in 1m"]
    assert age(None, now) == ""
