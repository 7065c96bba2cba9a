"""gunicorn's own log records contain no client data."""

import logging

import pytest

from app.server.log import ClientDataFilter

SECRET = "emo_secret-of-the-client"


@pytest.fixture
def log(caplog):
    log = logging.getLogger("tests.server")
    log.setLevel(logging.DEBUG)
    log.addFilter(data_filter := ClientDataFilter())
    yield log, caplog
    log.removeFilter(data_filter)


def test_filter_keeps_only_the_type_and_the_source_lines_of_an_error(log):
    log, caplog = log
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("Error handling request %s", f"/{SECRET}")
    log.warning(f"Invalid request from ip=203.0.113.9: {SECRET}")
    log.debug("Ignored premature client disconnection. %s", SECRET)
    log.info("Worker exiting (pid: %s)", 42)
    assert SECRET not in caplog.text
    assert "203.0.113.9" not in caplog.text
    assert caplog.records[0].kind == "ValueError"
    assert "test_log.py" in caplog.records[0].where
    assert caplog.records[-1].getMessage() == "Worker exiting (pid: 42)"
