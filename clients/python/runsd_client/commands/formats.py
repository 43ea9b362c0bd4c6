"""How values read to a person."""

from __future__ import annotations

from datetime import UTC, datetime

from runsd_client.commands.terminal import Screen
from runsd_client.documents import display_json
from runsd_client.values import Artifact, Run, RunStatus, TargetInfo, rfc3339

STATUS_STYLES = {
    RunStatus.PENDING: "yellow",
    RunStatus.RUNNING: "blue",
    RunStatus.WAITING: "magenta",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "yellow",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SHOWN_LAST = ("input", "config", "metadata", "output", "error", "artifacts", "logs")


def status_style(status: RunStatus) -> str:
    return STATUS_STYLES.get(status, "")


def duration(milliseconds: int | None) -> str:
    """`12ms`, `3.4s`, `5m 6s`, `7h 8m`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f}s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"


def age(moment: datetime | None, now: datetime) -> str:
    """`now`, `5s ago`, `3d ago`, `in 2h`."""
    if moment is None:
        return ""
    seconds = int((now - moment).total_seconds())
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            amount = f"{abs(seconds) // size}{unit}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "now"


def show_runs(screen: Screen, runs: tuple[Run, ...]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            (run.run_id, "bold"),
            (run.status, status_style(run.status)),
            (run.target, ""),
            (run.name, ""),
            (_moment(screen, run.created_at, now), ""),
            (duration(run.duration_ms), ""),
        )
        for run in runs
    ]
    screen.table(("RUN", "STATUS", "TARGET", "NAME", "CREATED", "DURATION"), rows)


def _moment(screen: Screen, moment: datetime | None, now: datetime) -> str:
    if screen.is_terminal:
        return age(moment, now)
    return rfc3339(moment) if moment else ""


def show_run(screen: Screen, run: Run) -> None:
    """What is set of the record, one field a line, the long ones last."""
    record = run.to_dict()
    names = [name for name in record if name not in _SHOWN_LAST]
    for name in (*names, *_SHOWN_LAST[:-1]):
        value = record[name]
        if value not in ("", None, [], {}, False) or (name == "exit_code" and value == 0):
            shown = value if isinstance(value, str) else display_json(value)
            screen.line((f"{name:<16}", "bold"), (shown, status_style(run.status) if name == "status" else ""))
    if run.logs:
        cut = " (the end of them)" if run.logs_truncated else ""
        screen.line((f"logs{cut}", "bold"))
        screen.text(run.logs if run.logs.endswith("\n") else f"{run.logs}\n")


def show_ending(screen: Screen, run: Run) -> None:
    """How a run ended, in a line, and its output or error."""
    screen.line((run.run_id, "bold"), (run.status, status_style(run.status)), (duration(run.duration_ms), ""))
    if run.error is not None:
        screen.error(f"{run.error.code}: {run.error.message}")
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
