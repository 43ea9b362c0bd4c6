"""Says what a project's Python modules declare; runs in a process of its own, for the daemon.

Started as `python -c "from runsd.sdk.describe import main; main()" PROJECT_DIR REFERENCE…`, where a
reference is a module to look through or a `module:callable` to verify. Prints one JSON document:
`{"tasks": [{"id", "module", "qualname", "file", "options", "faults"}], "errors": [{"reference",
"message", "file", "line"}]}`; `faults` are the options that are no JSON, with the reason. What user
code prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from runsd.sdk.callables import NoSuchCallable, find, import_module, put_first_on_path
from runsd.sdk.declare import ATTRIBUTE, TaskDeclaration
from runsd.sdk.documents import NotJson, dumps
from runsd.sdk.failure import location, summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any, NoReturn


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
    tasks: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for reference in references:
        try:
            tasks.extend(_examine(reference))
        except BaseException as error:  # noqa: BLE001 - a module may raise anything, SystemExit too
            errors.append(_error(reference, error, directory))
    return {"tasks": tasks, "errors": errors}


def _examine(reference: str) -> list[dict[str, Any]]:
    module, colon, qualname = reference.partition(":")
    loaded = import_module(module)
    if colon:
        find(loaded, qualname)
        return []
    return [_task(name, function, loaded) for name, function in _declared(loaded)]


def _declared(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Each function once, under its own name if it has more than one."""
    names: dict[int, str] = {}
    for name, value in vars(module).items():
        declared = isinstance(getattr(value, "__dict__", {}).get(ATTRIBUTE), TaskDeclaration)
        if declared and (id(value) not in names or name == getattr(value, "__name__", "")):
            names[id(value)] = name
    for name in names.values():
        yield name, getattr(module, name)


def _task(name: str, function: Any, module: ModuleType) -> dict[str, Any]:
    declaration: TaskDeclaration = getattr(function, ATTRIBUTE)
    options, faults = {}, {}
    for key, value in declaration.options.items():
        plain = dict(value) if isinstance(value, Mapping) else value
        try:
            dumps(plain)
            options[key] = plain
        except NotJson as error:
            faults[key] = str(error)
    return {
        "id": str(declaration.id),
        "module": module.__name__,
        "qualname": name,
        "file": getattr(module, "__file__", None) or "",
        "options": options,
        "faults": faults,
    }


def _error(reference: str, error: BaseException, directory: str) -> dict[str, Any]:
    file, line = location(error, directory)
    message = str(error) if isinstance(error, NoSuchCallable) else summary(error)
    return {"reference": reference, "message": message, "file": file, "line": line}
