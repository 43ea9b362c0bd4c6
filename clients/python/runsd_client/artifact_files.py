"""Where a downloaded artifact goes on disk: never outside the directory, never half a file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from runsd_client.errors import NotFoundError, RunsError
from runsd_client.values import Artifact


def find_artifact(run_id: str, name: str, artifacts: Sequence[Artifact]) -> Artifact:
    for artifact in artifacts:
        if artifact.name == name:
            return artifact
    raise NotFoundError(f"run {run_id} has no artifact {name!r}", code="NOT_FOUND", reason="ARTIFACT_NOT_FOUND")


def destination(name: str, to_path: str | os.PathLike[str]) -> Path:
    """`to_path` itself, or where it is a directory, the artifact's name inside.

    Raises RunsError when the name or a symbolic link leads out of that directory.
    """
    path = Path(to_path)
    if not path.is_dir():
        return path
    relative = PurePosixPath(name)
    inside = path.joinpath(relative)
    is_plain = bool(relative.parts) and not relative.is_absolute() and ".." not in relative.parts and "\0" not in name
    if not is_plain or not inside.resolve().is_relative_to(path.resolve()):
        raise RunsError(f"artifact {name!r} would be written outside of {path}", code="DATA_LOSS", reason="UNSAFE_NAME")
    return inside


class ArtifactFile:
    """Takes the bytes; the file appears under its name only when it is whole and as recorded."""

    def __init__(self, artifact: Artifact, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._artifact = artifact
        self._path = path
        self._digest = hashlib.sha256()
        self._size = 0
        self._file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".runs-", delete=False)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self._size += len(chunk)

    def keep(self) -> Path:
        """Raises RunsError when the content is not what was recorded."""
        self._file.close()
        recorded = self._artifact
        if (self._size, self._digest.hexdigest()) != (recorded.size_bytes, recorded.sha256):
            raise RunsError(
                f"artifact {recorded.name!r} is not what the run recorded; it has changed since",
                code="DATA_LOSS",
                reason="ARTIFACT_CHANGED",
            )
        Path(self._file.name).chmod(0o666 & ~_umask())
        return Path(self._file.name).replace(self._path)


def _umask() -> int:
    """Temporary files are made for their owner only; the kept one is as any new file."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
