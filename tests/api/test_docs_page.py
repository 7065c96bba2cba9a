"""/docs in a real browser: it draws the API, asks nobody else, and complains of nothing."""

import pytest

from app.settings import ROOT
from testbed.service import running_service

pytestmark = [pytest.mark.browser, pytest.mark.weights]
SCREENSHOTS = ROOT / "artifacts"


def test_the_page_shows_the_api_and_lets_one_try_it(browser, tmp_path):
    with running_service(tmp_path) as url:
        page = browser.new_page(viewport={"width": 1200, "height": 1500})
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda it: it.type == "error" and complaints.append(it.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock-summary")
        shown = page.locator(".opblock-summary-path").all_inner_texts()
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "docs.png")
        page.locator(".opblock-post", has_text="/v1/images").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("input[type=file]").set_input_files(ROOT / "docs" / "astronaut.jpg")
        page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table .highlight-code").first
        answer.wait_for()
        answered = answer.inner_text()
        page.screenshot(path=SCREENSHOTS / "docs-post.png", full_page=True)
        page.close()
    paths = {path.replace("\u200b", "") for path in shown}
    assert paths >= {"/v1/images", "/v1/faces", "/v1/summary", "/v1/models", "/index"}
    assert '"happiness"' in answered
    assert all(each.startswith((url, "data:", "blob:")) for each in asked)
    assert complaints == []
