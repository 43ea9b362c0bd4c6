"""The options that say what a schedule does, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runsd_client.commands.moments import MomentReader
from runsd_client.commands.options import read_json_option

if TYPE_CHECKING:
    from runsd_client.schedule_requests import ScheduleOptions

Cron = Annotated[
    str | None,
    typer.Option("--cron", metavar="CRON", help="When: minute, hour, day of month, month, day of week."),
]
Timezone = Annotated[
    str | None,
    typer.Option(
        "--timezone", metavar="ZONE", help="Of CRON and of times without an offset; such as Europe/Stockholm, else UTC."
    ),
]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Once, then.")]
Every = Annotated[str | None, typer.Option("--every", metavar="DURATION", help="At this interval, such as 10m or 24h.")]
Anchor = Annotated[
    str | None, typer.Option("--anchor", metavar="TIME", help="Where --every counts from; else 1970-01-01, UTC.")
]
StartAt = Annotated[str | None, typer.Option("--start-at", metavar="TIME", help="Nothing is due before then.")]
EndAt = Annotated[str | None, typer.Option("--end-at", metavar="TIME", help="Nothing is due then, or later.")]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]
RunName = Annotated[str | None, typer.Option("--run-name", metavar="NAME", help="A label of its runs.")]
Input = Annotated[
    str | None, typer.Option("--input", metavar="JSON", help="Input of its runs: JSON, @FILE, or - (stdin).")
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="JSON", help="Config of its runs: JSON, @FILE, or - (stdin).")
]
Priority = Annotated[int | None, typer.Option("--priority", help="Of its runs; higher starts earlier, -1000 to 1000.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="How long one attempt may take; 0 is without limit."),
]
Retries = Annotated[int | None, typer.Option("--retries", metavar="COUNT", help="Retries after the first attempt.")]
Concurrency = Annotated[
    str | None,
    typer.Option(
        "--concurrency-policy",
        metavar="POLICY",
        help="While its runs have not ended: Allow another (as it is unless given), Forbid, Replace, or Queue.",
    ),
]
CatchUp = Annotated[
    str | None,
    typer.Option(
        "--catch-up",
        metavar="WHICH",
        help="Which missed ones are made up for: none, latest (as it is unless given), or all.",
    ),
]
CatchUpWindow = Annotated[
    str | None,
    typer.Option("--catch-up-window", metavar="DURATION", help="Only those of this last while; 1d unless given."),
]
Jitter = Annotated[str | None, typer.Option("--jitter", metavar="DURATION", help="Runs start up to this much later.")]
MaxRuns = Annotated[int | None, typer.Option("--max-runs", metavar="COUNT", help="It is over after this many runs.")]
MaxStaleness = Annotated[
    str | None,
    typer.Option("--max-staleness", metavar="DURATION", help="It is stale when no run completed for this long."),
]

_MOMENTS = ("at", "anchor", "start_at", "end_at")
_EXAMPLES = {"input": '{"topic": "AI agents"}', "config": '{"batchSize": 100}', "metadata": '{"team": "data"}'}
_OPTIONS = {"timeout_seconds": "timeout", "backoff_limit": "retries", "max_staleness_seconds": "max-staleness"}


def option_of(name: str) -> str:
    """The option, without dashes before it, of what the library calls `name`."""
    return _OPTIONS.get(name, name.replace("_", "-"))


def typed_options(context: typer.Context) -> dict[str, Any]:
    """Those that say what a schedule does, and when, by the library's names; None for what was not typed."""
    from runsd_client.schedule_requests import ScheduleOptions

    return {name: value for name, value in context.params.items() if name in ScheduleOptions.__annotations__}


def read_options(typed: Mapping[str, Any], moments: MomentReader) -> ScheduleOptions:
    """What was typed of `typed`, by the library's names. Raises typer.BadParameter."""
    given = {name: value for name, value in typed.items() if value is not None}
    if "cron" not in given and ("at" in given or "every" in given):
        # It was for reading the times.
        given.pop("timezone", None)
    read: ScheduleOptions = {}
    for name, value in given.items():
        read[name] = _read(name, value, moments)  # type: ignore[literal-required]
    return read


def _read(name: str, value: Any, moments: MomentReader) -> Any:
    option = f"--{option_of(name)}"
    if name in _MOMENTS:
        return moments.read(option, value)
    if name in _EXAMPLES:
        return read_json_option(option, value, _EXAMPLES[name])
    return value
