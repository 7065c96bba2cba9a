"""/docs in a real browser: it shows the API, works offline and logs no errors."""

import pytest

from app.settings import ROOT
from testbed.service import running_service

pytestmark = [pytest.mark.browser, pytest.mark.weights]
SCREENSHOTS = ROOT / "artifacts"


def test_docs_page_shows_api_and_sends_requests(browser, tmp_path):
    with running_service(tmp_path) as url:
        page = browser.new_page(viewport={"width": 1200, "height": 1500})
        requested, errors = [], []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock-summary")
        path_texts = page.locator(".opblock-summary-path").all_inner_texts()
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "docs.png")
        page.locator(".opblock-post", has_text="/v1/images").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("input[type=file]").set_input_files(ROOT / "docs" / "astronaut.jpg")
        page.get_by_role("button", name="Execute").click()
        response = page.locator(".live-responses-table .highlight-code").first
        response.wait_for()
        response_text = response.inner_text()
        page.screenshot(path=SCREENSHOTS / "docs-post.png", full_page=True)
        page.close()
    paths = {path.replace("\u200b", "") for path in path_texts}
    assert paths >= {"/v1/images", "/v1/faces", "/v1/summary", "/v1/models", "/index"}
    assert '"happiness"' in response_text
    assert all(each.startswith((url, "data:", "blob:")) for each in requested)
    assert errors == []
