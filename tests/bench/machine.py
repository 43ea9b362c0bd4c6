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
    """`fsync_ms` is the median of appending a page to a file in the benchmark's directory."""

    cores: int
    load_average: float
    python: str
    grpcio: str
    sqlite: str
    fsync_ms: float


def describe_machine(directory: Path) -> Machine:
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        load_average=os.getloadavg()[0],
        python=platform.python_version(),
        grpcio=grpc.__version__,
        sqlite=sqlite3.sqlite_version,
        fsync_ms=_fsync_ms(directory / "fsync"),
    )


def _fsync_ms(path: Path) -> float:
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            begin = time.perf_counter()
            file.write(PAGE)
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)
