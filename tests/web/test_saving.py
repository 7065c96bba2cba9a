"""Changed options on the Analyse page: the result is not saved, or replaces the stored one."""

import shutil

import pytest
import requests

from app.vision.detectors import RECOMMENDED
from tests.web.pages import (
    PHOTO,
    check_both_schemes,
    fits_width,
    save_screenshot,
    select_file,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]


@pytest.fixture
def photo(tmp_path, request):
    """A file whose name no other test stores."""
    name = "".join(each for each in request.node.name if each.isalnum())
    return shutil.copy(PHOTO, tmp_path / f"{name}.jpg")


@pytest.fixture
def stored(service, photo):
    """Return a function that lists the stored results of the photo, as (id, detector)."""

    def stored():
        url = f"{service.url}/v1/images?file_name={photo.name}"
        images = requests.get(url, timeout=30).json()["images"]
        return [(image["id"], image["detector"]) for image in images]

    return stored


def show_changed(page, photo, detector="haar"):
    """Analyse the photo, and analyse it again with another detector."""
    wait_until(page, "document.getElementById('detector').options.length > 1")
    select_file(page, photo)
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        page.locator("#detector").select_option(detector)
    page.locator("#save-result").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    return response.value


def test_result_of_changed_options_is_not_stored(open_page, photo, stored):
    page = open_page()
    select_file(page, photo)
    assert page.locator("#unsaved").is_hidden()
    before = stored()
    assert len(before) == 1
    response = show_changed(page, photo)
    assert response.status == 200  # not 201: nothing is stored
    assert len(stored()) == 2, "each choice of the file is a result"
    text = page.locator("#unsaved-text").inner_text()
    assert text.startswith("Not saved")
    assert "The history has the previous result." in text
    assert "not saved" in page.locator("#caption").inner_text()
    page.locator("#pipeline").select_option("single_shot")
    page.locator("#progress").wait_for(state="hidden")
    assert page.locator("#save-result").is_visible()
    assert len(stored()) == 2
    check_both_schemes(page, "page-unsaved")
    select_file(page, photo)
    assert page.locator("#unsaved").is_hidden()


def test_saved_result_replaces_previous_one(open_page, photo, stored):
    page = open_page()
    show_changed(page, photo)
    ((first, detector),) = stored()
    assert detector != "haar"
    page.get_by_role("button", name="Save this result").click()
    page.locator("#unsaved").wait_for(state="hidden")
    ((second, detector),) = stored()
    assert detector == "haar"
    assert second != first
    assert f"saved as {second}" in page.locator("#caption").inner_text()
    # A second change replaces the second result.
    page.locator("#detector").select_option(RECOMMENDED)
    page.get_by_role("button", name="Save this result").click()
    page.locator("#unsaved").wait_for(state="hidden")
    assert [detector for _, detector in stored()] == [RECOMMENDED]


def test_unstored_image_can_be_saved_after_change(open_page, photo, stored):
    page = open_page()
    page.locator("#store").uncheck()
    show_changed(page, photo)
    assert stored() == []
    assert "previous" not in page.locator("#unsaved-text").inner_text()
    page.get_by_role("button", name="Save this result").click()
    page.locator("#unsaved").wait_for(state="hidden")
    assert [detector for _, detector in stored()] == ["haar"]


def test_page_says_if_previous_result_cannot_be_deleted(open_page, photo, stored):
    page = open_page(forgive="status of 403", viewport={"width": 360, "height": 800})
    show_changed(page, photo)
    problem = {"status": 403, "detail": "the key lacks the right 'erase'", "type": "urn:x:no"}

    def reject_deletion(route):
        if route.request.method == "DELETE":
            route.fulfill(status=403, json=problem, content_type="application/problem+json")
        else:
            route.fallback()

    page.route("**/v1/images/*", reject_deletion)
    page.get_by_role("button", name="Save this result").click()
    page.locator("#save-problem", has_text="lacks the right 'erase'").wait_for()
    assert "counted twice" in page.locator("#unsaved-text").inner_text()
    assert len(stored()) == 2
    assert fits_width(page)
    save_screenshot(page, "page-unsaved-360", full_page=True)
    page.unroute("**/v1/images/*")
    page.get_by_role("button", name="Delete the previous result").click()
    page.locator("#unsaved").wait_for(state="hidden")
    assert [detector for _, detector in stored()] == ["haar"]


def test_deleted_previous_result_is_no_problem(open_page, service, photo, stored):
    page = open_page(forgive="status of 404")
    show_changed(page, photo)
    ((first, _),) = stored()
    requests.delete(f"{service.url}/v1/images/{first}", timeout=30).raise_for_status()
    page.get_by_role("button", name="Save this result").click()
    page.locator("#unsaved").wait_for(state="hidden")
    assert [detector for _, detector in stored()] == ["haar"]


def test_repeated_requests_after_lost_response_store_once(open_page, photo, stored):
    page = open_page(forgive="ERR_|Failed to fetch")
    # The service stores the image, but the page gets no response.
    page.evaluate(
        """() => {
            const original = window.fetch;
            window.lost = 0;
            window.fetch = async (url, options) => {
                const response = await original(url, options);
                if (response.status === 201 && window.lost < 2) {
                    window.lost += 1;
                    throw new TypeError("connection lost");
                }
                return response;
            };
        }"""
    )
    second = shutil.copy(PHOTO, photo.parent / "other.jpg")
    page.locator("#file").set_input_files([photo, second])  # both responses are lost
    page.get_by_role("button", name=f"Retry {photo.name}").click()
    page.locator(".entry", has_text=photo.name).wait_for()
    assert len(stored()) == 1
    page.locator(".entry", has_text=photo.name).click()
    page.locator("#caption", has_text=photo.name).wait_for()
    page.locator("#detector").select_option("haar")
    page.locator("#save-result").wait_for()
    assert "not saved" in page.locator("#queue-list .current").inner_text()
    page.evaluate("window.lost = 1")
    page.get_by_role("button", name="Save this result").click()
    page.locator("#save-problem", has_text="cannot be reached").wait_for()
    assert len(stored()) == 2
    page.get_by_role("button", name="Save this result").click()
    page.locator("#unsaved").wait_for(state="hidden")
    assert [detector for _, detector in stored()] == ["haar"]
