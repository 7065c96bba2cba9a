"""The history on the web page: stored results, filters, charts and stored image files."""

import io
import re
from pathlib import Path

import pytest
import requests
from PIL import Image

from testbed.service import running_service
from tests.web.pages import (
    PHOTO,
    check_both_schemes,
    fits_width,
    heic,
    save_screenshot,
    select_file,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
HOSTILE = "<img src=x onerror=alert(1)>.jpg"


def test_results_can_be_filtered_viewed_downloaded_and_deleted(open_page, tmp_path):
    (tmp_path / HOSTILE.replace("/", "_")).write_bytes(PHOTO.read_bytes())
    page = open_page()
    select_file(page, tmp_path / HOSTILE)
    assert HOSTILE in page.locator("#caption").inner_text()
    page.get_by_role("link", name="History").click()
    row = page.locator("#rows tr", has_text=HOSTILE).first
    row.wait_for()
    assert page.locator("#rows img").count() == 0
    row.get_by_role("button", name="Show").click()
    assert page.locator("#rows .details .card").count() == 1
    assert page.locator("#rows .details .sketch .box").inner_text() == "1"
    page.locator("#summary").wait_for()
    check_both_schemes(page, "page-history")
    page.set_viewport_size({"width": 360, "height": 800})
    assert fits_width(page)
    save_screenshot(page, "page-history-phone", full_page=True)
    page.set_viewport_size({"width": 1200, "height": 900})

    page.get_by_label("File name").fill(HOSTILE)
    page.locator("[name=emotion]").select_option("happiness")
    page.get_by_role("button", name="Search").click()
    wait_until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 1")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    lines = Path(saved.value.path()).read_text().splitlines()
    assert len(lines) == 2
    assert "happiness" in lines[0]

    row = page.locator("#rows tr", has_text=HOSTILE).first
    row.get_by_role("button", name="Delete").click()
    assert row.is_visible()  # the first click asks for confirmation
    row.get_by_role("button", name="Delete").click()
    page.locator("#history-status", has_text="was deleted").wait_for()
    page.get_by_role("button", name="Search").click()
    page.locator("#history-status", has_text="No saved results match.").wait_for()


def test_chart_shows_stored_counts(open_page, service):
    blank = io.BytesIO()
    Image.new("RGB", (40, 40)).save(blank, "PNG")
    for data in (PHOTO.read_bytes(), PHOTO.read_bytes(), blank.getvalue()):
        response = requests.post(
            f"{service.url}/v1/images", files={"image": ("chart.jpg", data)}, timeout=30
        )
        assert response.status_code == 201
    page = open_page("/#history")
    page.get_by_label("File name").fill("chart.jpg")
    page.get_by_role("button", name="Search").click()
    page.locator("#summary-text", has_text="Total: 3 images, 2 faces").wait_for()
    numbers = page.locator("#summary-rows li:not(.axis)").all_inner_texts()
    assert [text.split() for text in numbers][:3] == [
        ["neutral", "0"],
        ["happiness", "2"],
        ["surprise", "0"],
    ]
    page.locator("#summary-moods").wait_for()
    page.get_by_text("Table", exact=True).click()
    page.locator("#summary-body tr").first.wait_for()
    row = page.locator("#summary-body tr").first.locator("td").all_inner_texts()
    assert row[:5] == ["3", "2", "happiness", "0 (0 %)", "2 (100 %)"]
    # The chart excludes deleted images, and is hidden if no image matches the filters.
    page.locator("#rows").get_by_role("button", name="Delete").first.dblclick()
    page.locator("#summary-text", has_text="2 images").wait_for()
    page.locator("[name=emotion]").select_option("fear")
    page.get_by_role("button", name="Search").click()
    page.locator("#summary").wait_for(state="hidden")
    page.get_by_role("button", name="Clear").click()
    page.locator("#summary").wait_for()
    assert page.get_by_label("File name").input_value() == ""


def spans_of_a_month():
    """Return daily spans of a month without the 10th to the 12th, in the form of the service."""
    days = [day for day in range(1, 31) if not 10 <= day <= 12]
    counts = {"happiness": 7, "neutral": 5, "surprise": 3, "sadness": 2, "anger": 1}
    return [
        {
            "span": f"2026-11-{day:02}",
            "images": 2 * day,
            "faces": sum((day * share) % 11 for share in counts.values()),
            "emotions": {
                emotion: {"faces": (day * share) % 11, "mean_probability": share / 18}
                for emotion, share in counts.items()
            },
        }
        for day in days
    ]


def test_chart_of_month_has_daily_bars(open_page):
    page = open_page()
    spans, requested = spans_of_a_month(), []

    def respond(route):
        requested.append(route.request.url)
        route.fulfill(json={"by": "day", "spans": spans})

    page.route("**/v1/summary?*", respond)
    page.get_by_role("link", name="History").click()
    page.locator("#summary-text", has_text="Total").wait_for()
    without_mood = [url for url in requested if "mood=" not in url]
    assert len(without_mood) == 1, "the page requested hours for a month"
    # The x position of a bar is its day, and the height is the count divided by the maximum, 10.
    path = page.locator("#summary-rows [data-label=happiness] path").get_attribute("d")
    bars = [
        [float(number) for number in bar]
        for bar in re.findall(r"M(\S+) 100V(\S+)H(\S+)V100Z", path)
    ]
    counted = [span for span in spans if span["emotions"]["happiness"]["faces"]]
    for (left, top, right), span in zip(bars, counted, strict=True):
        day = int(span["span"][-2:])
        assert left == pytest.approx((day - 1) / 30 * 1000, abs=0.1)
        assert right - left == pytest.approx(0.85 / 30 * 1000, abs=0.2)
        assert top == 100 - 10 * span["emotions"]["happiness"]["faces"]
    assert page.locator("#summary-rows [data-label=fear]").count() == 0, "no span has this label"
    # The numbers are those of the day under the pointer.
    plot = page.locator("#summary-rows .plot").first.bounding_box()
    page.mouse.move(plot["x"] + 20.4 / 30 * plot["width"], plot["y"] + 5)
    page.locator("#summary-text", has_text="42 images, 37 faces").wait_for()
    assert page.locator("#summary-rows [data-label=happiness] .number").inner_text() == "4"
    save_screenshot(page, "page-chart-pointed")
    page.mouse.move(0, 0)
    page.get_by_text("Table", exact=True).click()
    wait_until(page, "document.querySelectorAll('#summary-body tr').length === 27")
    check_both_schemes(page, "page-chart")
    page.set_viewport_size({"width": 360, "height": 800})
    assert fits_width(page)
    save_screenshot(page, "page-chart-phone", full_page=True)
    page.locator("#summary-by").select_option("hour")
    wait_until(
        page,
        "performance.getEntriesByType('resource').some((entry) => /by=hour/.test(entry.name))",
    )
    assert "by=hour" in requested[-1]


def test_history_has_pages(open_page, service):
    blank = io.BytesIO()
    Image.new("RGB", (40, 40)).save(blank, "PNG")
    for _ in range(21):
        response = requests.post(
            f"{service.url}/v1/images", files={"image": ("many.png", blank.getvalue())}, timeout=30
        )
        assert response.status_code == 201
    page = open_page("/#history")
    page.get_by_label("File name").fill("many.png")
    page.get_by_role("button", name="Search").click()
    wait_until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 20")
    page.get_by_role("button", name="Older").click()
    wait_until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 1")
    page.get_by_role("button", name="Newest").click()
    wait_until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 20")


def test_moods_are_shown_above_chart(open_page, tmp_path):
    page = open_page()
    select_file(page, PHOTO)
    page.get_by_role("link", name="History").click()
    page.locator("#summary-moods [data-label=happiness]").first.wait_for()
    page.get_by_text("Table", exact=True).click()
    page.locator("#summary-body td", has_text="happiness").first.wait_for()


def test_stored_images_are_announced_and_shown(open_page, tmp_path):
    folder = str(tmp_path / "pictures")
    with running_service(
        tmp_path, EMOTION_KEEP_PICTURES="true", EMOTION_PICTURES_DIR=folder
    ) as url:
        page = open_page(url=url)
        page.get_by_text("which stores them with the results").wait_for()
        select_file(page, PHOTO)
        page.get_by_role("link", name="History").click()
        page.get_by_role("button", name="Show astronaut.jpg").click()
        page.locator(".sketch img").wait_for()
        wait_until(page, "document.querySelector('.sketch img').naturalWidth === 512")
        save_screenshot(page, "page-history-kept", full_page=True)


def test_stored_image_that_browser_cannot_show_is_omitted(open_page, tmp_path):
    folder = str(tmp_path / "pictures")
    with running_service(
        tmp_path, EMOTION_KEEP_PICTURES="true", EMOTION_PICTURES_DIR=folder
    ) as url:
        page = open_page(url=url)
        select_file(page, heic(tmp_path / "photo.heic"))
        page.get_by_role("link", name="History").click()
        with page.expect_response("**/picture") as response:
            page.get_by_role("button", name="Show photo.heic").click()
        assert response.value.ok
        page.locator(".sketch .box").wait_for()
        page.wait_for_timeout(300)
        assert page.locator(".sketch img").count() == 0
