"""Attempts as processes: started once, read from files, never disturbed by the daemon's end.

Invariant 7: every byte that the process wrote reaches the log exactly once. The reader's offsets are
committed together with the events read up to them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace

from runsd.adapters.base import AttemptSpec, Ended, NoRoom, Output, StartFailed
from runsd.adapters.cgroups import own_cgroups
from runsd.adapters.changes import FileChanges
from runsd.adapters.environment import environment
from runsd.adapters.members import Members, become_parent_of_orphans
from runsd.adapters.output_files import EventReader, File, TextReader
from runsd.adapters.process import Identity, Process, claimed_identity, leaders, spawn
from runsd.adapters.result_files import outcome_of
from runsd.crashpoints import CrashPoint, passing
from runsd.model.attempt import Offsets
from runsd.model.events import Stream, log
from runsd.model.run import ErrorCode
from runsd.model.targets import Command, PythonCallable

_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_WORKER = "from runsd.sdk.worker import main; main()"


class SubprocessAdapter:
    def __init__(self, changes: FileChanges, grace_seconds: float) -> None:
        self._changes = changes
        self._grace_seconds = grace_seconds
        self._cgroups = own_cgroups()
        become_parent_of_orphans()

    async def start(self, spec: AttemptSpec) -> ProcessExecution:
        members = self._members(spec)
        try:
            spec.directory.prepare(spec.documents)
            passing(CrashPoint.ATTEMPT_PREPARED)
            process = _spawn(spec, members)
        except OSError as error:
            kind = NoRoom if error.errno in _PASSING else StartFailed
            raise kind(f"the process could not be started: {error}") from error
        passing(CrashPoint.PROCESS_SPAWNED)
        return ProcessExecution(spec, process, members, self._changes, Offsets(), self._grace_seconds)

    async def adopt(self, spec: AttemptSpec, offsets: Offsets) -> ProcessExecution:
        identity = await claimed_identity(spec.directory)
        process = _attach(identity) if identity else None
        members = self._members(spec)
        # Where the shell is gone, what it started may not be, and would go on beside another attempt.
        left_behind = process is None and await members.end(self._grace_seconds) > 0
        age = identity.age_seconds() if identity and process else 0.0
        execution = ProcessExecution(spec, process, members, self._changes, offsets, self._grace_seconds, age)
        execution.left_behind = left_behind
        execution.never_began = identity is None
        execution.is_of_another_boot = identity is not None and not identity.is_of_this_boot()
        return execution

    def _members(self, spec: AttemptSpec) -> Members:
        run_id, attempt = spec.run.run_id, spec.run.attempt
        return Members(run_id, attempt, self._cgroups.of(run_id, attempt) if self._cgroups else None)


def _spawn(spec: AttemptSpec, members: Members) -> Process:
    """Raises OSError."""
    cgroup = members.cgroup if members.cgroup and members.cgroup.make() else None
    try:
        return spawn(
            spec.directory, _argv(spec), spec.definition.working_directory, environment(spec, os.environ), cgroup
        )
    except OSError:
        if cgroup is not None:
            cgroup.remove()
        raise


def _argv(spec: AttemptSpec) -> tuple[str, ...]:
    program = spec.definition.program
    if isinstance(program, Command):
        return program.argv
    assert isinstance(program, PythonCallable)
    return (sys.executable, "-P", "-c", _WORKER, str(spec.project_directory), program.module, program.qualname)


def _told_of_left_behind() -> Output:
    return Output([log(Stream.SYSTEM, "processes that the attempt left behind are ended\n")])


def _attach(identity: Identity) -> Process | None:
    """The living process of that identity. It is asked again once held, so that it cannot be another."""
    if not identity.is_alive():
        return None
    try:
        process = Process(identity.pid)
    except ProcessLookupError:
        return None
    if identity.is_alive():
        return process
    process.close()
    return None


class ProcessExecution:
    def __init__(
        self,
        spec: AttemptSpec,
        process: Process | None,
        members: Members,
        changes: FileChanges,
        offsets: Offsets,
        grace_seconds: float,
        age_seconds: float = 0.0,
    ) -> None:
        directory = spec.directory
        self._spec = spec
        self._process = process
        self._members = members
        self._changes = changes
        self._grace_seconds = grace_seconds
        self.age_seconds = age_seconds
        self._stdout = TextReader(File(directory.stdout, offsets.stdout), Stream.STDOUT)
        self._stderr = TextReader(File(directory.stderr, offsets.stderr), Stream.STDERR)
        self._events = EventReader(File(directory.events, offsets.events), spec.limits.event_bytes)
        self._rest = Output()
        self.never_began = False
        # Whether the attempt's processes were not all gone with its shell.
        self.left_behind = False
        self._ending = asyncio.Lock()
        self._was_adopted = age_seconds > 0
        self.is_of_another_boot = False

    async def output(self) -> AsyncGenerator[Output, None]:
        if self._process is not None:
            async for batch in self._live_output(self._process):
                yield batch
        elif self.left_behind:
            yield _told_of_left_behind()
        while self._offsets() != (batch := self._read(final=True)).offsets:
            # The last batch is committed with the outcome, which saves short attempts a commit.
            yield self._rest
            self._rest = batch

    async def _live_output(self, process: Process) -> AsyncGenerator[Output, None]:
        """Until the process has ended, and what it left behind as well."""
        with self._changes.watch(self._spec.directory.path) as watch:
            process.when_exited(watch.changed.set)
            while not process.exited.is_set():
                watch.changed.clear()
                if self._offsets() != (batch := self._read(final=False)).offsets:
                    yield batch
                elif not process.exited.is_set():
                    await watch.wait()
        if self._leaves_behind(process):
            yield _told_of_left_behind()
            await self.stop(self._grace_seconds)

    def _leaves_behind(self, process: Process) -> bool:
        """Whether there are others when the shell has ended, or were until they were ended."""
        members = self._members
        are_left = members.are_left() if self._was_adopted else members.are_children_left(leaders())
        self.left_behind = self.left_behind or process.has_leftovers or are_left
        return self.left_behind

    def _read(self, *, final: bool) -> Output:
        skipped = self._events.skipped_bytes
        drafts = [
            *self._stdout.read(final=final),
            *self._stderr.read(final=final),
            *self._events.read(final=final),
        ]
        return Output(drafts, self._offsets(), self._events.skipped_bytes - skipped)

    def _offsets(self) -> Offsets:
        return Offsets(self._stdout.file.offset, self._stderr.file.offset, self._events.file.offset)

    async def ended(self) -> Ended:
        if self._process is not None:
            await self._process.exited.wait()
        outcome = outcome_of(self._spec.directory, self._spec.limits.payload_bytes)
        if self.is_of_another_boot and outcome.error is not None:
            # It was ended by the machine's shutdown, whatever status it had time to leave.
            outcome = outcome._replace(interrupted=True, error=replace(outcome.error, code=ErrorCode.INTERRUPTED))
        return Ended(outcome._replace(never_began=self.never_began), self._rest)

    async def stop(self, grace_seconds: float) -> bool:
        if self._process is None:
            return False
        # Asked again for what it left behind, it must not be told twice to end.
        async with self._ending:
            by_force = await self._process.stop(grace_seconds)
            if self._leaves_behind(self._process):
                await self._members.end(grace_seconds)
            return by_force

    async def close(self) -> None:
        for reader in (self._stdout, self._stderr, self._events):
            reader.file.close()
        if self._process is not None:
            self._process.close()
