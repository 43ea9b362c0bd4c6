"""Files that a run leaves. A file under its final name is always whole.

Content is written under a hidden name in the same directory tree and then renamed; names whose first
part begins with `HIDDEN_PREFIX` are never artifacts.
"""

from __future__ import annotations

import os
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

HIDDEN_PREFIX = ".runsd-"


def save(
    directory: str | PathLike[str], name: str, content: bytes | bytearray | memoryview | str | PathLike[str]
) -> None:
    _check_name(name)
    root = Path(directory)
    temporary = root / f"{HIDDEN_PREFIX}{os.urandom(8).hex()}"
    try:
        if isinstance(content, (bytes, bytearray, memoryview)):
            temporary.write_bytes(content)
        else:
            _copy(content, temporary)
        final = root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: str | PathLike[str], to: Path) -> None:
    from shutil import copyfile

    copyfile(source, to)


def _check_name(name: str) -> None:
    fault = _fault_of(name)
    if fault:
        raise ValueError(f"{name!r} cannot name an artifact: {fault}; write a relative path such as 'reports/may.csv'")


def _fault_of(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/"):
        return "it is absolute"
    if not all(parts):
        return "a part of it is empty"
    if "." in parts or ".." in parts:
        return "'.' and '..' are not allowed"
    if parts[0].startswith(HIDDEN_PREFIX):
        return f"names that begin with {HIDDEN_PREFIX!r} are runsd's own"
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        return "it is not UTF-8 text"
    return ""
