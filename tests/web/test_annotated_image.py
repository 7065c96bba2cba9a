"""The web page shows the annotated image of the service where a browser cannot show the file."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.web.pages import PHOTO, check_both_schemes, heic, select_file, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.weights]


def is_annotated(response):
    return response.request.headers.get("accept") == "image/jpeg"


@pytest.mark.parametrize("kind", ["photo.tiff", "photo.heic", "photo.HIF"])
def test_annotated_image_replaces_file_that_browser_cannot_show(open_page, tmp_path, kind):
    page = open_page()
    path = tmp_path / kind
    Image.open(PHOTO).save(path) if kind.endswith("tiff") else heic(path)
    with page.expect_response(is_annotated) as annotated:
        select_file(page, path)
    assert annotated.value.status == 200  # not 201: the image is stored once
    wait_until(page, "document.querySelector('#image img').naturalWidth === 512")
    assert page.locator("#faces .card").count() == 1
    assert "annotated image of the service" in page.locator("#image-note").inner_text()
    # The page draws nothing on the boxes and labels of the service, even on a highlighted face.
    highlights = (lambda: None, page.locator("#image .box").hover, page.locator(".card").focus)
    for highlight in highlights:
        highlight()
        assert page.locator("#image .box span").is_hidden()
        assert page.locator("#image .box").evaluate(
            """element => [
                getComputedStyle(element).borderTopColor,
                getComputedStyle(element).boxShadow,
                getComputedStyle(element, "::after").display,
            ]"""
        ) == ["rgba(0, 0, 0, 0)", "none", "none"]
    assert page.locator("#image .box.highlighted").count() == 1
    check_both_schemes(page, f"page-{path.suffix[1:].lower()}")
    with page.expect_response(is_annotated) as again:
        page.locator("#threshold").press("End")
    assert again.value.ok
    select_file(page, PHOTO)
    assert page.locator("#image-note").is_hidden()
    assert page.locator("#image .box span").is_visible()


def test_older_annotated_image_does_not_replace_newer_one(open_page, tmp_path):
    page = open_page()
    select_file(page, heic(tmp_path / "photo.heic"))
    held = []

    def hold(route):
        if "image/jpeg" in route.request.headers.get("accept", ""):
            held.append(route)
        else:
            route.fallback()

    page.route("**/v1/images*", hold)
    for number, key in enumerate(("End", "Home"), start=1):
        page.locator("#threshold").press(key)
        for _ in range(100):
            if len(held) == number:
                break
            page.wait_for_timeout(50)
    older, newer = held
    newer.fulfill(body=blank(32), content_type="image/jpeg")
    wait_until(page, "document.querySelector('#image img').naturalWidth === 32")
    shown = page.locator("#image img").get_attribute("src")
    older.fulfill(body=blank(16), content_type="image/jpeg")
    page.wait_for_timeout(500)
    assert page.locator("#image img").get_attribute("src") == shown
    assert page.locator("#image img").evaluate("element => element.naturalWidth") == 32


def blank(side):
    data = io.BytesIO()
    Image.new("RGB", (side, side)).save(data, "JPEG")
    return data.getvalue()


def test_browser_shows_avif_file(open_page, tmp_path):
    page = open_page()
    Image.open(PHOTO).save(tmp_path / "photo.avif")
    accepts = []

    def record_accept(request):
        if request.method == "POST":
            accepts.append(request.headers.get("accept"))

    page.on("request", record_accept)
    select_file(page, tmp_path / "photo.avif")
    assert page.locator("#image img").evaluate("element => element.naturalWidth") == 512
    assert page.locator("#image-note").is_hidden()
    assert accepts == [None]  # the default is JSON


def test_sketch_shows_faces_if_annotated_image_fails(open_page, tmp_path):
    page = open_page(forgive="status of 406")
    problem = {"title": "Not acceptable", "status": 406, "detail": "too long a side for this type"}

    def reject_annotated(route):
        if "image/" in route.request.headers.get("accept", ""):
            route.fulfill(status=406, json=problem, content_type="application/problem+json")
        else:
            route.fallback()

    page.route("**/v1/images*", reject_annotated)
    select_file(page, heic(tmp_path / "photo.heic"))
    assert page.locator("#faces .card").count() == 1
    assert page.locator("#image .sketch").bounding_box()["width"] > 100
    assert page.locator("#image .box").is_visible()
    assert "oo long a side" in page.locator("#image-note").inner_text()
    assert page.locator("#problem").is_hidden()
    check_both_schemes(page, "page-blank")


def test_annotated_image_replaces_file_of_different_size(open_page, tmp_path):
    page = open_page()
    # Some browsers ignore the orientation of some formats, or show another image of the file.
    page.evaluate(
        """() => {
            const natural = { get: () => 1024 };
            Object.defineProperty(HTMLImageElement.prototype, "naturalWidth", natural);
        }"""
    )
    select_file(page, PHOTO)
    assert page.locator("#image-note").is_visible()


def test_annotated_image_can_be_downloaded(open_page):
    page = open_page()
    select_file(page, PHOTO)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download with boxes").click()
    assert saved.value.suggested_filename == "astronaut-faces.png"
    annotated = Path(saved.value.path()).read_bytes()
    assert Image.open(io.BytesIO(annotated)).size == (512, 512)
