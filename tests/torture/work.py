"""What a run of the torture does: a process, executed as a script, or a callable in the daemon.

Everything it writes follows from its input and the attempt's number, so that the checker knows each
byte. In a *ledger* beside the daemon's reach it notes when an attempt begins and ends. Imports little
and starts fast: hundreds of these are started.
"""

from __future__ import annotations

import json
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LEDGER = "ledger"
TICK = "torture.tick"
EXIT_CANCELLED = 143
FAILING_STATUS = 7
LONG_LINE = 70_000
STDOUT, STDERR = 1, 2
# Lines, bytes that are no text, a character cut in two, a line longer than a piece of the log.
_ENDINGS = (b"plain\n", "gr\u00fc\u00dfe \u20ac\n".encode(), b"\xff\xfe\xe2\x28\n", b"\xe2\x82", b"\xac whole\n", b"")


def chunks(spec: dict[str, Any], attempt: int) -> Iterator[tuple[int, bytes]]:
    """Descriptor and bytes of each write, in order."""
    salt = spec["salt"]
    for number in range(spec["lines"]):
        descriptor = STDERR if (number // 5 + salt) % 3 == 0 else STDOUT
        filling = b"x" * LONG_LINE if (number + salt) % 97 == 0 else b""
        head = b"" if _ENDINGS[number % 6].startswith(b"\xac") else f"{salt}.{attempt}.{number} ".encode()
        yield descriptor, head + filling + _ENDINGS[number % 6]


def output(spec: dict[str, Any], attempt: int, descriptor: int, writes: int | None = None) -> bytes:
    """All of stdout or stderr, or what the first `writes` writes make of it."""
    parts = list(chunks(spec, attempt))[:writes]
    return b"".join(data for where, data in parts if where == descriptor)


def ticks(spec: dict[str, Any], writes: int | None = None) -> list[int]:
    """The numbers of the custom events that the first `writes` writes bring."""
    return [number for number in range(spec["lines"] if writes is None else writes) if number % 3 == 0]


def status_of(spec: dict[str, Any], attempt: int) -> int:
    return FAILING_STATUS if attempt <= spec["fails"] else int(spec["status"])


def note(run_id: str, attempt: int, what: str, writes: int = 0) -> None:
    """One line, in one write: the order of the ledger is the order of what happened."""
    descriptor = os.open(os.path.join(os.path.dirname(__file__), LEDGER), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # noqa: PTH118, PTH120
    os.write(descriptor, f"{run_id} {attempt} {what} {writes} {os.getpid()}\n".encode())
    os.close(descriptor)


def main() -> None:
    environ = os.environ
    run_id, attempt = environ["RUNSD_RUN_ID"], int(environ["RUNSD_ATTEMPT"])
    with open(environ["RUNSD_INPUT"], "rb") as file:  # noqa: PTH123 - pathlib takes as long as the rest
        spec = json.load(file)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, signal.SIG_IGN if spec["stubborn"] else lambda number, frame: stopping.append(number))
    note(run_id, attempt, "begin")
    events = os.open(environ["RUNSD_EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number, (descriptor, data) in enumerate(chunks(spec, attempt)):
        if stopping:
            note(run_id, attempt, "stopped", number)
            os._exit(EXIT_CANCELLED)
        _write(descriptor, data)
        if number % 3 == 0:
            line = json.dumps({"event_type": TICK, "payload": {"attempt": attempt, "n": number}})
            _write(events, f"{line}\n".encode())
        time.sleep(spec["pace_ms"] / 1000)
    note(run_id, attempt, "end")
    os._exit(status_of(spec, attempt))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
