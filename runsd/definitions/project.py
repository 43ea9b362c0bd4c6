"""A project directory to a `Project`: `runs.toml`, and the tasks that its Python modules declare.

What is wrong with one definition is kept with it and takes no other down. Only a `runs.toml` that as
a whole makes no sense is an error.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runsd.definitions.discovery import DeclaredTask, Discovered, discover
from runsd.definitions.tasks import Origin, task_from_decorator, task_from_table, with_problem
from runsd.model.errors import NotPossible
from runsd.model.tables import decode
from runsd.model.targets import Definition, Problem, Project, PythonCallable, is_valid_id

FILE_NAME = "runs.toml"
_FOR_LATER = ("workflows", "schedules")


class ProjectUnreadable(NotPossible):
    """`runs.toml` is missing or as a whole invalid; nothing of the project is known."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("PROJECT_UNREADABLE", "; ".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _ProjectTable:
    id: str
    name: str = ""
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    project: _ProjectTable
    tasks: Mapping[str, Any] = field(default_factory=dict)
    workflows: Any = None
    schedules: Any = None


def load_project(directory: Path) -> Project:
    """Reads the definitions; imports of Python modules happen in another process, for up to 30 s.

    Raises ProjectUnreadable.
    """
    directory = directory.absolute()
    file = _read(directory / FILE_NAME)
    definitions = {
        f"task:{id}": task_from_table(id, raw, _origin_of_table(id, directory)) for id, raw in file.tasks.items()
    }
    modules = tuple(dict.fromkeys(file.project.modules))
    discovered = discover(directory, [*modules, *_references(definitions)])
    _verify_references(definitions, discovered, directory)
    for task in discovered.tasks:
        _add_declared(definitions, task, directory)
    problems = (*_problems_of_modules(discovered, directory), *_problems_of_later_tables(file, directory))
    return Project(file.project.id, directory, dict(sorted(definitions.items())), problems)


def _read(path: Path) -> _File:
    decoded = decode(_File, _toml(path), file=str(path))
    file = decoded.value
    if file is None or decoded.problems:
        raise ProjectUnreadable(decoded.problems)
    if not is_valid_id(file.project.id) or "/" in file.project.id:
        message = f"{file.project.id!r} is no project id; write letters, digits, _, . and -, such as 'sales-data'"
        raise ProjectUnreadable((Problem(str(path), "project.id", message),))
    for module in file.project.modules:
        if not all(part.isidentifier() for part in module.split(".")):
            message = f"{module!r} is no Python module; write its dotted name, such as 'tasks'"
            raise ProjectUnreadable((Problem(str(path), "project.modules", message),))
    return file


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = "there is no such file; a project is a directory with a runs.toml"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:  # TOML's, with line and column, and UTF-8's
        message = f"is not TOML: {error}"
    raise ProjectUnreadable((Problem(str(path), "", message),))


def _origin_of_table(id: str, directory: Path) -> Origin:
    return Origin(directory, str(directory / FILE_NAME), FILE_NAME, f'tasks."{id}"')


def _references(definitions: Mapping[str, Definition]) -> Iterator[str]:
    programs = (definition.program for definition in definitions.values())
    yield from dict.fromkeys(str(program) for program in programs if isinstance(program, PythonCallable))


def _verify_references(definitions: dict[str, Definition], discovered: Discovered, directory: Path) -> None:
    errors = {error.reference: error for error in discovered.errors}
    for target, definition in definitions.items():
        error = errors.get(str(definition.program))
        if error is not None:
            origin = _origin_of_table(definition.target.id, directory)
            definitions[target] = with_problem(definition, origin.problem("python", str(error)))


def _add_declared(definitions: dict[str, Definition], task: DeclaredTask, directory: Path) -> None:
    target = f"task:{task.id}"
    origin = Origin(directory, task.file or task.module, task.module, f'@task("{task.id}")')
    program = PythonCallable(task.module, task.qualname)
    earlier = definitions.get(target)
    if earlier is None:
        definitions[target] = task_from_decorator(task.id, program, task.options, task.faults, origin)
        return
    message = f"{program} declares the id a second time, after {earlier.source}; give one of them another"
    definitions[target] = with_problem(earlier, origin.problem("", message))


def _problems_of_modules(discovered: Discovered, directory: Path) -> Iterator[Problem]:
    for error in discovered.errors:
        if ":" not in error.reference:
            message = f"module {error.reference!r} cannot be used: {error}"
            yield Problem(str(directory / FILE_NAME), "project.modules", message)


def _problems_of_later_tables(file: _File, directory: Path) -> Iterator[Problem]:
    for key in _FOR_LATER:
        if getattr(file, key) is not None:
            yield Problem(str(directory / FILE_NAME), key, "not supported by this version")
