"""Says what a project's Python modules declare; runs in a process of its own, for the daemon.

Started as `python -c "from runsd.sdk.describe import main; main()" PROJECT_DIR REFERENCE…`, where a
reference is a module to look through or a `module:callable` to verify. Prints one JSON document:
`{"declared": [{"kind", "id", "module", "qualname", "file", "options", "faults", "workflow_fault"}],
"schedules": [{"id", "module", "qualname", "file", "options", "faults", "targets"}],
"workflow_faults": {reference: text}, "errors": [{"reference", "message", "file", "line"}]}`. `kind` is task
or workflow; `faults` are the options that are no JSON, with the reason; a workflow fault says why a
callable can be no workflow, and is empty or absent where it can; `targets` are all that the function of a
schedule declares. What user code prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, timedelta, tzinfo
from inspect import iscoroutinefunction, signature

from runsd.sdk.callables import NoSuchCallable, find, import_module, put_first_on_path
from runsd.sdk.declare import ATTRIBUTE, Declaration
from runsd.sdk.documents import NotJson, dumps
from runsd.sdk.failure import location, summary
from runsd.sdk.step_options import Retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any, NoReturn

# Of a schedule: they are taken as they are, and not for what `runs.toml` would have in their place.
_DOCUMENTS = ("input", "config", "metadata")
_SCHEDULE = "schedule"


def main() -> NoReturn:
    answer = _keep_stdout_for_the_answer()
    directory, *references = sys.argv[1:]
    put_first_on_path(directory)
    text = dumps(_describe(directory, references)).encode()
    while text:
        text = text[os.write(answer, text) :]
    sys.stderr.flush()
    os._exit(0)  # threads that user code left running shall not keep the process


def _keep_stdout_for_the_answer() -> int:
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer


def _describe(directory: str, references: list[str]) -> dict[str, Any]:
    declared: list[dict[str, Any]] = []
    schedules: list[dict[str, Any]] = []
    workflow_faults: dict[str, str] = {}
    errors: list[dict[str, Any]] = []
    for reference in references:
        try:
            module, colon, qualname = reference.partition(":")
            loaded = import_module(module)
            if not colon:
                found = list(_declared(loaded))
                declared.extend(_described(*one, loaded) for one in found if one[1].kind != _SCHEDULE)
                schedules.extend(_scheduled(*one, loaded) for one in found if one[1].kind == _SCHEDULE)
            else:
                workflow_faults[reference] = _workflow_fault(find(loaded, qualname))
        except BaseException as error:  # noqa: BLE001 - a module may raise anything, SystemExit too
            errors.append(_error(reference, error, directory))
    return {"declared": declared, "schedules": schedules, "workflow_faults": workflow_faults, "errors": errors}


def _declared(module: ModuleType) -> Iterator[tuple[str, Declaration]]:
    """Each function by one name, its own if it has more than one, with each of its declarations."""
    names: dict[int, str] = {}
    for name, value in vars(module).items():
        if _declarations(value) and (id(value) not in names or name == getattr(value, "__name__", "")):
            names[id(value)] = name
    for name in names.values():
        for declaration in _declarations(getattr(module, name)):
            yield name, declaration


def _declarations(value: Any) -> tuple[Declaration, ...]:
    found = getattr(value, "__dict__", {}).get(ATTRIBUTE)
    return found if isinstance(found, tuple) else ()


def _described(name: str, declaration: Declaration, module: ModuleType) -> dict[str, Any]:
    return {
        "kind": declaration.kind,
        **_as_given(name, declaration, module),
        "workflow_fault": _workflow_fault(getattr(module, name)),
    }


def _scheduled(name: str, declaration: Declaration, module: ModuleType) -> dict[str, Any]:
    others = (other for other in _declarations(getattr(module, name)) if other.kind != _SCHEDULE)
    return {**_as_given(name, declaration, module), "targets": [f"{other.kind}:{other.id}" for other in others]}


def _as_given(name: str, declaration: Declaration, module: ModuleType) -> dict[str, Any]:
    options, faults = {}, {}
    for key, value in declaration.options.items():
        plain = value if key in _DOCUMENTS else _plain(value)
        try:
            dumps(plain)
            options[key] = plain
        except NotJson as error:
            faults[key] = str(error)
    return {
        "id": None if declaration.id is None else str(declaration.id),
        "module": module.__name__,
        "qualname": name,
        "file": getattr(module, "__file__", None) or "",
        "options": options,
        "faults": faults,
    }


def _plain(value: object) -> object:
    """What `runs.toml` would have in its place."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Retry):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tzinfo):
        return str(value)  # a ZoneInfo's is its name
    return value.total_seconds() if isinstance(value, timedelta) else value


def _workflow_fault(function: Any) -> str:
    if not iscoroutinefunction(function) and not iscoroutinefunction(getattr(function, "__call__", None)):
        return "is no `async def`, as a workflow must be"
    try:
        signature(function).bind("context", "input")
    except (TypeError, ValueError):
        return "cannot be called with a workflow's two arguments, its context and the run's input"
    return ""


def _error(reference: str, error: BaseException, directory: str) -> dict[str, Any]:
    file, line = location(error, directory)
    message = str(error) if isinstance(error, NoSuchCallable) else summary(error)
    return {"reference": reference, "message": message, "file": file, "line": line}
