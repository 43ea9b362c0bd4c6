"""Opens files whose owner is a run's process: never a link, a pipe, a device or a directory.

Opening cannot block and cannot lead elsewhere, whatever the process has put in a file's place.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(name: str | Path, directory: int | None = None) -> int:
    """A descriptor; `directory` is one to begin from. Raises FileNotFoundError, or OSError for the rest."""
    descriptor = os.open(name, _FLAGS, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file")
    return descriptor


def read_small(file: Path, limit: int = 4096) -> str | None:
    """The beginning of a small text; None when there is none to read."""
    try:
        with os.fdopen(open_regular(file), "rb") as opened:
            return opened.read(limit).decode(errors="replace")
    except OSError:
        return None
