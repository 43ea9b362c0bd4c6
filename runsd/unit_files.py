"""The systemd units: which of the two fits, with the path of this installation's command.

They are written for a package in /usr/bin; all that changes on installing is the path in ExecStart=.
A file that is there and says something else is somebody's work, and is not overwritten unasked.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

NAME = "runsd.service"
PACKAGED_COMMAND = "/usr/bin/runsd"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,=~")


class CannotInstall(Exception):
    """Says what is in the way, and what would help."""


class Written(Enum):
    NEW = "wrote"
    REPLACED = "replaced"
    UNCHANGED = "is up to date:"


@dataclass(frozen=True, slots=True)
class UnitFile:
    path: Path
    text: str

    def write(self, *, force: bool) -> Written:
        """Raises CannotInstall."""
        try:
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._write()
                return Written.NEW
            if self.path.read_bytes() == self.text.encode():
                return Written.UNCHANGED
            if not force:
                raise CannotInstall(f"{self.path} is there and differs; --force replaces it, --print shows the new one")
            self._write()
        except OSError as error:
            raise CannotInstall(f"{error.filename or self.path} cannot be written: {error.strerror}") from error
        return Written.REPLACED

    def _write(self) -> None:
        # All or nothing: systemd may read it at any time.
        unfinished = self.path.with_name(f".{NAME}.{os.getpid()}")
        unfinished.write_text(self.text, encoding="utf-8")
        unfinished.replace(self.path)


def unit_file(*, user: bool, environ: Mapping[str, str]) -> UnitFile:
    """The unit for this installation. Raises CannotInstall."""
    template = (_templates() / ("user" if user else "") / NAME).read_text(encoding="utf-8")
    text = template.replace(f"ExecStart={PACKAGED_COMMAND} ", f"ExecStart={_quoted(str(_command()))} ")
    return UnitFile(_directory(environ) / NAME if user else Path("/etc/systemd/system", NAME), text)


def next_commands(*, user: bool) -> tuple[str, ...]:
    """What to type after the unit is written."""
    systemctl = "systemctl --user" if user else "systemctl"
    edit = f"{systemctl} edit runsd              # [Service] Environment=RUNSD_PROJECTS=/path/of/a/project"
    commands = (f"{systemctl} daemon-reload", edit, f"{systemctl} enable --now runsd")
    if user:
        return (*commands, "loginctl enable-linger                # or it ends when you log out")
    return (*commands, "export RUNSD_ADDRESS=unix:/run/runsd/runsd.sock")


def _templates() -> Path:
    """In a wheel they are beside the code, in a checkout where people look for them."""
    package = Path(__file__).parent
    packaged = package / "units"
    return packaged if packaged.is_dir() else package.parent / "systemd"


def _command() -> Path:
    """`runsd` of the environment that executes this. Raises CannotInstall."""
    # Not resolved: the interpreter of a virtual environment is a link out of it.
    places = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    for place in places:
        if os.access(place / "runsd", os.X_OK):
            return place / "runsd"
    raise CannotInstall(
        f"there is no command `runsd` in {' or '.join(map(str, dict.fromkeys(places)))}; install it there"
    )


def _directory(environ: Mapping[str, str]) -> Path:
    config_home = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (config_home if config_home.is_absolute() else Path.home() / ".config") / "systemd/user"


def _quoted(path: str) -> str:
    """As systemd.syntax(7) wants a path that it would otherwise split or expand."""
    if set(path) <= _PLAIN:
        return path
    if not path.isprintable():
        raise CannotInstall(f"{path!r} cannot be named in a unit")
    escaped = path.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%")
    return f'"{escaped}"'
