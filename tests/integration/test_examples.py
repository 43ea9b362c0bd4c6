"""The examples that use no client of ours, by the commands of their READMEs, on the project that `runs init` writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runsd_client.starter.creation import create_project

from tests.integration.daemon import PATIENCE_SECONDS, Daemon

ROOT = Path(__file__).parents[2]
OLDEST_NODE = 20


class Example:
    """A copy of an example beside a copy of the contract, and the `sh` blocks of its README."""

    def __init__(self, name: str, scratch: Path, runtime: Path) -> None:
        directory = scratch / "clients/examples" / name
        left_out = shutil.ignore_patterns("node_modules", "generated")
        shutil.copytree(ROOT / "clients/examples" / name, directory, ignore=left_out)
        shutil.copytree(ROOT / "proto", scratch / "proto", dirs_exist_ok=True)
        self.blocks = re.findall(r"```sh\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
        self._directory = directory
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._env = {**os.environ, "PATH": path, "XDG_RUNTIME_DIR": str(runtime)}

    def start(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._directory,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def execute(self, script: str) -> str:
        """What it said; it must succeed."""
        with self.start(script) as process:
            said, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
        assert process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that serves the starter project, its socket in `runsd` of a runtime directory."""
    runtime = tmp_path_factory.mktemp("r")
    create_project(runtime / "shop")
    (runtime / "runsd").mkdir()
    daemon = Daemon(runtime / "runsd", project=runtime / "shop")
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture(scope="module")
def python_example(shop: Daemon, tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, str]:
    """With its stubs; the Python of the tests has what its first block installs."""
    example = Example("python", tmp_path_factory.mktemp("e"), shop.directory.parent)
    _, generate, follow = example.blocks
    example.execute(generate)
    return example, follow


@pytest.fixture(scope="module")
def javascript_example(shop: Daemon, tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, str]:
    example = Example("javascript", tmp_path_factory.mktemp("e"), shop.directory.parent)
    install, follow = example.blocks
    install_for_node(example, install)
    return example, follow


def install_for_node(example: Example, install: str) -> None:
    """Skips the test where that cannot be done, unless Node is required."""
    required = os.environ.get("REQUIRE_NODE") == "1"
    major = f"process.exit(Number(process.versions.node.split('.')[0]) < {OLDEST_NODE} ? 1 : 0)"
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", major]).returncode:
        assert not required, f"Node {OLDEST_NODE} or later is required (REQUIRE_NODE=1) and not there"
        pytest.skip(f"no Node {OLDEST_NODE} or later here; REQUIRE_NODE=1 makes this an error")
    try:
        example.execute(install)
    except AssertionError as failure:
        if required:
            raise
        pytest.skip(f"npm cannot install, which REQUIRE_NODE=1 makes an error: {failure}")


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_an_example_follows_a_run_to_its_end(language: str, request: pytest.FixtureRequest) -> None:
    example, follow = request.getfixturevalue(f"{language}_example")
    *events, last = example.execute(follow).splitlines()
    ids, types, payloads = zip(*(line.split(" ", 2) for line in events), strict=True)
    assert ids == tuple(str(number) for number in range(1, len(events) + 1))
    assert (types[0], types[-1]) == ("run.created", "run.completed")
    status, output = last.split(" ", 1)
    assert status == "RUN_STATUS_COMPLETED"
    assert json.loads(output) == json.loads(payloads[-1])["output"]
    assert json.loads(output)["rows"] > 0


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_an_example_follows_over_a_restart(language: str, shop: Daemon, request: pytest.FixtureRequest) -> None:
    example, follow = request.getfixturevalue(f"{language}_example")
    assert "task:sync-data" in follow
    said: list[str] = []
    with example.start(follow.replace("task:sync-data", """task:countdown '{"seconds": 2}'""")) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if len(said) == 2:
                assert "run.started" in line
                shop.kill()
                shop.start()
    assert process.returncode == 0, said
    assert len(said) > 3
    assert [line.split(" ")[0] for line in said[:-1]] == [str(number) for number in range(1, len(said))]
    assert said[-1].startswith("RUN_STATUS_COMPLETED ")


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_an_example_says_that_its_run_failed(language: str, request: pytest.FixtureRequest) -> None:
    example, follow = request.getfixturevalue(f"{language}_example")
    wrong = follow.replace("task:sync-data", """task:knowledge-ingest '{"folder": "/nowhere"}'""")
    with example.start(wrong) as process:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("RUN_STATUS_FAILED")


def test_buf_needs_nothing_but_the_daemon(shop: Daemon, tmp_path: Path) -> None:
    example = Example("reflection", tmp_path, shop.directory.parent)
    install, follow, _, _ = example.blocks
    install_for_node(example, install)
    check_answers(example.execute(follow), "eventType")


def test_grpcurl_needs_nothing_but_the_daemon(shop: Daemon, tmp_path: Path) -> None:
    if shutil.which("grpcurl") is None:
        pytest.skip("no grpcurl here")
    example = Example("reflection", tmp_path, shop.directory.parent)
    _, _, _, follow = example.blocks
    check_answers(example.execute(follow), "event_type")


def check_answers(said: str, event_type: str) -> None:
    """The targets, pages of events, and the run."""
    answers = read_documents(said)
    targets, *pages, run = answers
    assert "task:sync-data" in {target["target"] for target in targets["data"]}
    types = [event[event_type] for page in pages for event in page["data"]]
    assert (types[0], types[-1]) == ("run.created", "run.completed")
    assert run["run"]["status"] == "RUN_STATUS_COMPLETED"


def read_documents(text: str) -> list[Any]:
    """One JSON document after the other."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text.rstrip()):
        document, position = decoder.raw_decode(text, position + len(text[position:]) - len(text[position:].lstrip()))
        found.append(document)
    return found
