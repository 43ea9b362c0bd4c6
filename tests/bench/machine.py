"""Facts of the machine without which no figure says anything."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

FSYNCS = 50
PAGE = b"\0" * 4096


@dataclass(frozen=True, slots=True)
class Machine:
    """`fsync_ms` is the median of appending a page to a file in the benchmark's directory.

    `filesystem` matters as much: what it costs to make and remove a few files differs tenfold.
    """

    cores: int
    load_average: float
    python: str
    grpcio: str
    sqlite: str
    filesystem: str
    fsync_ms: float


def describe_machine(directory: Path) -> Machine:
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        load_average=os.getloadavg()[0],
        python=platform.python_version(),
        grpcio=grpc.__version__,
        sqlite=sqlite3.sqlite_version,
        filesystem=_filesystem(directory),
        fsync_ms=_fsync_ms(directory / "fsync"),
    )


def _filesystem(directory: Path) -> str:
    """The kernel's name for its type; empty when it does not say."""
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        if fields.split()[2] == number:
            return source.split()[0]
    return ""


def _fsync_ms(path: Path) -> float:
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            begin = time.perf_counter()
            file.write(PAGE)
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)
