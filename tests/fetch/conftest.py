"""Fixtures: a file on a server of the simulated internet, and a fetcher that may fetch it."""

import pytest

from tests.upstream import http_response

URL = "https://images.example.com/a.png"
FILE = b"the file" * 1000


@pytest.fixture
def secure(internet):
    """The HTTPS server at images.example.com and at all other names."""
    internet.secure.responses["/a.png"] = http_response(FILE)
    return internet.secure


@pytest.fixture
def fetcher(internet, secure):
    return internet.fetcher()
