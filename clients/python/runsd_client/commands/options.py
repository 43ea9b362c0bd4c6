"""Options that commands share, and the JSON documents among them."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runsd_client.documents import read_document

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Where the daemon is: unix:/path, /path or host:port. Else RUNSD_ADDRESS, or your own socket.",
    ),
]
Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="ID",
        help="Else RUNSD_PROJECT; not needed where the daemon has one project.",
    ),
]
RunId = Annotated[str, typer.Argument(help="The id of a run.", show_default=False)]
ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The id of a schedule.", show_default=False)]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show its events until it ends; exit as it ended.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait until it ends; exit as it ended.")]
IdempotencyKey = Annotated[str, typer.Option("--idempotency-key", metavar="KEY", help="The same key makes one run.")]
Metadata = Annotated[
    str | None,
    typer.Option("--metadata", metavar="JSON", help='Labels: a JSON object, such as {"team": "a"}.'),
]


def as_json(shape: str) -> Any:
    """The option --json of a command, with what it then writes."""
    return typer.Option("--json", help=f"Write JSON: {shape}.")


def login_name() -> str:
    """Of who types the command; empty where nobody can tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def read_json_option(option: str, text: str | None, example: str) -> Any:
    """The value of JSON, `@FILE`, or `-` or `@-` (stdin); None for None. Raises typer.BadParameter."""
    if text is None:
        return None
    source = _read_source(option, text)
    try:
        return read_document(source) if source else _parse_nothing()
    except RecursionError:
        raise typer.BadParameter("the JSON is nested too deeply; send less of it", param_hint=option) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise typer.BadParameter(
            f"{error.msg} at {where} of {_excerpt(source, error.pos)}; "
            f"write it like {option} '{example}', or {option} @FILE.json",
            param_hint=option,
        ) from None


def _parse_nothing() -> Any:
    raise json.JSONDecodeError("There is no JSON", "", 0)


def _read_source(option: str, text: str) -> str:
    if text != "-" and not text.startswith("@"):
        return text
    try:
        content = sys.stdin.buffer.read() if text in ("-", "@-") else Path(text[1:]).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint=option) from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{text[1:]} is not UTF-8, at byte {error.start}", param_hint=option) from None


def _excerpt(source: str, position: int) -> str:
    start = max(0, position - 20)
    return repr(("…" if start else "") + source[start : position + 20])
