"""The web page in a real browser: choosing and analysing images, settings, errors and API keys."""

import json
import re
import shutil
from base64 import b64encode

import pytest

from app.settings import ROOT, Settings
from app.store.keys import Right
from app.vision.detectors import DEFAULT as DEFAULT_DETECTOR
from app.vision.detectors import DETECTORS, RECOMMENDED
from testbed.service import Service, running_service
from tests.web.pages import (
    LABELS_WITHIN,
    PHOTO,
    accessibility_violations,
    check_both_schemes,
    crowd,
    fits_width,
    heic,
    save_screenshot,
    select_file,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]


def test_chosen_image_shows_its_face(open_page):
    page = open_page()
    assert page.locator("#result").is_hidden()
    check_both_schemes(page, "page-empty")
    select_file(page, PHOTO)
    assert page.locator("#faces .card").count() == 1
    assert "happiness 100 %" in page.locator("#faces .card small").inner_text()
    assert "512 × 512" in page.locator("#caption").inner_text()
    # The box is at the position of the face, relative to the image.
    image, box = (
        page.locator(selector).bounding_box() for selector in ("#image img", "#image button.box")
    )
    left, right = ((x - image["x"]) / image["width"] for x in (box["x"], box["x"] + box["width"]))
    assert pytest.approx(left, abs=0.01) == 182 / 512
    assert pytest.approx(right, abs=0.01) == 270 / 512
    save_screenshot(page, "page-one-face", full_page=True)
    assert accessibility_violations(page) == []


def is_post(response):
    return response.request.method == "POST"


def test_recommended_detector_is_selected_and_haar_is_offered(open_page):
    assert RECOMMENDED != DEFAULT_DETECTOR == "haar"
    recommended, original = DETECTORS[RECOMMENDED], DETECTORS["haar"]
    page = open_page()
    wait_until(page, "document.getElementById('detector').options.length > 1")
    description = page.locator("#detector-description")
    assert page.locator("#detector").input_value() == RECOMMENDED
    assert description.inner_text() == f"{recommended.title}: {recommended.description}"
    assert page.locator("#detector").bounding_box()["width"] > 300, "the selects fill the row"
    with page.expect_response(is_post) as response:
        select_file(page, PHOTO)
    assert response.value.json()["detector"] == RECOMMENDED
    assert response.value.json()["model"]["name"] == Settings().model
    with page.expect_response(is_post) as response:
        page.locator("#detector").select_option(label="Viola-Jones (as the original service)")
    assert response.value.json()["detector"] == "haar"
    assert description.inner_text() == f"{original.title}: {original.description}"
    page.locator("#progress").wait_for(state="hidden")
    check_both_schemes(page, "page-detector")
    with page.expect_response(is_post) as response:
        page.locator("#pipeline").select_option("single_shot")
    assert response.value.json()["detector"] == "single_shot"  # the page sends no detector
    assert description.is_hidden()


def test_detector_of_operator_is_selected(open_page, tmp_path):
    with running_service(tmp_path, EMOTION_DETECTOR="haar") as url:
        page = open_page(url=url)
        wait_until(page, "document.getElementById('detector').options.length > 1")
        assert page.locator("#detector").input_value() == "haar"


def test_default_detector_is_selected_if_recommended_one_is_not_ready(open_page, tmp_path):
    without = shutil.ignore_patterns(RECOMMENDED)
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=without)
    with running_service(tmp_path, EMOTION_MODELS_DIR=str(tmp_path / "models")) as url:
        page = open_page(url=url)
        wait_until(page, "document.getElementById('detector').options.length > 1")
        assert page.locator("#detector").input_value() == DEFAULT_DETECTOR


def test_group_image_fits_all_themes_and_sizes(open_page, tmp_path):
    group = crowd(tmp_path)
    layouts = {
        "page-group": {},
        "page-group-dark": {"color_scheme": "dark"},
        "page-group-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
        "page-group-narrow": {"viewport": {"width": 360, "height": 740}},
    }
    for name, options in layouts.items():
        page = open_page(**options)
        page.locator("#pipeline").select_option("single_shot")
        assert page.locator("#detector").is_disabled()
        assert page.locator("#model").input_value() == "single_shot"
        select_file(page, group)
        assert page.locator("#image button.box").count() == 6
        assert page.locator("#faces .card").count() == 6
        assert fits_width(page)
        assert page.evaluate(LABELS_WITHIN, "image")
        page.locator("#image button.box").nth(1).hover()
        assert page.locator(".card.highlighted").count() == 1
        # Cards show the top 3 emotions. The focused card shows all of them.
        assert page.locator(".card .bars > li:visible").count() == 6 * 3
        page.locator(".card").first.focus()
        assert page.locator(".card").first.locator(".bars > li:visible").count() == 8
        assert accessibility_violations(page) == []
        save_screenshot(page, name, full_page=True)


