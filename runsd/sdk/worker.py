"""The process of one attempt of a Python task.

Started as `python -c "from runsd.sdk.worker import main; main()" PROJECT_DIR MODULE QUALNAME` with
the run's environment. Leaves an output or an error file, never both; the exit status tells the rest:
0 completed, 1 failed, 143 cancelled, or what the task gave to `sys.exit`.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from runsd.sdk.callables import NoSuchCallable, find, import_module, put_first_on_path
from runsd.sdk.context import DEFAULT_EVENT_BYTES, Cancelled, Context
from runsd.sdk.documents import NotJson, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType
    from typing import Any, NoReturn

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANCELLED = 128 + signal.SIGTERM


class Failed(Exception):
    """The attempt failed for a reason that is not an exception of the task."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = {"message": message, "code": code, "detail": None}


class Cancellation:
    """What SIGTERM does: marks the context, and the first time interrupts the task.

    Interrupts from its construction until the `with` block is left; later signals only mark, so that
    the end of the attempt is recorded undisturbed.
    """

    def __init__(self) -> None:
        self._context: Context | None = None
        self._interrupt: Callable[[], object] = _raise_cancelled
        signal.signal(signal.SIGTERM, self._on_signal)

    def __enter__(self) -> Cancellation:
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupt_by(_do_nothing)

    def watch(self, context: Context) -> None:
        self._context = context

    def interrupt_by(self, interrupt: Callable[[], object]) -> None:
        self._interrupt = interrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._context is not None:
            self._context.mark_cancelled()
        interrupt, self._interrupt = self._interrupt, _do_nothing
        interrupt()


def _raise_cancelled() -> None:
    raise Cancelled


def _do_nothing() -> None:
    pass


def main() -> NoReturn:
    try:
        with Cancellation() as cancellation:
            result = _execute(cancellation)
        _write_output(result)
        status = 0
    except Cancelled:
        status = EXIT_CANCELLED
    except SystemExit:
        raise
    except Failed as failed:
        print(f"runsd: {failed}", file=sys.stderr)
        _write_whole(os.environ["RUNSD_ERROR"], dumps(failed.error))
        status = EXIT_FAILED
    except BaseException as error:  # noqa: BLE001 - the outermost edge of the process
        _report(error)
        status = EXIT_FAILED
    sys.exit(status)


def _execute(cancellation: Cancellation) -> Any:
    _buffer_by_line()
    try:
        directory, module, qualname = sys.argv[1:]
        context = _context()
    except (KeyError, ValueError) as error:
        print(f"runsd: this process is started by the runsd daemon, not by hand: {error!r}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    cancellation.watch(context)
    put_first_on_path(directory)
    try:
        function = find(import_module(module), qualname)
    except NoSuchCallable as error:
        raise Failed("start_failed", str(error)) from None
    result = function(context)
    return _await(result, context, cancellation) if hasattr(result, "__await__") else result


def _buffer_by_line() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _context() -> Context:
    environ = os.environ
    return Context(
        run_id=environ["RUNSD_RUN_ID"],
        project=environ["RUNSD_PROJECT"],
        target=environ["RUNSD_TARGET"],
        attempt=int(environ["RUNSD_ATTEMPT"]),
        input=_read_document(environ["RUNSD_INPUT"]),
        config=_read_document(environ["RUNSD_CONFIG"]),
        state_dir=environ["RUNSD_STATE"],
        artifacts_dir=environ["RUNSD_ARTIFACTS"],
        address=environ.get("RUNSD_ADDRESS", ""),
        scheduled_for=environ.get("RUNSD_SCHEDULED_FOR", ""),
        write=_event_writer(environ["RUNSD_EVENTS"]),
        event_bytes=int(environ.get("RUNSD_EVENT_BYTES", DEFAULT_EVENT_BYTES)),
    )


def _read_document(path: str) -> Any:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - importing pathlib takes as long as Python's own start
            text = file.read()
    except FileNotFoundError:
        return None
    return json.loads(text) if text else None


def _event_writer(path: str) -> Callable[[str, str], None]:
    """One line an event and one write a line, so that lines of several processes never mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(event_type: str, payload_json: str) -> None:
        line = f'{{"event_type":"{event_type}","payload":{payload_json}}}\n'.encode()
        while line:
            line = line[os.write(descriptor, line) :]

    return write


def _await(result: Awaitable[Any], context: Context, cancellation: Cancellation) -> Any:
    import asyncio

    async def supervise() -> Any:
        running = asyncio.ensure_future(result)
        wake = asyncio.get_running_loop().call_soon_threadsafe  # a signal may find the loop asleep
        cancellation.interrupt_by(lambda: wake(running.cancel))
        try:
            return await running
        finally:
            cancellation.interrupt_by(_do_nothing)

    try:
        return asyncio.run(supervise())
    except asyncio.CancelledError:
        if context.cancelled:
            raise Cancelled from None
        raise


def _write_output(result: object) -> None:
    if result is None:
        return
    try:
        text = dumps(result)
    except NotJson as error:
        raise Failed("output_invalid", f"the task returned a value that is not JSON: {error}") from None
    _write_whole(os.environ["RUNSD_OUTPUT"], text)


def _report(error: BaseException) -> None:
    from runsd.sdk.failure import describe

    description = describe(error)
    sys.stderr.write(description["detail"]["traceback"])
    _write_whole(os.environ["RUNSD_ERROR"], dumps(description))


def _write_whole(path: str, text: str) -> None:
    temporary = f"{path}.part"
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
        file.write(text)
    os.replace(temporary, path)  # noqa: PTH105 - as above
