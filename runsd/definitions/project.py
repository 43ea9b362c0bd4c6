"""A project directory to a `Project`: `runs.toml`, and what its Python modules declare.

What is wrong with one definition is kept with it and takes no other down. Only a `runs.toml` that as
a whole makes no sense is an error.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runsd.definitions.discovery import Declared, Discovered, discover
from runsd.definitions.origin import Origin, with_problem
from runsd.definitions.schedules import Targets, load_schedules
from runsd.definitions.tasks import task_from_decorator, task_from_table
from runsd.definitions.workflows import with_targets_checked, workflow_from_decorator, workflow_from_table
from runsd.model.errors import NotPossible
from runsd.model.tables import decode
from runsd.model.targets import Definition, Problem, Project, PythonCallable, RunKind, is_valid_id

FILE_NAME = "runs.toml"
_FROM_TABLE = {RunKind.TASK: task_from_table, RunKind.WORKFLOW: workflow_from_table}
_FROM_DECORATOR = {RunKind.TASK: task_from_decorator, RunKind.WORKFLOW: workflow_from_decorator}


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
    workflows: Mapping[str, Any] = field(default_factory=dict)
    schedules: Mapping[str, Any] = field(default_factory=dict)


def load_project(directory: Path) -> Project:
    """Reads the definitions; imports of Python modules happen in another process, for up to 30 s.

    Raises ProjectUnreadable.
    """
    directory = directory.absolute()
    file = _read(directory / FILE_NAME)
    loaded = _Loaded(directory)
    for kind, tables in ((RunKind.TASK, file.tasks), (RunKind.WORKFLOW, file.workflows)):
        for id, raw in tables.items():
            loaded.add_table(kind, id, raw)
    modules = tuple(dict.fromkeys(file.project.modules))
    discovered = discover(directory, [*modules, *loaded.references()])
    loaded.verify(discovered)
    for declared in discovered.declared:
        loaded.add_declared(declared)
    loaded.check_targets()
    unread = tuple(_problems_of_modules(discovered, directory))
    definitions = dict(sorted(loaded.definitions.items()))
    targets = Targets(definitions, are_all_known=not unread)
    schedules = load_schedules(directory / FILE_NAME, file.schedules, discovered.schedules, targets)
    return Project(file.project.id, directory, definitions, unread=unread, schedules=schedules)


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


@dataclass(slots=True)
class _Loaded:
    """The definitions so far, by target, and where each is declared."""

    directory: Path
    definitions: dict[str, Definition] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def add_table(self, kind: RunKind, id: str, raw: object) -> None:
        origin = Origin(self.directory, str(self.directory / FILE_NAME), FILE_NAME, f'{kind.value}s."{id}"')
        self._add(_FROM_TABLE[kind](id, raw, origin), origin)

    def add_declared(self, declared: Declared) -> None:
        target = f"{declared.kind.value}:{declared.id}"
        key = f'@{declared.kind.value}("{declared.id}")'
        origin = Origin(self.directory, declared.file or declared.module, declared.module, key)
        program = PythonCallable(declared.module, declared.qualname)
        earlier = self.definitions.get(target)
        if earlier is not None:
            message = f"{program} declares the id a second time, after {earlier.source}; give one of them another"
            self.definitions[target] = with_problem(earlier, origin.problem("", message))
            return
        definition = _FROM_DECORATOR[declared.kind](declared.id, program, declared.options, declared.faults, origin)
        if declared.kind is RunKind.WORKFLOW and declared.workflow_fault:
            definition = with_problem(definition, origin.problem("", f"{program} {declared.workflow_fault}"))
        self._add(definition, origin)

    def _add(self, definition: Definition, origin: Origin) -> None:
        self.definitions[str(definition.target)] = definition
        self.origins[str(definition.target)] = origin

    def references(self) -> Iterator[str]:
        programs = (definition.program for definition in self.definitions.values())
        yield from dict.fromkeys(str(program) for program in programs if isinstance(program, PythonCallable))

    def verify(self, discovered: Discovered) -> None:
        errors = {error.reference: str(error) for error in discovered.errors}
        for target, definition in self.definitions.items():
            if not isinstance(definition.program, PythonCallable):
                continue
            reference = str(definition.program)
            fault = errors.get(reference, "")
            if not fault and definition.target.kind is RunKind.WORKFLOW and discovered.workflow_faults.get(reference):
                fault = f"{reference} {discovered.workflow_faults[reference]}"
            if fault:
                self.definitions[target] = with_problem(definition, self.origins[target].problem("python", fault))

    def check_targets(self) -> None:
        for target, definition in self.definitions.items():
            if definition.target.kind is RunKind.WORKFLOW:
                self.definitions[target] = with_targets_checked(definition, self.definitions, self.origins[target])


def _problems_of_modules(discovered: Discovered, directory: Path) -> Iterator[Problem]:
    for error in discovered.errors:
        if ":" not in error.reference:
            message = f"module {error.reference!r} cannot be used: {error}"
            yield Problem(str(directory / FILE_NAME), "project.modules", message)
