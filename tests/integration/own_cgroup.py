"""A control group of the test's own, on the machine's cgroup2 file system. Needs root."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


class NoCgroup(Exception):
    """Why none can be made here."""


@contextmanager
def own_cgroup(name: str) -> Iterator[Path]:
    """It goes with all below it, once nothing executes there. Raises NoCgroup."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = [fields[4] for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"]
    if not places:
        raise NoCgroup("no cgroup2 file system is mounted")
    cgroup = Path(places[0], name)
    try:
        cgroup.mkdir()
    except OSError as error:
        raise NoCgroup(f"no control group can be made: {error}") from error
    try:
        yield cgroup
    finally:
        _end_all(cgroup)
        for directory, _, _ in os.walk(cgroup, topdown=False):
            Path(directory).rmdir()


def _end_all(cgroup: Path) -> None:
    (cgroup / "cgroup.kill").write_text("1")
    changed = select.poll()
    with (cgroup / "cgroup.events").open() as events:
        changed.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            changed.poll()
            events.seek(0)


@pytest.fixture
def delegated() -> Iterator[Path]:
    """One that says it is delegated, as systemd would have it say; the test and what it starts are in it."""
    former = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    with ExitStack() as stack:
        try:
            cgroup = stack.enter_context(own_cgroup(f"runsd-test-{os.getpid()}"))
            os.setxattr(cgroup, "user.delegate", b"1")
            (cgroup / "cgroup.procs").write_text("0")
        except (NoCgroup, OSError) as error:
            if os.environ.get("CI") == "true" or os.environ.get("RUNSD_REQUIRE_SYSTEMD") == "1":
                pytest.fail(f"this has to be tested here, and cannot be: {error}")
            pytest.skip(str(error))
        stack.callback((cgroup.parent / former.lstrip("/") / "cgroup.procs").write_text, "0")
        yield cgroup
