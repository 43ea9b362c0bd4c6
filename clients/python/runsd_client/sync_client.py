"""The sync client. Thin: what is sent, how it is read and what is tried again is decided elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from runsd_client import calls, requests
from runsd_client.artifact_files import ArtifactFile, destination, find_artifact
from runsd_client.calls import Call
from runsd_client.core import ClientCore
from runsd_client.cursors import ArtifactCursor, Cursor, EventCursor, WatchCursor
from runsd_client.interruptions import Interruptions
from runsd_client.proto.admin_pb2_grpc import AdminStub
from runsd_client.proto.definitions_pb2_grpc import DefinitionsStub
from runsd_client.proto.runs_pb2_grpc import RunsStub
from runsd_client.proto.schedules_pb2_grpc import SchedulesStub
from runsd_client.requests import NewRun, RunFilters, RunOptions
from runsd_client.retrying import Tries
from runsd_client.schedules import Schedules
from runsd_client.values import (
    Artifact,
    CancelAnswer,
    CreateAnswer,
    Definitions,
    Event,
    Page,
    ReloadAnswer,
    Run,
    SignalAnswer,
    TargetInfo,
    WatchedEvent,
)

T = TypeVar("T")


class RunsClient(ClientCore):
    """Runs on one daemon, from sync code; may be shared by threads.

    See ClientCore for the arguments. Every method raises a RunsError: InvalidRequestError,
    NotFoundError, UnreachableError and so on. It connects with the first call, so a process may fork
    before that, not after.
    """

    @cached_property
    def schedules(self) -> Schedules:
        """What creates runs later."""
        return Schedules(self._call, self._settings)

    def create_task_run(
        self, target: str, *, project: str | None = None, **options: Unpack[RunOptions]
    ) -> CreateAnswer:
        """Creates a run of `task:<id>`; the options are those of NewRun."""
        return self.create(requests.task_run(target, options), project=project)

    def create_workflow_run(
        self,
        workflow_id: str | None = None,
        *,
        target: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CreateAnswer:
        """Creates a run of a workflow, named by its id or as `target`; the options are those of NewRun."""
        return self.create(requests.workflow_run(workflow_id, target, options), project=project)

    def create(self, run: NewRun, *, project: str | None = None) -> CreateAnswer:
        """Creates a run of any target. From the moment of the answer it is on disk."""
        return self._call(calls.create(run, self._settings, project))

    def batch_create(self, runs: Sequence[NewRun], *, project: str | None = None) -> tuple[CreateAnswer, ...]:
        """Creates 1 to 1000 runs, all or none; the answers are in the order of `runs`."""
        return self._call(calls.batch_create(runs, self._settings, project))

    def get(self, run_id: str) -> Run:
        """The run as it is now."""
        return self._call(calls.get(run_id))

    def list(
        self,
        *,
        project: str | None = None,
        limit: int = 0,
        page_token: str = "",
        **filters: Unpack[RunFilters],
    ) -> Page[Run]:
        """A page of runs, newest first: up to `limit` (1 to 1000, 0 is 50)."""
        return self._call(calls.list_runs(self._settings, project, limit, page_token, filters))

    def list_all(self, *, project: str | None = None, limit: int = 0, **filters: Unpack[RunFilters]) -> Iterator[Run]:
        """All runs that fit, newest first, fetched in pages of `limit`."""
        page_token = ""
        while True:
            page = self.list(project=project, limit=limit, page_token=page_token, **filters)
            yield from page.data
            if not (page_token := page.page_info.next):
                return

    def events(self, run_id: str, *, after_event_id: int = 0, limit: int = 0) -> Page[Event]:
        """A page of a run's events: up to `limit` (1 to 1000, 0 is 100) after `after_event_id`."""
        return self._call(calls.events(run_id, after_event_id, limit))

    def follow(self, run_id: str, *, after_event_id: int = 0) -> Generator[Event, None, None]:
        """The events as they come, up to and with the terminal one; each once, also across restarts."""
        return self._stream(EventCursor(run_id, after_event_id, follow=True))

    def replay(self, run_id: str, *, after_event_id: int = 0) -> Generator[Event, None, None]:
        """The events that there are by now."""
        return self._stream(EventCursor(run_id, after_event_id, follow=False))

    def watch(
        self,
        *,
        project: str | None = None,
        after_position: int | None = None,
        event_types: Sequence[str] = (),
        targets: Sequence[str] = (),
    ) -> Generator[WatchedEvent, None, None]:
        """The events of all runs of a project, for ever; from now on unless `after_position` is given.

        `event_types` may hold `run.*` for all that begin with `run.`.
        """
        project = self._settings.project_or_default(project)
        return self._stream(WatchCursor(project, after_position, event_types, targets))

    def wait(self, run_id: str, timeout: float | None = None) -> Run:
        """The run when it is terminal. Raises WaitTimeoutError after `timeout` seconds."""
        waiting, tries = self._wait(run_id, timeout)
        while True:
            try:
                run = self._once(calls.wait(run_id, waiting.next_seconds()))
            except grpc.RpcError as error:
                time.sleep(waiting.within_the_time(tries.after(self._error(error))))
                continue
            tries.succeeded()
            if waiting.is_over(run):
                return run

    def cancel(self, run_id: str, *, reason: str = "") -> CancelAnswer:
        """Asks a run to end; `cancelled` is false when it had ended already."""
        return self._call(calls.cancel(run_id, reason))

    def retry(self, run_id: str, *, from_failed_step: bool = False, idempotency_key: str = "") -> CreateAnswer:
        """Creates a new run of a failed or cancelled one. Raises PreconditionError for any other.

        With `from_failed_step` the new run of a workflow keeps the completed steps, and goes on with
        the one that failed. Raises PreconditionError when compensations have undone steps.
        """
        return self._call(calls.retry(run_id, from_failed_step, idempotency_key))

    def signal(self, run_id: str, name: str, payload: Any = None, *, idempotency_key: str = "") -> SignalAnswer:
        """Sends a signal, which is kept until the run waits for one of its name.

        `payload` is any JSON value, up to 256 KiB. Raises PreconditionError when the run has ended.
        """
        return self._call(calls.signal(run_id, name, payload, idempotency_key))

    def approve(self, run_id: str, name: str, *, by: str = "", comment: str = "", data: Any = None) -> Run:
        """Says yes to what the run asks for under `name`.

        `by` is who decides; `data` a structured answer, any JSON value that fits the approval's schema.
        Raises NotFoundError when the run has not asked, PreconditionError when it is decided or expired,
        PermissionDeniedError when `by` may not decide, InvalidRequestError. The same decision, made
        again by the same person, is the one that was made.
        """
        return self._call(calls.decide(run_id, name, True, by, comment, data))

    def reject(self, run_id: str, name: str, *, by: str = "", comment: str = "", data: Any = None) -> Run:
        """Says no to what the run asks for under `name`; else as `approve`."""
        return self._call(calls.decide(run_id, name, False, by, comment, data))

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """All files that the run left, by name."""
        found: tuple[Artifact, ...] = ()
        page_token = ""
        while True:
            page = self._call(calls.artifacts(run_id, page_token))
            found += page.data
            if not (page_token := page.page_info.next):
                return found

    def read_artifact(self, run_id: str, name: str) -> Generator[bytes, None, None]:
        """The content, in pieces of up to 256 KiB."""
        return self._stream(ArtifactCursor(run_id, name))

    def download_artifact(self, run_id: str, name: str, to_path: str | os.PathLike[str]) -> Path:
        """Writes to `to_path`, or under the artifact's name inside it where it is a directory.

        The file appears only when it is whole and its SHA-256 is the recorded one.
        """
        artifact = find_artifact(run_id, name, self.artifacts(run_id))
        with ArtifactFile(artifact, destination(name, to_path)) as file:
            for chunk in self.read_artifact(run_id, name):
                file.write(chunk)
            return file.keep()

    def targets(self, *, project: str | None = None) -> tuple[TargetInfo, ...]:
        """A project's targets by name, broken ones included."""
        return self.definitions(project=project).data

    def definitions(self, *, project: str | None = None) -> Definitions:
        """A project's targets, and the problems of what could not be read of it."""
        return self._call(calls.definitions(self._settings, project))

    def target(self, name: str, *, project: str | None = None) -> TargetInfo:
        """One target: `task:<id>` or `workflow:<id>`."""
        return self._call(calls.target(name, self._settings, project))

    def reload(self, *, project: str | None = None) -> ReloadAnswer:
        """Has the daemon read the definitions anew."""
        return self._call(calls.reload(self._settings, project))

    def drain(self, seconds: float = 30.0) -> int:
        """Starts no more runs; how many execute still, when none does or the seconds are over."""
        return self._call(calls.drain(seconds))

    def resume(self) -> None:
        """Starts runs again."""
        self._call(calls.resume())

    def close(self) -> None:
        """Ends the connection, and streams with it."""
        self._closed = True
        if "_channel" in self.__dict__:
            self._interruptions.close(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def _interruptions(self) -> Interruptions:
        return Interruptions()

    @cached_property
    def _channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address, options=self._channel_options())

    @cached_property
    def _stubs(self) -> Mapping[str, Any]:
        return {
            "runs": RunsStub(self._channel),
            "definitions": DefinitionsStub(self._channel),
            "admin": AdminStub(self._channel),
            "schedules": SchedulesStub(self._channel),
        }

    def _call(self, call: Call[T]) -> T:
        tries = self._tries()
        while True:
            try:
                return self._once(call)
            except grpc.RpcError as error:
                time.sleep(tries.after(self._error(error)))

    def _once(self, call: Call[T]) -> T:
        with self._open():
            method = getattr(self._stubs[call.service], call.method)
            answer = method(call.request, timeout=call.deadline_seconds, metadata=self._settings.call_metadata)
        self._answered_at = time.monotonic()
        return call.read(answer)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """gRPC has an error of its own for a channel that another thread closes just now."""
        self._check_open()
        try:
            with self._interruptions.noted():
                yield
        except ValueError:
            self._check_open()
            raise

    def _stream(self, cursor: Cursor[Any, T]) -> Generator[T, None, None]:
        tries = self._tries()
        if (first := cursor.first_call()) is not None:
            yield from self._call(first)
            tries.succeeded()
        while not cursor.finished:
            try:
                yield from self._stream_once(cursor, tries)
                failure = self._early_end()
            except grpc.RpcError as error:
                failure = self._error(error)
            if not cursor.finished:
                time.sleep(tries.after(failure))

    def _stream_once(self, cursor: Cursor[Any, T], tries: Tries) -> Generator[T, None, None]:
        with self._open():
            method = getattr(self._stubs["runs"], cursor.method)
            stream = method(cursor.request(), metadata=self._settings.call_metadata)
        try:
            with self._interruptions.noted():
                for answer in stream:
                    tries.succeeded()
                    yield from cursor.accept(answer)
                    if cursor.finished:
                        return
            if (last_check := cursor.stream_ended()) is not None:
                yield from self._once(last_check)
        finally:
            stream.cancel()
