"""Callables of `inprocess` tasks, imported into the daemon itself.

All projects and the daemon share one module namespace: a name that belongs to somebody else is
refused, never silently used. Only modules of `inprocess` tasks may come here.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import FunctionType, ModuleType
from typing import Any

from runsd.model.targets import PythonCallable
from runsd.sdk.callables import NoSuchCallable, find, import_module
from runsd.sdk.failure import location, summary

_OWN = frozenset({"runsd", "runsd_client", "__main__"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_importing = RLock()
_loaded: dict[tuple[Path, PythonCallable], Callable[..., Any]] = {}


class CallableUnavailable(Exception):
    """The module cannot be imported, or has no such callable; the message says why."""


def load_callable(project_dir: Path, reference: PythonCallable) -> Callable[..., Any]:
    """Imports the module with the project directory first on `sys.path`.

    Once imported it stays, as modules do, until `forget_modules`. Modules that the callable imports
    later, when it runs, no longer see the project directory. Raises CallableUnavailable.
    """
    known = _loaded.get((project_dir, reference))
    if known is not None:
        return known
    with _importing:
        function = _load(project_dir, reference)
        _loaded[project_dir, reference] = function
        return function


def _load(project_dir: Path, reference: PythonCallable) -> Callable[..., Any]:
    directory = project_dir.resolve()
    _refuse_foreign(directory, reference.module)
    try:
        with _first_on_path(directory):
            module = import_module(reference.module)
        _refuse_foreign_siblings(directory, module)
        return find(module, reference.qualname)  # type: ignore[no-any-return]
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except (NoSuchCallable, CallableUnavailable) as error:
        raise CallableUnavailable(str(error)) from None
    except BaseException as error:  # a module may raise anything, SystemExit too
        raise CallableUnavailable(_import_failure(reference.module, error, directory)) from error


def forget_modules(project_dir: Path) -> None:
    """Drops the project's modules, so that the next load sees new code; what runs keeps the old."""
    with _importing:
        for known in [known for known in _loaded if known[0] == project_dir]:
            del _loaded[known]
        directory = project_dir.resolve()
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in _OWN and _belongs(module, directory):
                del sys.modules[name]
        importlib.invalidate_caches()


@contextmanager
def _first_on_path(directory: Path) -> Iterator[None]:
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have changed the path itself
            sys.path.remove(str(directory))


def _import_failure(name: str, error: BaseException, directory: Path) -> str:
    file, line = location(error, str(directory))
    where = f" ({file}, line {line})" if file else ""
    return f"module {name!r} cannot be imported: {summary(error)}{where}"


def _refuse_foreign(directory: Path, name: str) -> None:
    top = name.partition(".")[0]
    loaded = sys.modules.get(name) or sys.modules.get(top)
    if top in sys.stdlib_module_names or (loaded is not None and not _belongs(loaded, directory)):
        raise CallableUnavailable(_foreign(top))


def _refuse_foreign_siblings(directory: Path, module: ModuleType) -> None:
    """A module beside this one, whose name was taken already, would have given it somebody else's code."""
    ours = {path.stem for path in directory.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    for value in list(vars(module).values()):
        top = _home(value).partition(".")[0]
        loaded = sys.modules.get(top)
        if top in ours and loaded is not None and not _belongs(loaded, directory):
            del sys.modules[module.__name__]
            raise CallableUnavailable(f"module {module.__name__!r} uses {top!r}, but {_foreign(top)}")


def _home(value: object) -> str:
    """The module that a module's variable is or comes from, where it can be told."""
    if isinstance(value, ModuleType):
        return value.__name__
    return value.__module__ or "" if isinstance(value, (type, FunctionType)) else ""


def _foreign(name: str) -> str:
    where = getattr(sys.modules.get(name), "__file__", None) or "the standard library"
    return (
        f"the name {name!r} is taken in the daemon by {where}; rename the project's module, "
        "or leave out adapter = 'inprocess'"
    )


def _belongs(module: ModuleType, directory: Path) -> bool:
    """Is it code of the project, and not of a virtual environment inside its directory?"""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if not isinstance(file, str):
        return False
    path = Path(file).resolve()
    return path.is_relative_to(directory) and _INSTALLED.isdisjoint(path.relative_to(directory).parts)
