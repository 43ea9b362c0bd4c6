"""The `runsd` command: serve, and check what would be served.

Exit status: 0 well, 1 a failure while serving, 2 wrong usage, settings or definitions.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from runsd.config import SettingsInvalid, load_settings
from runsd.definitions.catalog import Catalog
from runsd.definitions.project import FILE_NAME, ProjectUnreadable, load_project
from runsd.logs import configure_logs
from runsd.model.settings import OnStop, Settings
from runsd.model.targets import Problem, Project

logger = structlog.get_logger()

app = typer.Typer(
    help="A local engine for durable runs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with settings.", show_default=False)
]
Projects = Annotated[
    list[Path] | None,
    typer.Option(
        "--project",
        metavar="DIR",
        help="A directory with a runs.toml; may be repeated. Else this one, if it has one.",
    ),
]
StateDirectory = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Where everything is kept.", show_default=False)
]
Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="ADDRESS", help="unix:/path or 127.0.0.1:PORT; may be repeated."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from runsd import __version__

        typer.echo(f"runsd {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None: ...


@app.command()
def serve(
    config: ConfigFile = None,
    project: Projects = None,
    state_dir: StateDirectory = None,
    listen: Listen = None,
    on_stop: Annotated[
        OnStop | None, typer.Option("--on-stop", help="What becomes of runs at SIGTERM.", show_default="leave")
    ] = None,
) -> None:
    """Serve projects until SIGTERM. SIGHUP reads definitions anew. Processes of runs go on unless told otherwise."""
    settings = _settings(config, project, state_dir, listen, on_stop)
    catalog, problems = _catalog(settings)
    configure_logs(settings.log_format, settings.log_level)
    for problem in problems:
        logger.warning("broken definition", problem=str(problem))
    if not catalog.projects:
        logger.warning("no project is served; give --project DIR")
    from runsd import daemon

    try:
        asyncio.new_event_loop().run_until_complete(daemon.serve(settings, catalog))
    except* daemon.EXPECTED as group:
        _print_problems(group.exceptions)
        _leave(1)
    _leave(0)


@app.command()
def check(
    config: ConfigFile = None,
    project: Projects = None,
    state_dir: StateDirectory = None,
    listen: Listen = None,
) -> None:
    """Say what is wrong with the settings and the definitions, with file and key."""
    settings = _settings(config, project, state_dir, listen)
    catalog, problems = _catalog(settings)
    _print_problems(problems)
    for one in catalog.projects:
        schedules = f", {_count(len(one.schedules), 'schedule')}" if one.schedules else ""
        typer.echo(f"{one.id}: {_count(len(one.definitions), 'target')}{schedules} in {one.directory}")
    if problems:
        raise typer.Exit(2)
    if not catalog.projects:
        _fail(["there is nothing to check; give --project DIR, or projects in the settings"], status=2)


@app.command()
def verify(
    state_dir: Annotated[Path, typer.Argument(help="A state directory, with a daemon on it or not.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read artifacts and indices as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Hold a state directory against what runsd promises of it; exit status 1 if anything is violated."""
    from runsd.verify_command import NotVerifiable, StoreTooNew, verify_and_print

    try:
        is_sound = verify_and_print(state_dir, deep=deep, as_json=as_json)
    except (NotVerifiable, StoreTooNew) as error:
        _fail([error], status=2)
    raise typer.Exit(0 if is_sound else 1)


@app.command()
def install_unit(
    user: Annotated[bool, typer.Option("--user", help="A service of yours rather than of the machine.")] = False,
    only_print: Annotated[bool, typer.Option("--print", help="Print the unit; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that says something else.")] = False,
) -> None:
    """Write the systemd unit for this installation, and say what to do next."""
    from runsd.unit_files import CannotInstall, next_commands, unit_file

    try:
        unit = unit_file(user=user, environ=os.environ)
        if only_print:
            typer.echo(unit.text, nl=False)
            return
        typer.echo(f"{unit.write(force=force).value} {unit.path}\n\nNow:")
    except CannotInstall as error:
        _fail([error], status=1)
    for command in next_commands(user=user):
        typer.echo(f"  {command}")


def main() -> None:
    app()


def _settings(
    config: Path | None,
    projects: list[Path] | None,
    state_dir: Path | None,
    listen: list[str] | None,
    on_stop: OnStop | None = None,
) -> Settings:
    overrides = {
        "projects": [str(path) for path in projects] if projects else None,
        "state_dir": str(state_dir) if state_dir else None,
        "listen": listen or None,
        "on_stop": on_stop.value if on_stop else None,
    }
    try:
        settings = load_settings(config, os.environ, overrides)
    except SettingsInvalid as error:
        _fail(error.problems, status=2)
    if not settings.projects and Path(FILE_NAME).is_file():
        return replace(settings, projects=(Path.cwd(),))
    return settings


def _catalog(settings: Settings) -> tuple[Catalog, list[Problem]]:
    """The projects, and what is wrong with some of their definitions. Unreadable ones end the command."""
    projects: list[Project] = []
    unreadable: list[Problem] = []
    for directory in settings.projects:
        try:
            projects.append(load_project(directory))
        except ProjectUnreadable as error:
            unreadable.extend(error.problems)
    if unreadable:
        _fail(unreadable, status=2)
    try:
        return Catalog(projects), [problem for one in projects for problem in one.all_problems()]
    except ValueError as error:
        _fail([error], status=2)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _leave(status: int) -> NoReturn:
    """At once: all is written and let go of, and code of users that does not end shall not hold us up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _print_problems(problems: Iterable[object]) -> None:
    for problem in problems:
        typer.echo(f"runsd: {problem}", err=True)


def _fail(problems: Iterable[object], status: int) -> NoReturn:
    _print_problems(problems)
    sys.exit(status)


if __name__ == "__main__":
    main()
