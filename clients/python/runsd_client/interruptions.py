"""Channels of sync code, which Ctrl-C may interrupt anywhere.

gRPC waits for ever to close a channel with a call that was interrupted while it began.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc

# To close a channel takes milliseconds.
CLOSE_SECONDS = 1.0


class Interruptions:
    """Of the calls of one channel."""

    def __init__(self) -> None:
        self._have_been = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """What a signal's handler raises, KeyboardInterrupt or other, can leave a call half begun."""
        try:
            yield
        except (grpc.RpcError, GeneratorExit):
            raise
        except BaseException:
            self._have_been = True
            raise

    def close(self, channel: grpc.Channel) -> None:
        if not self._have_been:
            channel.close()
        elif not sys.is_finalizing():
            closing = threading.Thread(target=channel.close, name="closing the channel", daemon=True)
            # When Python ends it starts no thread any more, and the connection ends with it.
            with suppress(RuntimeError):
                closing.start()
                closing.join(CLOSE_SECONDS)
