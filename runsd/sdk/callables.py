"""Finding a callable by module and dotted name."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class NoSuchCallable(Exception):
    """The message says what is missing, and where."""


def put_first_on_path(directory: str) -> None:
    if sys.path[:1] == [""]:  # what `-c` puts there: the working directory, which may be any
        del sys.path[0]
    sys.path.insert(0, directory)


def import_module(name: str) -> ModuleType:
    """Raises NoSuchCallable when there is no such module, and whatever the module itself raises."""
    from importlib import import_module as load

    try:
        return load(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise NoSuchCallable(f"there is no module {error.name!r}") from None
        raise


def find(module: ModuleType, qualname: str) -> Any:
    value: Any = module
    for part in qualname.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise NoSuchCallable(f"module {module.__name__!r} has no {qualname!r}") from None
    if not callable(value):
        raise NoSuchCallable(f"{module.__name__}:{qualname} is {type(value).__name__}, not a callable")
    return value
