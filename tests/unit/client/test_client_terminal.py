"""Nothing that a run wrote drives the user's terminal; nothing is changed in a pipe."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from runsd_client.commands.event_display import EventDisplay, show_watched
from runsd_client.commands.event_text import describe
from runsd_client.commands.streams import log_bytes
from runsd_client.commands.tables import Column, fitted
from runsd_client.commands.terminal import Screen, escape_controls, on_one_line, plain_table, write_output
from runsd_client.commands.times import age, duration
from runsd_client.values import Event, WatchedEvent


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
    assert out.written() == 'half a line\n3 - my.event {"a": 1}\n4 - log\n'


def test_a_long_payload_is_cut_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    event: list[tuple[str, object]] = [("my.event", {"text": "x" * 200})]
    to, out, _ = screen(True, monkeypatch)
    show(event, to)
    assert len(out.written()) == 81
    assert out.written().startswith("  1 - my.event")
    assert out.written().endswith("x…\n")
    to, out, _ = screen(False)
    show(event, to)
    assert "x" * 200 in out.written()


def test_progress_in_a_pipe_is_a_line() -> None:
    to, out, _ = screen(False)
    show([("progress", {"fraction": 0.5, "message": "half"})], to)
    assert out.written() == "1 - progress 50% half\n"


ERROR = {"code": "exception", "message": "ValueError: no\nsuch " + "x" * 80, "detail": {"traceback": "T"}}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_how_an_attempt_ends_is_readable_and_never_cut(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    to, out, _ = screen(is_terminal, monkeypatch)
    again = {"attempt": 1, "start_after": "2026", "delay_seconds": 1.5, "exit_code": 1, "error": ERROR}
    show(
        [
            ("run.retrying", again),
            ("run.interrupted", {"attempt": 2, "error": {"message": "gone", "code": "interrupted"}}),
            ("run.failed", {"attempt": 3, "error": ERROR}),
            ("run.completed", {"exit_code": 0, "output": ["y" * 90]}),
            ("run.completed", {"exit_code": 0}),
        ],
        to,
    )
    failure = f"exception: ValueError: no such {'x' * 80}"
    assert [line.strip() for line in out.written().splitlines()] == [
        f"1 - run.retrying {failure} (attempt 1, next in 1.5 s)",
        "2 - run.interrupted interrupted: gone (attempt 2)",
        f"3 - run.failed {failure} (attempt 3)",
        f'4 - run.completed ["{"y" * 90}"]',
        "5 - run.completed",
    ]
    assert " \n" not in out.written()


@pytest.mark.parametrize(
    ("event_type", "payload", "said"),
    [
        (
            "run.created",
            {
                "run_id": "r1",
                "project": "p",
                "kind": "task",
                "target": "task:a",
                "root_run_id": "r1",
                "name": "Sync data",
                "idempotency_key": "k",
                "input": {"n": 1},
            },
            'task:a name="Sync data" input={"n": 1} project=p idempotency_key=k',
        ),
        ("run.created", {"run_id": "r2", "target": "task:a", "root_run_id": "r1"}, "task:a root_run_id=r1"),
        ("run.started", {"attempt": 1, "adapter": "subprocess"}, "attempt=1 adapter=subprocess"),
        ("run.cancelled", {"reason": "seen enough"}, "seen enough"),
        ("run.cancelled", {"attempt": 1, "exit_code": 143}, "attempt=1 exit_code=143"),
        ("run.failed", {"error": "odd"}, '{"error": "odd"}'),
        ("run.created", [1], "[1]"),
        ("run.waiting", {"reason": "approval review"}, "approval review"),
        ("run.resumed", {}, ""),
        ("step.started", {"step_id": "a/b[2]", "name": "b", "kind": "function", "attempt": 1}, "a/b[2]"),
        ("step.started", {"step_id": "a", "kind": "function", "attempt": 2}, "a (attempt 2)"),
        (
            "step.started",
            {"step_id": "p", "kind": "run", "attempt": 1, "detail": "task:p", "child_run_id": "r2"},
            "p run=r2 task:p",
        ),
        ("step.started", {"step_id": "z", "kind": "sleep", "attempt": 1, "until": "2026"}, "z sleep until 2026"),
        (
            "step.completed",
            {"step_id": "a", "name": "a", "kind": "function", "attempt": 1, "duration_ms": 1500, "output": [1]},
            "a 1.5s [1]",
        ),
        ("step.completed", {"step_id": "a", "kind": "sleep"}, "a"),
        (
            "step.failed",
            {"step_id": "a", "attempt": 1, "error": {"message": "no\nmore", "code": "own"}, "retry_at": "2026"},
            "a own: no more (attempt 1, next at 2026)",
        ),
        ("step.failed", {"step_id": "a", "attempt": 3, "error": {"message": "no"}}, "a no (attempt 3)"),
        ("step.skipped", {"step_id": "a", "name": "a", "kind": "run", "reason": "when is false"}, "a when is false"),
        (
            "approval.requested",
            {
                "step_id": "s",
                "name": "review",
                "message": "Please\nlook",
                "approvers": ["anna", "ben"],
                "expires_at": "2026",
                "schema": {"type": "object"},
            },
            'review: Please look (approvers anna, ben, until 2026, data of {"type": "object"})',
        ),
        ("approval.requested", {"step_id": "s", "name": "review"}, "review"),
        (
            "approval.decided",
            {"name": "review", "approved": True, "by": "anna", "comment": "good", "data": {"n": 1}},
            'review approved by anna: good data={"n": 1}',
        ),
        ("approval.decided", {"name": "review", "approved": False}, "review rejected"),
        ("signal", {"name": "docs", "payload": {"n": 1}, "idempotency_key": "k"}, 'docs {"n": 1}'),
        ("signal", {"name": [1]}, "[1]"),
        ("progress", {"fraction": "odd"}, '{"fraction": "odd"}'),
        ("progress", {"fraction": 2, "message": None}, "100%"),
        ("my.event", {"run_id": "x"}, '{"run_id": "x"}'),
    ],
)
def test_what_an_event_says(event_type: str, payload: object, said: str) -> None:
    assert describe(Event(1, event_type, payload, None)) == said


def test_lines_have_no_blanks_at_their_end() -> None:
    to, out, _ = screen(False)
    to.line(("run-1", "bold"), ("", "red"), ("completed", ""), ("", ""))
    assert out.written() == "run-1 completed\n"


def test_progress_that_is_listed_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    to, out, _ = screen(True, monkeypatch)
    with EventDisplay(to, bar=False) as display:
        for number in (1, 2):
            display.show(Event(number, "progress", {"fraction": number / 2, "message": "so far"}, None))
    assert out.written() == "  1 - progress 50% so far\n  2 - progress 100% so far\n"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("review", "runs approve r1 review"),
        ("my review; reboot", "runs approve r1 'my review; reboot'"),
        ("-review", "runs approve r1 -- -review"),
        ("\x1b[2J", "runs approve r1 '\\x1b[2J'"),
    ],
)
def test_how_to_decide_is_to_be_copied(name: str, command: str) -> None:
    to, out, _ = screen(False)
    with EventDisplay(to, followed="r1") as display:
        display.show(Event(1, "approval.requested", {"name": name}, None))
        display.show(Event(2, "approval.requested", {"name": None}, None))
    first, second = out.written().splitlines()
    assert first.endswith(f" -> {command}")
    assert "->" not in second


Fancy = Callable[[int], tuple[Screen, Output, Output]]
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def fancy(monkeypatch: pytest.MonkeyPatch) -> Fancy:
    """A terminal that can do all, of the given width."""

    def of_width(width: int) -> tuple[Screen, Output, Output]:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))
        return screen(True)

    return of_width


@pytest.mark.parametrize("width", [20, 50, 80, 100])
@pytest.mark.parametrize("fraction", [0.25, None])
def test_a_bar_leaves_room_for_what_ctrl_c_writes(fancy: Fancy, width: int, fraction: float | None) -> None:
    to, out, _ = fancy(width)
    # Without colours a bar that goes to and fro is blank half of the time, where there is room for little of it.
    to.console.get_time = lambda: 0.0
    show([("progress", {"fraction": fraction, "message": "a long message 表 " * 20})], to)
    shown = [line.rstrip() for line in re.split(r"[\r\n]", CODES.sub("", out.written())) if "━" in line]
    assert shown
    assert all(cell_len(line) <= width - 3 for line in shown)
    assert all("a long" in line and "…" in line for line in shown if width >= 50)
    assert fraction is None or all(line.endswith("25%") for line in shown)


def test_what_is_noted_beside_a_bar_stands_above_it(fancy: Fancy) -> None:
    to, out, err = fancy(80)
    with EventDisplay(to) as display:
        display.show(Event(1, "progress", {"fraction": 0.5}, None))
        to.note("no daemon")
        display.close()
        to.note("afterwards")
    assert "no daemon\n" in CODES.sub("", out.written())
    assert "no daemon" not in err.written()
    assert "afterwards" in err.written()


def test_a_line_that_a_bar_interrupts_stays_one_line(fancy: Fancy) -> None:
    to, out, _ = fancy(80)
    log = {"stream": "stdout"}
    show(
        [
            ("log", {**log, "text": "whole\nparti"}),
            ("log", {**log, "text": "al"}),
            ("progress", {"fraction": 0.5}),
            ("log", {**log, "text": " done\n"}),
        ],
        to,
    )
    assert "partial done\n" in out.written()
    assert "whole\npartial\r\x1b[2K" in out.written()


def test_a_line_too_long_to_be_taken_back_ends_before_the_bar(fancy: Fancy) -> None:
    to, out, _ = fancy(80)
    show([("log", {"stream": "stdout", "text": "x" * 80}), ("progress", {"fraction": 0.5})], to)
    assert "x" * 80 + "\n" in out.written()


def watched(event_type: str, payload: object) -> WatchedEvent:
    run_id = "01a21035-ce27-7497-810e-bbb7e7721ef8"
    return WatchedEvent(42, run_id, "task:sync-data", Event(1, event_type, payload, None))


@pytest.mark.parametrize("width", [50, 80, 100])
def test_watched_events_fit_a_terminal(fancy: Fancy, width: int) -> None:
    to, out, _ = fancy(width)
    text = "one\ntwo" + "o" * 100 + "\n"
    for event in (watched("run.failed", {"error": ERROR}), watched("log", {"stream": "stdout", "text": text})):
        show_watched(to, event)
    failed, first, second = CODES.sub("", out.written()).splitlines()
    assert max(map(len, (failed, first, second))) <= width
    assert failed.startswith("   42 - e7721ef8 task:sync-data run.failed")
    assert first == "   42 - e7721ef8 task:sync-data log one"
    assert second.startswith("   42 - e7721ef8 task:sync-data log two")


def test_a_watched_target_is_said_once() -> None:
    to, out, _ = screen(False)
    show_watched(to, watched("run.created", {"target": "task:sync-data", "input": 1}))
    assert out.written().endswith(" task:sync-data run.created input=1\n")


def test_watched_events_are_whole_in_a_pipe() -> None:
    to, out, _ = screen(False)
    show_watched(to, watched("run.failed", {"error": ERROR, "attempt": 1}))
    run_id = "01a21035-ce27-7497-810e-bbb7e7721ef8"
    failure = f"exception: ValueError: no such {'x' * 80} (attempt 1)"
    assert out.written() == f"42 - {run_id} task:sync-data run.failed {failure}\n"


COLUMNS = (Column("RUN", 0), Column("TARGET", 1, least=6), Column("NAME", 3, least=4), Column("TOOK", 2))
ROW = (("r" * 10, ""), ("task:target", ""), ("a name", ""), ("12ms", ""))


@pytest.mark.parametrize(
    ("room", "titles", "shown"),
    [
        (100, "RUN TARGET NAME TOOK", ["task:target", "a name", "12ms"]),
        (35, "RUN TARGET NAME TOOK", ["task:target", "a n…", "12ms"]),
        (34, "RUN TARGET TOOK", ["task:target", "12ms"]),
        (20, "RUN TARGET", ["task:ta…"]),
        (17, "RUN TOOK", ["12ms"]),
        (5, "RUN", []),
    ],
)
def test_columns_that_do_not_fit_are_cut_or_left_out(room: int, titles: str, shown: list[str]) -> None:
    found, rows = fitted(COLUMNS, [ROW], room)
    assert " ".join(found) == titles
    assert [text for text, _ in rows[0]] == ["r" * 10, *shown]


def test_an_empty_column_is_left_out() -> None:
    assert fitted(COLUMNS, [(*ROW[:2], ("", ""), ROW[3])], 100)[0] == ["RUN", "TARGET", "TOOK"]
    assert fitted(COLUMNS, [], 100)[0] == ["RUN", "TARGET", "NAME", "TOOK"]


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