def test_many_faces_show_only_top_emotion(open_page, tmp_path):
    page = open_page()
    page.locator("#pipeline").select_option("single_shot")
    select_file(page, crowd(tmp_path, columns=4, rows=3))
    faces = page.locator("#faces .card").count()
    assert faces > 8
    assert page.locator(".card .bars > li:visible").count() == faces
    save_screenshot(page, "page-many", full_page=True)
    assert accessibility_violations(page) == []


def test_controls_are_reachable_by_keyboard(open_page):
    page = open_page()
    wait_until(page, "document.getElementById('pipeline').options.length === 2")
    reached = []
    for _ in range(11):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.text"))
        if reached[-1] == "file":
            # The field is hidden, so the button around it shows the focus.
            outline = "getComputedStyle(document.getElementById('file').parentElement).outlineStyle"
            assert page.evaluate(outline) == "solid"
            save_screenshot(page, "page-focus")
    assert reached[:4] == ["Analyse", "Live", "History", "API"]
    assert reached[4:10] == ["file", "camera", "store", "pipeline", "detector", "model"]
    page.locator("nav a", has_text="Live").focus()
    page.keyboard.press("Enter")
    page.locator("#live-toggle").wait_for()
    assert page.title() == "Live · Emotions in faces"


def test_threshold_is_applied_without_request(open_page):
    page = open_page()
    select_file(page, PHOTO)
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    slider = page.locator("#threshold")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator("#threshold-value").inner_text() == "0 %"
    shown = page.locator("#faces .card small")
    assert len(shown.inner_text().split(", ")) == 8
    page.keyboard.press("End")
    assert shown.inner_text() == "happiness 100 %"
    assert "happiness 100 %" in page.locator("button.box").get_attribute("aria-label")
    assert requested == []


def test_page_rounds_probabilities_like_service(open_page):
    page = open_page()
    table = json.loads((ROOT / "tests" / "contracts" / "thresholds.json").read_text())["rows"]
    shown = page.evaluate(
        """async (rows) => {
            const { rounded, shownEmotions } = await import(
                new URL("assets/faces.js", document.baseURI));
            return rows.map(([probability, threshold]) => {
                const face = { emotions: { happiness: probability } };
                const [first] = shownEmotions(face, threshold);
                return first ? rounded(first[1]) : null;
            });
        }""",
        table,
    )
    assert shown == [row[2] for row in table]


# Some operating systems report no type for HEIC files.
@pytest.mark.parametrize(
    ("suffix", "kind"), [("jpg", "image/jpeg"), ("heic", ""), ("heic", "image/heic")]
)
def test_image_can_be_dropped_or_pasted(open_page, tmp_path, suffix, kind):
    page = open_page()
    path = PHOTO if suffix == "jpg" else heic(tmp_path / "photo.heic")
    data = b64encode(path.read_bytes()).decode()
    dispatch = """([data, action, suffix, kind]) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], `${action}.${suffix}`, {type: kind}));
        const event = action === "paste"
            ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})
            : new DragEvent(action, {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.getElementById("drop").dispatchEvent(event);
    }"""
    for action in ("drop", "paste"):
        page.evaluate(dispatch, [data, action, suffix, kind])
        page.locator("#caption", has_text=f"{action}.{suffix}").wait_for()
        assert page.locator("#faces .card").count() == 1


