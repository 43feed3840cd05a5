"""Logging of every job: structlog over the standard library, to stderr."""

import logging
import sys


def configure(level: str = "warning") -> None:
    """Send log records of `level` and above to stderr: readable on a terminal, JSON lines elsewhere.

    Raises:
        ValueError: `level` is none of Python's level names.
    """
    import structlog

    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level; got {level!r}; expected debug, info, warning or error; a typing slip?")
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=number, force=True)
    renderer = (
        structlog.dev.ConsoleRenderer(colors=False) if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
