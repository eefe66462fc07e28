"""Where a service inside a command logs to: stderr, and only what somebody should look at."""

import logging
import sys
from typing import Any

import structlog


def log_to_stderr() -> None:
    """Logs warnings and errors as lines of JSON; stdout is for data."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=_stderr_logger,
    )


def _stderr_logger(*_names: Any) -> structlog.PrintLogger:
    """Made for each line, since a live bar stands in for stderr while it is drawn."""
    return structlog.PrintLogger(sys.stderr)
