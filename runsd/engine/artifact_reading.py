"""Reads an artifact back, and tells when it is no longer what was recorded."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import anyio.to_thread

from runsd.adapters.artifacts import CHUNK_BYTES, open_inside
from runsd.adapters.directory import RunFiles
from runsd.model.errors import Damaged, FieldViolation, InvalidRequest
from runsd.model.record import Artifact
from runsd.store.store import Store


async def read_artifact(store: Store, run_id: str, name: str, offset: int) -> AsyncIterator[bytes]:
    """Pieces of up to 256 KiB. Raises NotFound, InvalidRequest, Damaged."""
    artifact = await store.queries.artifact(run_id, name)
    if not 0 <= offset <= artifact.size_bytes:
        raise InvalidRequest([FieldViolation("offset", f"must be from 0 to the size, {artifact.size_bytes}")])
    directory = RunFiles(store.directory).attempt(run_id, artifact.attempt).artifacts
    try:
        file = await anyio.to_thread.run_sync(open_inside, directory, name)
    except OSError as error:
        raise _damaged(artifact, f"cannot be opened: {error.strerror}") from error
    digest = hashlib.sha256()
    size = offset
    with file:
        file.seek(offset)
        while data := await anyio.to_thread.run_sync(file.read, CHUNK_BYTES):
            digest.update(data)
            size += len(data)
            yield data
    is_whole = size == artifact.size_bytes and (offset > 0 or digest.hexdigest() == artifact.sha256)
    if not is_whole:
        raise _damaged(artifact, "is not what it was when the run left it")


def _damaged(artifact: Artifact, what: str) -> Damaged:
    return Damaged("ARTIFACT_DAMAGED", f"artifact {artifact.name!r} {what}")
