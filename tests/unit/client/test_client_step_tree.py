"""The steps of a run as a tree: drawn on a terminal, indented in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len
from runsd_client.commands.step_tree import show_step_tree
from runsd_client.values import RunError, Step, StepKind, StepState

from tests.unit.client.test_client_terminal import CODES, HOSTILE, Fancy, fancy, is_harmless, screen

__all__ = ["fancy"]

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)


def step(step_id: str, state: StepState = StepState.COMPLETED, *, parent: str = "", **fields: Any) -> Step:
    unset: dict[str, Any] = {
        "name": step_id.rpartition("/")[2],
        "kind": StepKind.FUNCTION,
        "attempt": 1,
        "output": None,
        "error": None,
        "started_at": None,
        "completed_at": None,
        "child_run_id": "",
        "detail": "",
        "until": None,
    }
    return Step(step_id=step_id, parent_step_id=parent, state=state, **unset | fields)


CHILD = "01a21035-ce27-7497-810e-bbb7e7721ef8"
STEPS = (
    step("research", started_at=START, completed_at=START + timedelta(seconds=1.2)),
    step("draft", StepState.RUNNING, kind=StepKind.MAP),
    step("draft[0]", parent="draft", started_at=START, completed_at=START + timedelta(milliseconds=7)),
    step("review", StepState.WAITING, kind=StepKind.APPROVAL, detail="Please review", until=FOREVER),
    step(
        "draft[1]",
        StepState.PENDING,
        parent="draft",
        attempt=2,
        until=FOREVER,
        error=RunError("ValueError: no\nmore", "exception"),
    ),
    step("draft[1]/check", StepState.FAILED, parent="draft[1]", error=RunError("no", "own"), until=FOREVER),
    step("publish#2", StepState.CANCELLED, kind=StepKind.RUN, detail="task:publish", child_run_id=CHILD),
    step("tell", StepState.SKIPPED, detail="when is false"),
)


def test_in_a_pipe_steps_are_indented() -> None:
    to, out, _ = screen(False)
    show_step_tree(to, STEPS, truncated=False)
    assert out.written() == (
        "steps\n"
        "  research completed 1.2s\n"
        "  draft running map\n"
        "    [0] completed 7ms\n"
        "    [1] pending attempt 2 next at 9000-01-01T00:00:00.000Z\n"
        "      exception: ValueError: no more\n"
        "      check failed\n"
        "        own: no\n"
        "  review waiting approval until 9000-01-01T00:00:00.000Z Please review\n"
        f"  publish#2 cancelled run {CHILD} task:publish\n"
        "  tell skipped when is false\n"
    )


@pytest.fixture
def drawn(fancy: Fancy) -> Iterator[Any]:
    def draw(steps: tuple[Step, ...], width: int = 100) -> list[str]:
        to, out, _ = fancy(width)
        show_step_tree(to, steps, truncated=False)
        return CODES.sub("", out.written()).splitlines()

    yield draw


def test_on_a_terminal_steps_are_drawn(drawn: Any) -> None:
    lines = drawn(STEPS)
    assert [line.split(" (")[0].split(" 9000")[0].split(" 8999")[0] for line in lines] == [
        "steps",
        "├─ research completed 1.2s",
        "├─ draft running map",
        "│  ├─ [0] completed 7ms",
        "│  └─ [1] pending attempt 2 next at",
        "│       exception: ValueError: no more",
        "│     └─ check failed",
        "│          own: no",
        "├─ review waiting approval until",
        f"├─ publish#2 cancelled run {CHILD} task:publish",
        "└─ tell skipped when is false",
    ]
    assert " (in " in lines[8]
    assert lines[8].endswith("Please review")


def test_states_are_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for is_terminal in (True, False):
        to, out, _ = screen(is_terminal)
        show_step_tree(to, STEPS, truncated=False)
        for code, state in ((32, "completed"), (34, "running"), (35, "waiting"), (31, "failed"), (33, "pending")):
            assert (f"\x1b[{code}m{state}" in out.written()) is is_terminal


def test_a_tree_fits_a_terminal_but_for_what_is_to_be_copied(drawn: Any) -> None:
    lines = drawn((step("a", detail="x" * 200), step("b", child_run_id=CHILD, detail="x" * 50)), 60)
    assert cell_len(lines[1]) == 60
    assert lines[1].endswith("x…")
    assert CHILD in lines[2]


def test_steps_of_a_run_do_not_drive_the_terminal(fancy: Fancy) -> None:
    error = RunError(HOSTILE, HOSTILE)
    hostile = step(HOSTILE, name=HOSTILE, detail=f"{HOSTILE}\n", child_run_id=HOSTILE, error=error)
    to, out, _ = fancy(100)
    show_step_tree(to, (hostile,), truncated=False)
    assert is_harmless(CODES.sub("", out.written()), "\n")
    assert out.written().count("\\x1b]0;owned") == 5
    assert len(out.written().splitlines()) == 3


def test_a_step_whose_parent_is_not_there_is_at_the_top() -> None:
    to, out, _ = screen(False)
    show_step_tree(to, (step("a/b", parent="a"),), truncated=True)
    assert out.written() == "steps (the first 1 of them)\n  b completed\n"


def test_a_tree_as_deep_as_a_record_may_hold() -> None:
    ids = ["/".join(["s"] * depth) for depth in range(1, 1001)]
    steps = [step(inner, parent=outer) for outer, inner in zip(["", *ids], ids, strict=False)]
    to, out, _ = screen(False)
    show_step_tree(to, steps, truncated=False)
    assert out.written().splitlines()[-1] == "  " * 1000 + "s completed"


def test_how_long_a_step_has_taken_until_now() -> None:
    to, out, _ = screen(False)
    began = datetime.now(UTC) - timedelta(hours=2, minutes=3, seconds=30)
    show_step_tree(
        to,
        (step("a", StepState.WAITING, started_at=began), step("b", StepState.PENDING, started_at=began)),
        truncated=False,
    )
    assert out.written() == "steps\n  a waiting 2h 3m\n  b pending\n"
