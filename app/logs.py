"""Configuration of the log: one JSON object per line, with the ids of the request and its key."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter

FORMAT = "%(levelname)s %(process)d %(name)s %(message)s"


class RequestContext(logging.Filter):
    """Adds `request_id` and `key_id` to every record that is logged during a request.

    `key_id` is None for a request without a valid key.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context():
            key = g.get("key")
            record.request_id = g.get("request_id")
            record.key_id = key.id if key else None
        return True


def json_formatter() -> logging.Formatter:
    return JsonFormatter(
        FORMAT, timestamp="time", rename_fields={"levelname": "level", "name": "logger"}
    )


def log_config(level: str) -> dict[str, Any]:
    """Return the configuration for logging.config.dictConfig.

    Level debug applies to this service only. Libraries stay at info, because at debug they log EXIF
    values and URLs of requests.
    """
    library_level = "INFO" if level == "debug" else level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": json_formatter}},
        "filters": {"request": {"()": RequestContext}},
        "handlers": {
            "json": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "filters": ["request"],
            }
        },
        "root": {"level": library_level, "handlers": ["json"]},
        "loggers": {
            "app": {"level": level.upper()},
            "gunicorn.error": {"level": library_level, "handlers": [], "propagate": True},
            "alembic": {"level": "WARNING" if level in ("debug", "info") else level.upper()},
        },
    }


@contextmanager
def logging_to_stderr(level: str) -> Iterator[None]:
    """Log the records of the service to standard error within a `with` block. For commands."""
    logger, handler = logging.getLogger("app"), logging.StreamHandler()
    handler.setFormatter(json_formatter())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
