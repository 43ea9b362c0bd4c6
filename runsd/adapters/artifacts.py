"""The files that an attempt leaves: found, measured, and read back without leaving their directory.

Only regular files count. Links, devices, sockets and pipes are passed over and told; a name can lead
nowhere else, also when the tree is changed while it is read.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from runsd.adapters.regular_file import open_regular
from runsd.model.events import is_utf8
from runsd.model.record import Artifact
from runsd.sdk.artifacts import HIDDEN_PREFIX

MAX_ARTIFACTS = 10_000
MAX_NAME_BYTES = 1024
MAX_DEPTH = 32
MAX_TOLD = 100
CHUNK_BYTES = 256 << 10
DEFAULT_MEDIA_TYPE = "application/octet-stream"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Collected:
    """`passed_over` has a line for each entry that is no artifact, saying why."""

    artifacts: list[Artifact]
    passed_over: list[str]


def is_empty(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


def collect(directory: Path, attempt: int) -> Collected:
    """All artifacts below a directory. Reads every file; to be called in a thread."""
    if directory.is_symlink() or not directory.is_dir():
        return Collected([], ["RUNSD_ARTIFACTS is no directory any more"])
    collected = Collected([], [])
    for name, fault in _walk(directory):
        fault = fault or _fault(name, len(collected.artifacts))
        try:
            if not fault:
                collected.artifacts.append(_measured(directory, name, attempt))
        except OSError as error:
            fault = error.strerror or str(error)
        if fault and len(collected.passed_over) < MAX_TOLD:
            collected.passed_over.append(f"{name!r} is no artifact: {fault}")
    return collected


def _fault(name: str, count: int) -> str:
    if not is_utf8(name) or len(name.encode()) > MAX_NAME_BYTES:
        return f"its name is not UTF-8 of at most {MAX_NAME_BYTES} bytes"
    return f"there are more than {MAX_ARTIFACTS:,}" if count >= MAX_ARTIFACTS else ""


def _walk(directory: Path) -> Iterator[tuple[str, str]]:
    """Names in order, with what is wrong with those that are no regular files."""
    folders = [""]
    while folders:
        prefix = folders.pop()
        try:
            with os.scandir(directory / prefix) as entries:
                found = sorted(entries, key=lambda e: e.name)
        except OSError as error:
            yield prefix, error.strerror or str(error)
            continue
        for entry in found:
            name = f"{prefix}{entry.name}"
            if not prefix and entry.name.startswith(HIDDEN_PREFIX):
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield name, "" if entry.is_file(follow_symlinks=False) else "only regular files are"
            elif name.count("/") < MAX_DEPTH:
                folders.append(f"{name}/")
            else:
                yield f"{name}/", f"it is more than {MAX_DEPTH} folders deep"


def _measured(directory: Path, name: str, attempt: int) -> Artifact:
    with open_inside(directory, name) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    media_type, _ = mimetypes.guess_type(name)
    return Artifact(name, size, digest, media_type or DEFAULT_MEDIA_TYPE, attempt)


def open_inside(directory: Path, name: str) -> BufferedReader:
    """Opens a regular file step by step, following no link. Raises OSError."""
    *folders, last = name.split("/")
    held = os.open(directory, _DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, _DIRECTORY, dir_fd=held)
            os.close(held)
            held = inner
        return os.fdopen(open_regular(last, held), "rb")
    finally:
        os.close(held)
