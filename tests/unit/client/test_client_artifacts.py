"""Artifacts: whole, as recorded, and where they belong."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, NotFoundError, RunsClient, RunsError
from runsd_client.artifact_files import destination

from tests.unit.client.fake_daemon import LOST, FakeDaemon

CONTENT = b"0123456789abcdef!"


@pytest.fixture
def run_id(daemon: FakeDaemon) -> str:
    run_id = daemon.add_run()
    for name in ("a.txt", "reports/b.txt", "c.txt"):
        daemon.add_file(run_id, name, CONTENT)
    return run_id


def test_all_pages_are_listed(client: RunsClient, run_id: str) -> None:
    assert [a.name for a in client.artifacts(run_id)] == ["a.txt", "reports/b.txt", "c.txt"]


def test_reading_goes_on_where_it_was_interrupted(daemon: FakeDaemon, client: RunsClient, run_id: str) -> None:
    daemon.state.breaks.extend([(5, LOST), (0, LOST), (4, LOST)])
    assert b"".join(client.read_artifact(run_id, "a.txt")) == CONTENT
    assert [r.offset for r in daemon.requests("ReadArtifact")] == [0, 5, 5, 9]


def test_download_into_a_directory_and_to_a_file(client: RunsClient, run_id: str, tmp_path: Path) -> None:
    inside = client.download_artifact(run_id, "reports/b.txt", tmp_path)
    assert inside == tmp_path / "reports" / "b.txt"
    assert inside.read_bytes() == CONTENT
    assert stat.S_IMODE(inside.stat().st_mode) & 0o600 == 0o600
    assert client.download_artifact(run_id, "a.txt", tmp_path / "mine").read_bytes() == CONTENT


async def test_async_download(async_client: AsyncRunsClient, run_id: str, tmp_path: Path) -> None:
    async with async_client as client:
        assert (await client.download_artifact(run_id, "a.txt", tmp_path)).read_bytes() == CONTENT


def test_what_is_not_as_recorded_is_not_kept(daemon: FakeDaemon, client: RunsClient, tmp_path: Path) -> None:
    run_id = daemon.add_run()
    daemon.add_file(run_id, "a.txt", CONTENT, sha256="0" * 64)
    (tmp_path / "a.txt").write_text("as it was")
    with pytest.raises(RunsError) as caught:
        client.download_artifact(run_id, "a.txt", tmp_path)
    assert caught.value.reason == "ARTIFACT_CHANGED"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "as it was"


def test_no_such_artifact(client: RunsClient, run_id: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no artifact 'z\.txt'"):
        client.download_artifact(run_id, "z.txt", tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "", ".", "a\0b"])
def test_no_name_leads_out_of_the_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunsError) as caught:
        destination(name, tmp_path)
    assert caught.value.reason == "UNSAFE_NAME"


def test_no_link_leads_out_of_the_directory(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    with pytest.raises(RunsError):
        destination("link/x", inside)
