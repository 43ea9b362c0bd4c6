"""The daemon's settings from defaults, a TOML file, `RUNSD_*` variables and the command line.

The later of these wins, setting by setting. Every problem is reported, with the file and key or the
variable at fault; settings with problems are never used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from runsd.model.settings import ListenAddress, Settings
from runsd.model.tables import Decoded, decode, leaves, nearest
from runsd.model.targets import Problem

__all__ = ["Settings", "SettingsInvalid", "load_settings", "variables"]

ENVIRONMENT = "environment"
COMMAND_LINE = "command line"

# What a run's process is given (a daemon that is started by a run sees them too), and the tests' own.
_OF_THE_CONTRACT = frozenset(
    f"RUNSD_{name}"
    for name in (
        *("RUN_ID", "PROJECT", "TARGET", "ATTEMPT", "INPUT", "CONFIG", "OUTPUT", "ERROR", "EVENTS"),
        *("ARTIFACTS", "STATE", "ADDRESS", "API_TOKEN", "CRASH_AT", "EVENT_BYTES"),
    )
)
_PLACEHOLDERS = {"state_dir": "/", "listen": []}
_SEPARATORS = {"RUNSD_LISTEN": ",", "RUNSD_PROJECTS": ":"}


class SettingsInvalid(Exception):
    """What is wrong with the settings, all of it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings from one origin: raw values by dotted key, and what is wrong with them."""

    values: Mapping[str, object]
    problems: tuple[Problem, ...] = ()


def load_settings(file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """`overrides` are by dotted key (`limits.max_running`); those that are None do not count.

    Relative paths in the file are relative to its directory, others to the working directory.
    Raises SettingsInvalid.
    """
    layers = [_of_variables(environ), _of_command_line(overrides)]
    file = file or _file_of_the_service(environ)
    if file is not None:
        layers.insert(0, _of_file(file))
    values: dict[str, object] = {}
    for layer in layers:
        values.update(layer.values)
    layers.append(_of_defaults(environ, values))
    problems = tuple(problem for layer in layers for problem in layer.problems)
    if problems:
        raise SettingsInvalid(problems)
    return _settled(decode(Settings, _nested({**layers[-1].values, **values}), file="settings"))


def variables() -> dict[str, str]:
    """The variable of every setting: its name to the dotted key."""
    return {f"RUNSD_{key.upper().replace('.', '_')}": key for key in leaves(Settings)}


def _settled(decoded: Decoded[Settings]) -> Settings:
    """Checks what concerns more than one setting."""
    settings, problems = decoded.value, list(decoded.problems)
    if settings is not None and not settings.listen:
        problems.append(Problem("settings", "listen", "needs at least one address"))
    if settings is not None and settings.retry.initial_delay_seconds > settings.retry.max_delay_seconds:
        message = f"must be at least retry.initial_delay_seconds, which is {settings.retry.initial_delay_seconds:.15g}"
        problems.append(Problem("settings", "retry.max_delay_seconds", message))
    if settings is None or problems:
        raise SettingsInvalid(tuple(problems))
    return settings


def _file_of_the_service(environ: Mapping[str, str]) -> Path | None:
    """`runsd.toml` in the directory of a systemd unit's ConfigurationDirectory=, if it is there."""
    directory = _of_the_service(environ, "CONFIGURATION_DIRECTORY")
    return file if directory and (file := directory / "runsd.toml").exists() else None


def _of_the_service(environ: Mapping[str, str], name: str) -> Path | None:
    """The (first) directory that systemd made for the unit; see systemd.exec(5)."""
    first = environ.get(name, "").partition(":")[0]
    return Path(first) if first else None


