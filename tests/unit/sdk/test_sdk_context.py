import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd import Context
from runsd.model.events import emitted
from runsd.sdk.documents import NotJson, dumps


class Recorder:
    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    def __call__(self, event_type: str, payload_json: str) -> None:
        payload_json.encode()
        self.written.append((event_type, json.loads(payload_json)))


def context(directory: Path = Path("/nowhere"), write: Any = None) -> Context:
    return Context(
        run_id="r1",
        project="p",
        target="task:t",
        attempt=1,
        input=None,
        config=None,
        state_dir=directory / "state",
        artifacts_dir=directory,
        address="",
        write=write or Recorder(),
    )


def test_emit_writes_the_payload_as_it_is() -> None:
    recorder = Recorder()
    context(write=recorder).emit("rows.loaded", {"count": 2**63, "name": "ü"})
    context(write=recorder).emit("done")
    assert recorder.written == [("rows.loaded", {"count": 2**63, "name": "ü"}), ("done", {})]


@pytest.mark.parametrize("name", ["run.completed", "run", "step.x", "approval.a.b", "artifact", "signal"])
def test_reserved_event_types_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        context().emit(name)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "é", "a\n", "x" * 101])
def test_malformed_event_types_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an event type"):
        context().emit(name)


@given(st.text(alphabet="runstepalfigc_-.A0é ", max_size=20) | st.sampled_from(["runs", "signals.x", "artifact.x"]))
def test_the_daemon_takes_just_the_types_that_the_context_takes(name: str) -> None:
    def refuses(emit: Any) -> bool:
        try:
            emit()
        except ValueError:
            return True
        return False

    if name not in ("log", "progress"):  # the daemon checks their payloads too
        assert refuses(lambda: context().emit(name)) == refuses(lambda: emitted(name, {}))


@pytest.mark.parametrize("payload", [[1], "text", 1])
def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="must be a dict"):
        context().emit("x", payload)


def test_a_payload_that_is_not_json_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"\$\.rows\[1\]\.at is of type set"):
        context().emit("x", {"rows": [1, {"at": {1}}]})


def test_log_ends_with_one_newline() -> None:
    recorder = Recorder()
    context(write=recorder).log("a")
    context(write=recorder).log("b\n")
    assert [payload for _, payload in recorder.written] == [
        {"stream": "stdout", "text": "a\n"},
        {"stream": "stdout", "text": "b\n"},
    ]


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), True])
def test_progress_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        context().progress(fraction)


def test_progress() -> None:
    recorder = Recorder()
    context(write=recorder).progress(1, "all")
    assert recorder.written == [("progress", {"fraction": 1, "message": "all"})]


async def test_drain_waits_where_there_is_something_to_wait_for() -> None:
    await context().drain()
    waited = []

    async def drain() -> None:
        waited.append(True)

    slow = context()
    slow._drain = drain
    await slow.drain()
    assert waited == [True]


def test_artifacts_appear_under_their_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("copied")
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    saver = context(artifacts)
    saver.save_artifact("reports/may.csv", b"a,b")
    saver.save_artifact("reports/may.csv", bytearray(b"c,d"))
    saver.save_artifact("copy", str(source))
    saver.save_artifact("copy2", source)
    files = {str(f.relative_to(artifacts)): f.read_text() for f in artifacts.rglob("*") if f.is_file()}
    assert files == {"reports/may.csv": "c,d", "copy": "copied", "copy2": "copied"}


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        context(tmp_path).save_artifact("a", tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/", "../a", "a/../b", ".", "a/./b", "a\0", "\ud800", ".runsd-1"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an artifact"):
        context(tmp_path).save_artifact(name, b"")
    assert list(tmp_path.iterdir()) == []


@given(st.text(alphabet="./ab", max_size=12))
def test_no_accepted_name_leaves_the_directory(name: str) -> None:
    from runsd.sdk.artifacts import _fault_of

    if not _fault_of(name):
        assert os.path.normpath(f"/artifacts/{name}") == f"/artifacts/{name}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_documents_are_valid_utf8_and_read_back_the_same(value: Any) -> None:
    assert json.loads(dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("\ud800", r"\$ has the lone surrogate \\ud800"),
        ({"a": ["ü", "x\udfff"]}, r"\$\.a\[1\] has the lone surrogate \\udfff"),
        ({"a": {"\ud800": 1}}, r"a key of \$\.a has the lone surrogate \\ud800"),
        ({"\ud800": 1}, r"a key of \$ has the lone surrogate \\ud800"),
    ],
)
def test_lone_surrogates_are_named_with_their_path(value: Any, message: str) -> None:
    with pytest.raises(NotJson, match=message) as raised:
        dumps(value)
    assert str(raised.value).encode()


def test_what_is_not_json_is_named_with_its_path() -> None:
    circular: list[Any] = []
    circular.append(circular)
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    for value, message in (
        ({"a": [float("inf")]}, r"\$\.a\[0\] is inf"),
        ({"a": {(1, 2): 3}}, r"\$\.a has a key of type tuple"),
        (circular, r"\$\[0\] contains itself"),
        (deep, r"\$ is nested too deeply"),
        (b"x", r"\$ is of type bytes"),
    ):
        with pytest.raises(NotJson, match=message):
            dumps(value)
