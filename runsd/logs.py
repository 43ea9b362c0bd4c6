"""The daemon's log: readable on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import logging
import sys

import structlog

from runsd.model.settings import LogFormat, LogLevel


def configure_logs(log_format: LogFormat, level: LogLevel) -> None:
    on_terminal = sys.stderr.isatty() if log_format is LogFormat.AUTO else log_format is LogFormat.CONSOLE
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=not on_terminal),
            *_rendering(on_terminal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.value.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _rendering(on_terminal: bool) -> list[structlog.typing.Processor]:
    if on_terminal:
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
