"""Where a definition is declared, and what tasks and workflows write the same way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from runsd.definitions.schemas import schema_fault
from runsd.model.tables import join
from runsd.model.targets import Definition, Problem, PythonCallable, Schema, is_valid_id

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"({_DOTTED}):({_DOTTED})")

SchemaOrPath = Mapping[str, Any] | str | None


class HasSchemas(Protocol):
    @property
    def input_schema(self) -> SchemaOrPath: ...
    @property
    def config_schema(self) -> SchemaOrPath: ...
    @property
    def output_schema(self) -> SchemaOrPath: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """For the `source` of a definition, its problems, and what its paths are relative to."""

    directory: Path
    file: str
    source: str
    key: str

    def problem(self, name: str, message: str) -> Problem:
        """`name` is a key below, dotted where it is further below; empty for the whole."""
        key = self.key
        for part in name.split(".") if name else ():
            key = join(key, part)
        return Problem(self.file, key, message)


class Wrong(Exception):
    """One key is wrong; an empty key is the whole table."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def with_problem(definition: Definition, problem: Problem) -> Definition:
    return replace(definition, problems=(*definition.problems, problem))


def python_callable(text: str) -> PythonCallable:
    """Raises Wrong."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise Wrong("python", f"{text!r} is no callable; write module:callable, such as 'tasks:sync_data'")
    return PythonCallable(match[1], match[2])


def faults_of_id(id: str, origin: Origin) -> list[Problem]:
    if is_valid_id(id):
        return []
    return [origin.problem("", f"{id!r} is no id; ids are letters, digits, _, . and -, nested with /")]


@dataclass(frozen=True, slots=True)
class Schemas:
    input: Schema | None
    config: Schema | None
    output: Schema | None

    @classmethod
    def of(cls, options: HasSchemas, origin: Origin, problems: list[Problem]) -> Schemas:
        """Those of a definition; what is wrong is added to `problems`."""

        def read(key: str, given: SchemaOrPath) -> Schema | None:
            try:
                return schema_of(given, origin.directory)
            except ValueError as error:
                problems.append(origin.problem(key, str(error)))
                return None

        return cls(
            read("input_schema", options.input_schema),
            read("config_schema", options.config_schema),
            read("output_schema", options.output_schema),
        )


def schema_of(given: SchemaOrPath, directory: Path) -> Schema | None:
    """Raises ValueError saying what is wrong with it."""
    schema = _read_schema(given, directory) if isinstance(given, str) else given
    fault = "" if schema is None else schema_fault(schema)
    if fault:
        raise ValueError(f"is not a JSON Schema: {fault}")
    return schema


def _read_schema(name: str, directory: Path) -> Schema:
    file = (directory / name).resolve()
    if not file.is_relative_to(directory.resolve()) or file.suffix != ".json":
        raise ValueError(f"expected a table, or the path of a .json file in the project, found {name!r}")
    try:
        schema = json.loads(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError(f"{name} must hold a JSON object")
    return schema
