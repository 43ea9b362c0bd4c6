"""`runs start` and `runs retry`: create runs, and perhaps stay until they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect, run_goes_on
from runsd_client.commands.event_display import EventDisplay
from runsd_client.commands.exit_status import status_of_run
from runsd_client.commands.formats import show_ending
from runsd_client.commands.options import read_json_option
from runsd_client.commands.terminal import Screen
from runsd_client.values import CreateAnswer, Run, TriggerKind

if TYPE_CHECKING:
    from runsd_client.sync_client import RunsClient


Target = Annotated[str, typer.Argument(help="task:<id> or workflow:<id>.", show_default=False)]
Input = Annotated[
    str | None, typer.Option("--input", metavar="JSON", help="What it works on: JSON, @FILE, or - (stdin).")
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="JSON", help="How it does it: JSON, @FILE, or - (stdin).")
]
Name = Annotated[str, typer.Option("--name", help="A label for people.")]
Priority = Annotated[int, typer.Option("--priority", help="Higher starts earlier, -1000 to 1000.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="How long one attempt may take; 0 is without limit."),
]
Retries = Annotated[int | None, typer.Option("--retries", metavar="COUNT", help="Retries after the first attempt.")]
Delay = Annotated[
    float,
    typer.Option("--delay", metavar="SECONDS", help="Do not start before that many seconds.", show_default=False),
]
Expires = Annotated[
    float,
    typer.Option("--expires", metavar="SECONDS", help="Fail unless started in that many seconds.", show_default=False),
]
ConcurrencyKey = Annotated[
    str,
    typer.Option("--concurrency-key", metavar="KEY", help="Of the runs with the key, one executes at a time."),
]
AnswerAsJson = Annotated[
    bool,
    options.as_json("{accepted, duplicate, run}; with --wait the run; with --follow an event a line, and last the run"),
]


def start(
    target: Target,
    input: Input = None,
    config: Config = None,
    metadata: options.Metadata = None,
    name: Name = "",
    priority: Priority = 0,
    idempotency_key: options.IdempotencyKey = "",
    timeout: Timeout = None,
    retries: Retries = None,
    delay: Delay = 0.0,
    expires: Expires = 0.0,
    concurrency_key: ConcurrencyKey = "",
    follow: options.Follow = False,
    wait: options.Wait = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: AnswerAsJson = False,
) -> None:
    """Create a run.

    Writes its id, and returns at once unless told to --follow or --wait: then the exit status is 0
    for a run that completed, 1 failed, 3 cancelled. It is 2 where no run was made.
    """
    from runsd_client.requests import NewRun

    run = NewRun(
        target=target,
        name=name,
        input=read_json_option("--input", input, '{"topic": "AI agents"}'),
        config=read_json_option("--config", config, '{"batchSize": 100}'),
        metadata=read_json_option("--metadata", metadata, '{"team": "data"}'),
        timeout_seconds=timeout,
        backoff_limit=retries,
        idempotency_key=idempotency_key,
        priority=priority,
        concurrency_key=concurrency_key,
        start_after_seconds=delay,
        expires_after_seconds=expires,
        trigger_kind=TriggerKind.MANUAL,
        created_by=options.login_name(),
    )
    screen = Screen()
    with connect(address, project, screen) as client:
        after_creation(client.create(run), client, screen, follow=follow, wait=wait, as_json=as_json)


def retry(
    run_id: options.RunId,
    from_failed_step: Annotated[
        bool,
        typer.Option(
            "--from-failed-step", help="Of a workflow: keep the completed steps, go on with the one that failed."
        ),
    ] = False,
    idempotency_key: options.IdempotencyKey = "",
    follow: options.Follow = False,
    wait: options.Wait = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: AnswerAsJson = False,
) -> None:
    """Run again what failed or was cancelled.

    The answer is a new run of the same target and documents. A workflow begins anew, or goes on with
    --from-failed-step.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        answer = client.retry(run_id, from_failed_step=from_failed_step, idempotency_key=idempotency_key)
        after_creation(answer, client, screen, follow=follow, wait=wait, as_json=as_json)


def after_creation(
    answer: CreateAnswer, client: RunsClient, screen: Screen, *, follow: bool, wait: bool, as_json: bool
) -> None:
    """Shows the new run, and if asked stays and exits as it ends."""
    run_id = answer.run.run_id
    if answer.duplicate:
        screen.note(f"the key had made run {run_id} before")
    if not (follow or wait):
        _show_answer(answer, screen, as_json)
        return
    with run_goes_on(run_id, screen):
        if follow and not as_json:
            screen.note(f"run {run_id}")
        run = follow_events(client, run_id, screen, as_json) if follow else client.wait(run_id)
    if as_json:
        screen.json(run.to_dict(), in_stream=follow)
    else:
        show_ending(screen, run)
    raise typer.Exit(status_of_run(run.status))


def _show_answer(answer: CreateAnswer, screen: Screen, as_json: bool) -> None:
    run_id = answer.run.run_id
    if as_json:
        screen.json(answer.to_dict())
        return
    screen.line((run_id, "bold"))
    if screen.is_terminal:
        screen.note(f"follow it with `runs events {run_id} --follow`")


def follow_events(client: RunsClient, run_id: str, screen: Screen, as_json: bool, after_event_id: int = 0) -> Run:
    """Shows events as they come, to the terminal one; returns the run as it ended."""
    with EventDisplay(screen, followed=run_id) as display:
        for event in client.follow(run_id, after_event_id=after_event_id):
            if as_json:
                screen.json(event.to_dict(), in_stream=True)
            else:
                display.show(event)
    return client.get(run_id)
