"""The one argument of a task: who the run is, what it works on, and how it speaks.

The same class serves both adapters; where events go is the `write` that it was made with.
"""

from __future__ import annotations

from runsd.sdk.documents import NotJson, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from os import PathLike
    from pathlib import Path
    from typing import Any

MAX_EVENT_TYPE_LENGTH = 100
DEFAULT_EVENT_BYTES = 256 * 1024
_ENVELOPE_BYTES = 64  # what a line of RUNSD_EVENTS has around type and payload
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_RESERVED_FAMILIES = frozenset({"run", "step", "approval"})
_RESERVED = frozenset({"artifact", "signal"})


class Cancelled(BaseException):
    """Raised inside a `def` task when its run is cancelled. Clean up and let it go on."""


class Context:
    """What a task is given.

    `input` and `config` are native JSON values, None when the run has none. `attempt` is 1 for the
    first. `scheduled_for` is the occurrence of a schedule that the run was made for, as RFC 3339, or empty.
    `address` is where the daemon listens.
    """

    def __init__(
        self,
        *,
        run_id: str,
        project: str,
        target: str,
        attempt: int,
        input: Any,
        config: Any,
        state_dir: str | PathLike[str],
        artifacts_dir: str | PathLike[str],
        address: str,
        scheduled_for: str = "",
        write: Callable[[str, str], None],
        event_bytes: int = DEFAULT_EVENT_BYTES,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`write` takes an event's type and its payload as JSON text of up to `event_bytes`; `drain` waits
        until what was written has been taken."""
        self.run_id = run_id
        self.project = project
        self.target = target
        self.attempt = attempt
        self.input = input
        self.config = config
        self.address = address
        self.scheduled_for = scheduled_for
        self._state_dir = state_dir
        self._artifacts_dir = artifacts_dir
        self._unchecked_write = write
        self._event_bytes = event_bytes
        self._drain = drain
        self._cancelled = False

    def __repr__(self) -> str:
        return f"<Context of {self.target}, run {self.run_id}, attempt {self.attempt}>"

    @property
    def state_dir(self) -> Path:
        """A directory that is kept between the attempts of this run."""
        return _made(self._state_dir)

    @property
    def artifacts_dir(self) -> Path:
        """Files left here are the run's artifacts; `save_artifact` never leaves half a file."""
        return _made(self._artifacts_dir)

    @property
    def cancelled(self) -> bool:
        """True from the moment the run's cancellation reached this attempt."""
        return self._cancelled

    def mark_cancelled(self) -> None:
        """For whoever executes the task."""
        self._cancelled = True

    def emit(self, event_type: str, payload: Mapping[str, Any] | None = None) -> None:
        """Add an event to the run's log: a dotted name such as `rows.loaded`, and a JSON object.

        Raises ValueError when the name is reserved or malformed, or the payload is no JSON object.
        """
        _check_event_type(event_type)
        if payload is None:
            payload = {}
        if not isinstance(payload, dict):
            raise ValueError(f"the payload of {event_type!r} must be a dict, not {type(payload).__name__}")
        self._write(event_type, _payload_json(event_type, payload))

    def _write(self, event_type: str, payload_json: str) -> None:
        size = len(payload_json) + len(event_type)
        if size > self._event_bytes - _ENVELOPE_BYTES:
            raise ValueError(
                f"the payload of {event_type!r} has {size:,} characters as JSON; "
                f"an event takes {self._event_bytes - _ENVELOPE_BYTES:,}, an artifact takes any size"
            )
        self._unchecked_write(event_type, payload_json)

    def log(self, text: str) -> None:
        """Add a line to the run's log, as `print` would. A long one becomes several events."""
        line = text if text.endswith("\n") else f"{text}\n"
        line = line.encode("utf-8", "backslashreplace").decode()  # lone surrogates, which no wire carries
        piece = max(self._event_bytes // 8, 1)  # JSON may take six characters for one
        for begin in range(0, len(line), piece):
            self._write("log", dumps({"stream": "stdout", "text": line[begin : begin + piece]}))

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the task is: 0 to 1. Raises ValueError for any other number."""
        if isinstance(fraction, bool) or not 0 <= fraction <= 1:
            raise ValueError(f"a fraction is a number from 0 to 1, not {fraction!r}")
        self._write("progress", _payload_json("progress", {"fraction": fraction, "message": message}))

    def save_artifact(self, name: str, content: bytes | bytearray | memoryview | str | PathLike[str]) -> None:
        """Leave a file as an artifact of the run: bytes, or the path of a file to copy.

        `name` is relative, with `/` between its parts. The file appears whole or not at all; one of
        the same name is replaced. Raises ValueError for a name that leads elsewhere.
        """
        from runsd.sdk.artifacts import save

        save(self.artifacts_dir, name, content)

    async def drain(self) -> None:
        """Wait until the events written so far have been taken. In a process of its own, at once."""
        if self._drain is not None:
            await self._drain()


def _made(directory: str | PathLike[str]) -> Path:
    """Made when it is first asked for: most runs ask for none, and a directory costs more than a commit."""
    from pathlib import Path

    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _payload_json(event_type: str, payload: object) -> str:
    try:
        return dumps(payload)
    except NotJson as error:
        raise ValueError(f"the payload of {event_type!r} is not JSON: {error}") from None


def _check_event_type(event_type: str) -> None:
    parts = event_type.split(".")
    if len(event_type) > MAX_EVENT_TYPE_LENGTH or not all(p and _NAME_CHARACTERS.issuperset(p) for p in parts):
        raise ValueError(
            f"{event_type!r} is not an event type; write a dotted name of letters, digits, _ and - "
            f"of at most {MAX_EVENT_TYPE_LENGTH} characters, such as 'rows.loaded'"
        )
    if event_type in _RESERVED or parts[0] in _RESERVED_FAMILIES:
        raise ValueError(f"event type {event_type!r} is reserved for runsd; choose another name")
