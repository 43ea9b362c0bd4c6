"""`runs signal`, `runs approve` and `runs reject`: what a run waits for from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect
from runsd_client.commands.formats import status_style
from runsd_client.commands.options import read_json_option
from runsd_client.commands.terminal import Screen
from runsd_client.errors import FieldViolation, InvalidRequestError
from runsd_client.values import Run

if TYPE_CHECKING:
    from runsd_client.sync_client import RunsClient

SignalName = Annotated[str, typer.Argument(help="The signal's name.", show_default=False)]
ApprovalName = Annotated[str, typer.Argument(help="The approval's name.", show_default=False)]
By = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Who decides; your login name unless given.")]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why, for the record and the run.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="JSON", help="A structured answer, as the approval asks for: JSON, @FILE, or - (stdin)."
    ),
]


def signal(
    run_id: options.RunId,
    name: SignalName,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON", help="What the run gets: JSON, @FILE, or - (stdin).")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", "--idempotency-key", metavar="KEY", help="The same key makes one signal.")
    ] = "",
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{accepted, duplicate, run}")] = False,
) -> None:
    """Send a signal to a run.

    It is kept until the run waits for one of that name, also when it has not begun yet. The exit
    status is 2 when the run has ended.
    """
    value = read_json_option("--payload", payload, '{"approved": true}')
    screen = Screen()
    with connect(address, project, screen) as client, _typed_as_name():
        answer = client.signal(run_id, name, value, idempotency_key=key)
    if answer.duplicate:
        screen.note("the key had made this signal before")
    if as_json:
        screen.json(answer.to_dict())
    else:
        _show(screen, answer.run, f"has signal {name}")


def approve(
    run_id: options.RunId,
    name: ApprovalName,
    by: By = None,
    comment: Comment = "",
    data: Data = None,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the run")] = False,
) -> None:
    """Approve what a run asks for.

    The run goes on. An approval is decided once: the exit status is 2 when it has been, when it has
    expired, or when you may not decide it. The same decision again is no error.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        run = _decide(client, run_id, name, True, by, comment, data)
    _show_decision(screen, run, f"approved {name}", as_json)


def reject(
    run_id: options.RunId,
    name: ApprovalName,
    by: By = None,
    comment: Comment = "",
    data: Data = None,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the run")] = False,
) -> None:
    """Reject what a run asks for.

    The run fails, unless its workflow goes on in another way. An approval is decided once: the exit
    status is 2 when it has been, when it has expired, or when you may not decide it. The same decision
    again is no error.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        run = _decide(client, run_id, name, False, by, comment, data)
    _show_decision(screen, run, f"rejected {name}", as_json)


def _decide(
    client: RunsClient, run_id: str, name: str, approved: bool, by: str | None, comment: str, data: str | None
) -> Run:
    value = read_json_option("--data", data, '{"grade": 2}')
    decide = client.approve if approved else client.reject
    with _typed_as_name():
        return decide(run_id, name, by=options.login_name() if by is None else by, comment=comment, data=value)


def _show_decision(screen: Screen, run: Run, remark: str, as_json: bool) -> None:
    if as_json:
        screen.json(run.to_dict())
    else:
        _show(screen, run, remark)


def _show(screen: Screen, run: Run, remark: str) -> None:
    screen.line((run.run_id, "bold"), (run.status, status_style(run.status)), (remark, "dim"))


@contextmanager
def _typed_as_name() -> Iterator[None]:
    """The name is an argument here, where other commands have an option."""
    try:
        yield
    except InvalidRequestError as error:
        named = [FieldViolation("NAME", v.description) if v.field == "name" else v for v in error.violations]
        raise InvalidRequestError(named, error.message, code=error.code, reason=error.reason) from None