def _of_defaults(environ: Mapping[str, str], given: Mapping[str, object]) -> _Layer:
    """Only of what is not given: a default that cannot be had is no problem when it is not needed."""
    state_home = Path(environ.get("XDG_STATE_HOME", ""))
    base = state_home if state_home.is_absolute() else Path.home() / ".local/state"
    values: dict[str, object] = {"state_dir": str(_of_the_service(environ, "STATE_DIRECTORY") or base / "runsd")}
    if "listen" in given:
        return _Layer(values)
    if directory := _of_the_service(environ, "RUNTIME_DIRECTORY"):
        return _Layer({**values, "listen": [f"unix:{directory}/runsd.sock"]})
    from runsd_client.address import default_address
    from runsd_client.errors import ConfigurationError

    try:
        address = default_address(environ)
        ListenAddress.parse(address)
    except (ConfigurationError, ValueError) as error:
        return _Layer(
            values,
            (Problem(ENVIRONMENT, "RUNSD_LISTEN", f"is not set, and the default cannot be used: {error}"),),
        )
    return _Layer({**values, "listen": [address]})


def _of_file(file: Path) -> _Layer:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        return _Layer({}, (Problem(str(file), "", f"cannot be read: {error.strerror}"),))
    except (ValueError, RecursionError) as error:  # TOML's and UTF-8's
        return _Layer({}, (Problem(str(file), "", f"is not TOML: {error}"),))
    return _checked(table, str(file), {}, file.absolute().parent)


def _of_variables(environ: Mapping[str, str]) -> _Layer:
    known = variables()
    values: dict[str, object] = {}
    unknown = []
    for name, text in environ.items():
        if not name.startswith("RUNSD_") or name in _OF_THE_CONTRACT:
            continue
        if name not in known:
            unknown.append(Problem(ENVIRONMENT, name, f"unknown variable; {nearest(name, known, 'variables')}"))
        elif text:
            values[known[name]] = _from_text(leaves(Settings)[known[name]], text, _SEPARATORS.get(name, ","))
    layer = _checked(_nested(values), ENVIRONMENT, {key: name for name, key in known.items()}, Path.cwd())
    return _Layer(layer.values, (*unknown, *layer.problems))


def _of_command_line(overrides: Mapping[str, object]) -> _Layer:
    values = {key: _raw(value) for key, value in overrides.items() if value is not None}
    return _checked(_nested(values), COMMAND_LINE, {}, Path.cwd())


def _checked(table: Mapping[str, object], file: str, names: Mapping[str, str], base: Path) -> _Layer:
    """Checks one layer alone; `names` are what its keys are called there."""
    problems = decode(Settings, {**_PLACEHOLDERS, **table}, file=file).problems
    renamed = (Problem(p.file, _renamed(p.key, names), p.message) for p in problems)
    values = {key: _placed(key, value, base) for key, value in _flat(table).items()}
    return _Layer(values, tuple(renamed))


def _renamed(key: str, names: Mapping[str, str]) -> str:
    setting, bracket, index = key.partition("[")
    return f"{names[setting]}{bracket}{index}" if setting in names else key


def _placed(key: str, value: object, base: Path) -> object:
    """Paths made absolute, where they are texts at all."""
    if key == "state_dir" and isinstance(value, str):
        return _absolute(value, base)
    if key == "projects" and isinstance(value, list):
        return [_absolute(item, base) if isinstance(item, str) else item for item in value]
    return value


def _absolute(text: str, base: Path) -> str:
    try:
        return str(base / Path(text).expanduser())
    except RuntimeError:  # there is no such home
        return str(base / text)


def _from_text(annotation: Any, text: str, separator: str) -> object:
    """A variable's text as the TOML value that it stands for; as it is when it cannot be one."""
    if get_origin(annotation) is Annotated:
        return _from_text(get_args(annotation)[0], text, separator)
    if get_origin(annotation) is tuple:
        return [part.strip() for part in text.split(separator) if part.strip()]
    try:
        return annotation(text) if annotation in (int, float) else text
    except ValueError:
        return text


def _raw(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_raw(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _flat(table: Mapping[str, object]) -> dict[str, object]:
    """The settings in a table, by dotted key."""
    found: dict[str, object] = {}
    for key in leaves(Settings):
        *groups, name = key.split(".")
        inner: Any = table
        for group in groups:
            inner = inner.get(group, {}) if isinstance(inner, Mapping) else {}
        if isinstance(inner, Mapping) and name in inner:
            found[key] = inner[name]
    return found


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    root: dict[str, object] = {}
    for key, value in values.items():
        *groups, name = key.split(".")
        table: Any = root
        for group in groups:
            table = table.setdefault(group, {})
        table[name] = value
    return root
