"""Files that runs leave: recorded, read back, and never leading elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from runsd_client import AsyncRunsClient, InvalidRequestError, NotFoundError, RunsError, RunStatus
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.integration.daemon import Daemon
from tests.integration.test_executing import run_to_the_end, text, types


async def content(client: AsyncRunsClient, run_id: str, name: str) -> bytes:
    return b"".join([data async for data in client.read_artifact(run_id, name)])


async def test_files_are_measured_and_announced(client: AsyncRunsClient, tmp_path: Path) -> None:
    script = """
    mkdir -p $RUNSD_ARTIFACTS/deep/er; printf a >$RUNSD_ARTIFACTS/deep/er/a.json
    head -c 3000000 /dev/urandom >$RUNSD_ARTIFACTS/big.bin; : >"$RUNSD_ARTIFACTS/empty ☃"
    sha256sum $RUNSD_ARTIFACTS/big.bin | cut -c1-64"""
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert [(a.name, a.size_bytes, a.media_type, a.attempt) for a in run.artifacts] == [
        ("big.bin", 3_000_000, "application/octet-stream", 1),
        ("deep/er/a.json", 1, "application/json", 1),
        ("empty ☃", 0, "application/octet-stream", 1),
    ]
    assert types(events)[-4:] == ["artifact", "artifact", "artifact", "run.completed"]
    big = run.artifacts[0]
    assert big.sha256 == text(events).strip()
    data = await content(client, run.run_id, "big.bin")
    assert hashlib.sha256(data).hexdigest() == big.sha256
    assert await content(client, run.run_id, "empty ☃") == b""
    path = await client.download_artifact(run.run_id, "big.bin", tmp_path)
    assert path.read_bytes() == data


async def test_nothing_but_files_inside_is_an_artifact(client: AsyncRunsClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    script = f"""
    cd $RUNSD_ARTIFACTS; ln -s {secret} link; ln -s {tmp_path} folder; mkfifo pipe; ln -s .. up
    printf good >good; printf half >.runsd-abc; printf hidden >.hidden; touch "$(printf 'bad\\377name')" """
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert run.status is RunStatus.COMPLETED
    assert [artifact.name for artifact in run.artifacts] == [".hidden", "good"]
    told = text(events, "system")
    for name in ("link", "folder", "pipe", "up", "bad"):
        assert f"'{name}" in told
    for name in ("link", "folder/secret", "../stdout", "/etc/passwd", "up/input.json", ".runsd-abc", ""):
        with pytest.raises(NotFoundError):
            await content(client, run.run_id, name)


async def test_artifact_that_was_changed_is_not_given_out(
    client: AsyncRunsClient, daemon: Daemon, tmp_path: Path
) -> None:
    run, _ = await run_to_the_end(client, "task:echo", input=1)
    (file,) = (daemon.state / "artifacts").glob(f"*/{run.run_id}.1/note.txt")
    file.write_text("an_artifact")
    with pytest.raises(RunsError, match="is not what it was"):
        await content(client, run.run_id, "note.txt")
    secret = tmp_path / "secret"
    secret.write_text("an artifact")
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(RunsError, match="cannot be opened"):
        await content(client, run.run_id, "note.txt")
    folder = file.parent
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(RunsError, match="cannot be opened"):
        await content(client, run.run_id, "note.txt")


async def test_reading_from_an_offset(client: AsyncRunsClient, daemon: Daemon) -> None:
    run, _ = await run_to_the_end(client, "task:echo", input=1)
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        stub = runs_pb2_grpc.RunsStub(channel)

        async def read(offset: int) -> bytes:
            request = runs_pb2.ReadArtifactRequest(run_id=run.run_id, name="note.txt", offset=offset)
            return b"".join([piece.data async for piece in stub.ReadArtifact(request)])

        assert await read(3) == b"artifact"
        assert await read(11) == b""
        for offset in (-1, 12):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read(offset)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_later_attempt_takes_the_place_of_an_earlier(client: AsyncRunsClient) -> None:
    script = """
    printf "$RUNSD_ATTEMPT" >$RUNSD_ARTIFACTS/both; printf x >$RUNSD_ARTIFACTS/only-$RUNSD_ATTEMPT
    [ "$RUNSD_ATTEMPT" = 2 ]"""
    run, _ = await run_to_the_end(client, "task:script", input=script, backoff_limit=1)
    assert [(a.name, a.attempt) for a in run.artifacts] == [("both", 2), ("only-1", 1), ("only-2", 2)]
    assert await content(client, run.run_id, "both") == b"2"
    assert await content(client, run.run_id, "only-1") == b"x"


async def test_many_artifacts_page_by_page(client: AsyncRunsClient, daemon: Daemon) -> None:
    script = "cd $RUNSD_ARTIFACTS; for n in $(seq 1500); do : >$(printf %05d $n); done"
    run, _ = await run_to_the_end(client, "task:script", input=script)
    assert len(run.artifacts) == 100
    names = [artifact.name for artifact in await client.artifacts(run.run_id)]
    assert names == [f"{n:05d}" for n in range(1, 1501)]
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        stub = runs_pb2_grpc.RunsStub(channel)
        for token in ("é", "nonsense", "MDAwMDE="):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListArtifacts(runs_pb2.ListArtifactsRequest(run_id=run.run_id, page_token=token))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_artifacts_of_every_end(client: AsyncRunsClient, make_daemon: Callable[..., Daemon]) -> None:
    script = "printf x >$RUNSD_ARTIFACTS/a; echo ready; exec sleep 1000"
    run = (await client.create_task_run("task:script", input=script)).run
    async for event in client.follow(run.run_id):
        if event.event_type == "log":
            await client.cancel(run.run_id)
    assert [artifact.name for artifact in (await client.get(run.run_id)).artifacts] == ["a"]
    with pytest.raises(InvalidRequestError):
        await client.create_task_run("task:script", input="x", timeout_seconds=-1)
