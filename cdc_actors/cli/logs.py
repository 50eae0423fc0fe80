"""Logging: everything on standard error, for people on a terminal, else JSON lines.

structlog renders; the standard library's loggers of our libraries go the same way.
Secrets are masked on the last step before rendering, whoever logged them.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

# Importing it sets up handlers of its own, which configure() takes away again.
import pymilvus  # noqa: F401
import structlog

from cdc_actors.masking import MASK, mask_urls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

    from cdc_actors.config.model import LogLevel

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_LIBRARIES = ("falcon", "nats", "pykka", "pymilvus", "waitress")
# These log a traceback for each failed call, which comes to us as an exception anyway.
_REPEATING = ("pymilvus.client.abstract", "pymilvus.decorators")
_SECRET = re.compile(r"token|password|passwd|secret", re.IGNORECASE)


def configure(
    level: LogLevel,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Send all logging of this process to ``stream``, standard error if None.

    Libraries are heard from warnings on, or from debug on at that level. May be called
    again; the last call counts.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(stream, environ))
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    _route_libraries(_LEVELS[level])
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=False,
    )


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask values of keys that name a secret, and passwords in URLs, at any depth."""
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: Any, value: Any) -> Any:
    if isinstance(key, str) and _SECRET.search(key):
        return MASK if value else value
    if isinstance(value, str):
        return mask_urls(value)
    if isinstance(value, dict):
        return {inner: _masked(inner, each) for inner, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(None, each) for each in value]
    return value


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]


def _formatter(
    stream: TextIO, environ: Mapping[str, str]
) -> structlog.stdlib.ProcessorFormatter:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    renderer: Processor
    if stream.isatty():
        renderer = structlog.dev.ConsoleRenderer(
            colors=not environ.get("NO_COLOR"),
            timestamp_key="ts",
            exception_formatter=structlog.dev.plain_traceback,
        )
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    # Tracebacks become text before the masking: they repeat messages of libraries.
    traces = structlog.processors.format_exc_info
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[remove_meta, traces, mask_secrets, renderer],
    )


def _route_libraries(level: int) -> None:
    below = level if level in (logging.DEBUG, logging.ERROR) else logging.WARNING
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(below)
    for name in _REPEATING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
