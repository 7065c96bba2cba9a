import re

import pytest

from testbed.service import Service


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    service = Service(
        tmp_path_factory.mktemp("web"),
        EMOTION_MAX_IMAGE_BYTES="3000000",
        EMOTION_PUBLIC_RATE_LIMIT="",  # all pages of all tests come from one address
    )
    service.start()
    yield service
    service.stop()


@pytest.fixture
def open_page(browser, service):
    """Opens pages, each in a context of its own; at the end nothing may have been complained of,
    and nobody else asked."""
    contexts, asked, complaints, served = [], [], [], []

    def open_page(path="/", *, forgive="", browser=browser, url=service.url, **options):
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}, "permissions": ["camera"], **options}
        )
        contexts.append(context)
        page = context.new_page()

        def complain(text):
            if not (forgive and re.search(forgive, text)):
                complaints.append(text)

        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda it: it.type in ("error", "warning") and complain(it.text))
        page.on("pageerror", lambda error: complain(str(error)))
        served.append(url)
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith((*served, "blob:")) for url in asked)
