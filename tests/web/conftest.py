import re

import pytest

from testbed.service import Service


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    service = Service(
        tmp_path_factory.mktemp("web"),
        EMOTION_MAX_IMAGE_BYTES="3000000",
        EMOTION_PUBLIC_RATE_LIMIT="",  # all tests use the same client address
    )
    service.start()
    yield service
    service.stop()


@pytest.fixture
def open_page(browser, service):
    """Return a function that opens a page in a new browser context.

    The test fails at the end if the console has errors or warnings that do not match `forgive`, or
    if a page sent a request to another server.
    """
    contexts, requests, errors, services = [], [], [], []

    def open_page(path="/", *, forgive="", browser=browser, url=service.url, **options):
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}, "permissions": ["camera"], **options}
        )
        contexts.append(context)
        page = context.new_page()

        def record_error(text):
            if not (forgive and re.search(forgive, text)):
                errors.append(text)

        def record_message(message):
            if message.type in ("error", "warning"):
                record_error(message.text)

        page.on("request", lambda request: requests.append(request.url))
        page.on("console", record_message)
        page.on("pageerror", lambda error: record_error(str(error)))
        services.append(url)
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert all(url.startswith((*services, "blob:")) for url in requests)