def test_camera_photo_is_analysed(open_page):
    page = open_page()
    page.locator("#camera").click()
    wait_until(page, "document.getElementById('video').videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    page.locator("#caption", has_text="camera.jpg").wait_for()
    # Chromium's test image has no face. This is not an error.
    assert page.locator("#faces .empty").inner_text() == "No faces found in this image."
    assert page.locator("#problem").is_hidden()


def test_invalid_and_large_files_show_message_of_service(open_page, tmp_path):
    page = open_page(forgive=r"status of 4(15|13)")
    (tmp_path / "text.jpg").write_text("not an image")
    select_file(page, tmp_path / "text.jpg")
    assert "JPEG" in page.locator("#problem").inner_text()
    assert page.locator("#result").is_hidden()
    save_screenshot(page, "page-error")
    assert accessibility_violations(page) == []
    (tmp_path / "big.jpg").write_bytes(PHOTO.read_bytes() + bytes(3_000_000))
    select_file(page, tmp_path / "big.jpg")
    assert "3,000,000" in page.locator("#problem").inner_text()
    (tmp_path / "bigger.jpg").write_bytes(PHOTO.read_bytes() + bytes(20_000_000))
    select_file(page, tmp_path / "bigger.jpg")
    assert "3,000,000" in page.locator("#problem").inner_text()
    select_file(page, PHOTO)  # the page recovers
    assert page.locator("#problem").is_hidden()


def test_file_input_accepts_every_supported_format(open_page):
    accepted = open_page().locator("#file").get_attribute("accept").split(",")
    for kind in ("jpeg", "png", "webp", "bmp", "tiff", "gif", "heic", "heif", "avif"):
        assert f"image/{kind}" in accepted
    for suffix in (".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"):
        assert suffix in accepted


def test_page_recovers_after_service_is_unreachable(browser, tmp_path):
    service = Service(tmp_path)
    service.start()
    try:
        page = browser.new_page()
        page.goto(service.url)
        wait_until(page, "document.getElementById('pipeline').options.length === 2")
        page.context.set_offline(True)
        select_file(page, PHOTO)
        assert "cannot be reached" in page.locator("#problem").inner_text()
        page.context.set_offline(False)
        select_file(page, PHOTO)
        assert page.locator("#problem").is_hidden()
        service.stop()
        select_file(page, PHOTO)
        assert "cannot be reached" in page.locator("#problem").inner_text()
        service.start()
        select_file(page, PHOTO)
        assert page.locator("#problem").is_hidden()
        assert page.locator("#faces .card").count() == 1
        page.close()
    finally:
        service.stop()


def test_page_asks_for_key_and_stores_it_in_tab(browser, tmp_path):
    from app import create_app
    from app.keys import issue
    from app.settings import Settings

    service = Service(tmp_path)
    with create_app(Settings(database_url=f"sqlite:///{tmp_path / 'service.db'}")).app_context():
        key = issue("page", [Right.ANALYSE])
    try:
        service.start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(service.url)
        page.locator("#file").set_input_files(PHOTO)
        dialog = page.get_by_role("dialog", name="API key required")
        dialog.wait_for()
        save_screenshot(page, "page-key")
        assert accessibility_violations(page) == []
        assert "Ask the operator" in page.locator("#key-reason").inner_text()
        dialog.get_by_label("Key").fill("emo_wrong")
        dialog.get_by_role("button", name="Use this key").click()
        page.locator("#key-reason", has_text="key").wait_for()  # the message of the service
        dialog.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.locator("#faces .card").wait_for()
        # The key lacks the right to read, so the history shows the message of the service.
        page.get_by_role("link", name="History").click()
        page.locator("#history-problem", has_text="lacks the right 'read'").wait_for()
        assert key in json.dumps(page.evaluate("({...sessionStorage})"))
        assert page.evaluate("localStorage.length") == 0
        assert context.cookies() == []
        context.close()
    finally:
        service.stop()


def test_content_security_policy_allows_only_own_service(client):
    for path in ("/", "/assets/main.js", "/assets/style.css", "/assets/icon.svg"):
        with client.get(path) as response:
            assert response.status_code == 200
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
    for path in ("/assets/../__init__.py", "/assets/..%2f__init__.py", "/assets/nothing.js"):
        with client.get(path) as response:
            assert response.status_code == 404
            assert response.content_type == "application/problem+json"


def test_every_referenced_asset_exists(client):
    folder = ROOT / "app" / "web" / "assets"
    named = re.findall(r'"assets/([\w.-]+)"', client.get("/").get_data(as_text=True))
    for file in folder.glob("*.js"):
        named += re.findall(r'"\./([\w.-]+)"', file.read_text())
    assert {"main.js", "style.css", "api.js", "faces.js"} <= set(named)
    for name in set(named):
        with client.get(f"/assets/{name}") as response:
            assert response.status_code == 200
