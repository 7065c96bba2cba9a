"""The group mood on the web page."""

import pytest

from app.vision.aggregators import AGGREGATORS, DEFAULT
from tests.web.pages import PHOTO, check_both_schemes, crowd, select_file, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.weights]


def test_group_mood_and_weights_are_shown(open_page, tmp_path):
    page = open_page()
    page.locator("#pipeline").select_option("single_shot")
    select_file(page, crowd(tmp_path))
    assert page.locator("#mood-name").inner_text() == "happiness"
    assert "agreement" in page.locator("#mood-text").inner_text()
    page.get_by_text("Weight of each face").click()
    faces = page.locator("#mood-weights li")
    assert faces.nth(5).is_visible()
    assert faces.nth(5).inner_text().startswith("Face 6: ")
    weights = [int(faces.nth(n).get_attribute("data-weight").split()[0]) for n in range(6)]
    assert sum(weights) == pytest.approx(100, abs=4)
    # On the box, a weight would read as the probability of the emotion.
    assert page.locator("#image [data-weight]").count() == 0
    with page.expect_response(lambda response: "/mood?aggregator=most_negative" in response.url):
        page.locator("#mood-by").select_option("most_negative")
    wait_until(page, "document.querySelectorAll('#mood [data-weight=\"100 %\"]').length === 1")
    check_both_schemes(page, "page-mood")
    select_file(page, PHOTO)
    assert page.locator("#mood").is_hidden(), "a single face is not a group"


def test_mood_of_unstored_image_is_requested_again(open_page, tmp_path):
    page = open_page()
    page.locator("#store").uncheck()
    page.locator("#pipeline").select_option("single_shot")
    select_file(page, crowd(tmp_path, columns=2, rows=1))
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        page.locator("#mood-by").select_option("vote")
    assert response.value.status == 200  # not 201: nothing is stored
    wait_until(page, "document.querySelectorAll('#mood [data-weight=\"50 %\"]').length === 2")


def test_page_lists_aggregators_of_service(open_page):
    page = open_page()
    wait_until(page, "document.getElementById('mood-by').options.length > 0")
    offered = page.locator("#mood-by option").evaluate_all(
        "elements => elements.map((element) => element.value)"
    )
    titles = page.locator("#mood-by option").evaluate_all(
        "elements => elements.map((element) => element.text)"
    )
    assert offered == list(AGGREGATORS)
    assert titles == [each.title for each in AGGREGATORS.values()]
    assert page.locator("#mood-by").input_value() == DEFAULT
