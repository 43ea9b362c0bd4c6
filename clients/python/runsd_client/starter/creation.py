"""Writes the starter project into a directory. Nothing that is there is changed: all files or none."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

# A leading dot would have it obeyed here, by git and by what packs this library.
_RENAMED = {"gitignore": ".gitignore"}
FILES = (
    "runs.toml",
    "sync_data.py",
    "tasks.py",
    "content.py",
    "README.md",
    "docs/words.md",
    "docs/programs.md",
    "data/zones.csv",
    "gitignore",
)
_ID_LINE = 'id = "starter"'
_MAX_ID_LENGTH = 200


def create_project(directory: Path) -> str:
    """Writes the project, and the directory if there is none; returns the project's id.

    Raises FileExistsError naming a file that is in the way, and other OSErrors.
    """
    project_id = project_id_of(directory)
    contents = _contents(project_id)
    _refuse_to_overwrite(directory, contents)
    with ExitStack() as undo:
        for name, content in contents.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                undo.callback(path.unlink)
                file.write(content)
        undo.pop_all()
    return project_id


def project_id_of(directory: Path) -> str:
    """The directory's name as an id: `My data` is `my-data`."""
    words = re.sub(r"[^a-z0-9_.]+", "-", directory.resolve().name.lower())
    return words.strip("-.")[:_MAX_ID_LENGTH] or "project"


def _contents(project_id: str) -> Mapping[str, bytes]:
    source = files(__package__) / "project"
    contents = {_RENAMED.get(name, name): (source / name).read_bytes() for name in FILES}
    contents["runs.toml"] = contents["runs.toml"].replace(_ID_LINE.encode(), f'id = "{project_id}"'.encode())
    return contents


def _refuse_to_overwrite(directory: Path, contents: Mapping[str, bytes]) -> None:
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is there already, and no directory", str(directory))
    present = [str(directory / name) for name in contents if os.path.lexists(directory / name)]
    if present:
        more = f" (and {len(present) - 1} more)" if len(present) > 1 else ""
        reason = f"is there already{more}; nothing was written. Give another directory: runs init DIR"
        raise FileExistsError(errno.EEXIST, reason, present[0])
