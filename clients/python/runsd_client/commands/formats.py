"""How values read to a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from runsd_client.commands.event_text import describe_error
from runsd_client.commands.step_tree import show_step_tree
from runsd_client.commands.tables import Column, fitted
from runsd_client.commands.terminal import Screen
from runsd_client.commands.times import age, duration, milliseconds_between
from runsd_client.documents import display_json
from runsd_client.values import Artifact, Run, RunError, RunStatus, TargetInfo, rfc3339

STATUS_STYLES = {
    RunStatus.PENDING: "yellow",
    RunStatus.RUNNING: "blue",
    RunStatus.WAITING: "magenta",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "yellow",
}
_SHOWN_LAST = ("input", "config", "metadata", "output", "artifacts")
_SHOWN_APART = ("error", "steps", "steps_truncated", "logs")
_RUN_COLUMNS = (
    Column("RUN", 0),  # whole, to be copied
    Column("STATUS", 1),
    Column("TARGET", 2, least=12),
    Column("NAME", 5, least=8),
    Column("CREATED", 3),
    Column("TOOK", 4),
)


def status_style(status: RunStatus) -> str:
    return STATUS_STYLES.get(status, "")


def show_runs(screen: Screen, runs: tuple[Run, ...]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            (run.run_id, "bold"),
            (run.status, status_style(run.status)),
            (run.target, ""),
            (run.name, ""),
            (_moment(screen, run.created_at, now), ""),
            (duration(_milliseconds(run, now)), ""),
        )
        for run in runs
    ]
    if screen.is_terminal:
        screen.table(*fitted(_RUN_COLUMNS, rows, screen.console.width))
    else:
        screen.table([column.title for column in _RUN_COLUMNS], rows)


def _milliseconds(run: Run, now: datetime) -> int | None:
    """How long the run took, or has taken until now."""
    if run.duration_ms is not None or run.started_at is None or run.status.is_terminal:
        return run.duration_ms
    return milliseconds_between(run.started_at, now)


def _moment(screen: Screen, moment: datetime | None, now: datetime) -> str:
    if screen.is_terminal:
        return age(moment, now)
    return rfc3339(moment) if moment else ""


def show_run(screen: Screen, run: Run) -> None:
    """What is set of the record, one field a line, the long ones last."""
    record = run.to_dict()
    names = [name for name in record if name not in _SHOWN_LAST + _SHOWN_APART]
    for name in (*names, *_SHOWN_LAST):
        value = record[name]
        if value not in ("", None, [], {}, False) or (name == "exit_code" and value == 0):
            shown = value if isinstance(value, str) else display_json(value)
            screen.line(
                (f"{_label(name, run):<16}", "bold"), (shown, status_style(run.status) if name == "status" else "")
            )
    if run.error is not None:
        _show_error(screen, run.error)
    if run.steps:
        show_step_tree(screen, run.steps, truncated=run.steps_truncated)
    if run.logs:
        cut = " (the end of them)" if run.logs_truncated else ""
        _show_text(screen, f"logs{cut}", run.logs)


def _label(name: str, run: Run) -> str:
    """The field's own name, but where it would mislead: what waits has started long ago."""
    return "goes on by" if name == "start_after" and run.status is RunStatus.WAITING else name


def _show_error(screen: Screen, error: RunError) -> None:
    """The message in a line, the traceback of a Python task as lines."""
    screen.line((f"{'error':<16}", "bold"), (describe_error(error.code, error.message), "red"))
    detail = dict(error.detail) if isinstance(error.detail, Mapping) else error.detail
    traceback = detail.pop("traceback", None) if isinstance(detail, dict) else None
    if not isinstance(traceback, str):
        traceback, detail = "", error.detail
    if detail not in (None, {}):
        screen.line((f"{'error detail':<16}", "bold"), (display_json(detail), ""))
    if traceback:
        _show_text(screen, "traceback", traceback)


def _show_text(screen: Screen, title: str, text: str) -> None:
    screen.line((title, "bold"))
    screen.text(text if text.endswith("\n") else f"{text}\n")


def show_ending(screen: Screen, run: Run) -> None:
    """How a run ended, in a line, and its output or error."""
    screen.line((run.run_id, "bold"), (run.status, status_style(run.status)), (duration(run.duration_ms), ""))
    if run.error is not None:
        screen.error(describe_error(run.error.code, run.error.message))
    if run.output is not None:
        screen.text(display_json(run.output) + "\n")


def show_targets(screen: Screen, targets: tuple[TargetInfo, ...]) -> None:
    rows = [
        (
            (target.target, "red" if target.problems else "bold"),
            (target.adapter, ""),
            ("broken" if target.problems else "ok", "red" if target.problems else "green"),
            (target.description or target.name, ""),
        )
        for target in targets
    ]
    screen.table(("TARGET", "ADAPTER", "STATE", "DESCRIPTION"), rows)


def show_artifacts(screen: Screen, artifacts: tuple[Artifact, ...]) -> None:
    rows = [((a.name, "bold"), (str(a.size_bytes), ""), (a.media_type, ""), (a.sha256, "dim")) for a in artifacts]
    screen.table(("NAME", "BYTES", "TYPE", "SHA256"), rows)
