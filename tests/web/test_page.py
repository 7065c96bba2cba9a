"""The web page in a real browser: analyses, stored results, charts and API keys."""

import io
import json
import re
from base64 import b64encode
from pathlib import Path

import pillow_heif
import pytest
import requests
from PIL import Image

from app.settings import ROOT
from app.store.keys import Right
from app.vision.aggregators import AGGREGATORS, DEFAULT
from testbed.service import Service, running_service
from tests.web.pages import (
    LABELS_WITHIN,
    PHOTO,
    accessibility_violations,
    check_both_schemes,
    choose,
    fits,
    shot,
    until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
HOSTILE = "<img src=x onerror=alert(1)>.jpg"


def crowd(folder, columns=3, rows=2):
    """Write an image with several faces: one face in different sizes, some of them mirrored."""
    photo = Image.open(PHOTO).convert("RGB").crop((100, 0, 400, 300))
    group = Image.new("RGB", (300 * columns, 300 * rows), "#888")
    for index in range(columns * rows):
        side = 300 - 25 * (index % 3)
        face = photo.resize((side, side))
        if index % 2:
            face = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        group.paste(face, (300 * (index % columns), 300 * (index // columns)))
    path = folder / "several.jpg"
    group.save(path, quality=92)
    return path


def test_chosen_image_shows_its_face(open_page):
    page = open_page()
    assert page.locator("#result").is_hidden()
    check_both_schemes(page, "page-empty")
    choose(page, PHOTO)
    assert page.locator("#faces .card").count() == 1
    assert "happiness 100 %" in page.locator("#faces .card small").inner_text()
    assert "512 × 512" in page.locator("#caption").inner_text()
    # The box is at the position of the face, relative to the image.
    image, box = (
        page.locator(selector).bounding_box() for selector in ("#image img", "#image button.box")
    )
    left, right = ((x - image["x"]) / image["width"] for x in (box["x"], box["x"] + box["width"]))
    assert pytest.approx(left, abs=0.01) == 173 / 512
    assert pytest.approx(right, abs=0.01) == 275 / 512
    shot(page, "page-one-face", full_page=True)
    assert accessibility_violations(page) == []


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
        choose(page, group)
        assert page.locator("#image button.box").count() == 6
        assert page.locator("#faces .card").count() == 6
        assert fits(page)
        assert page.evaluate(LABELS_WITHIN, "image")
        page.locator("#image button.box").nth(1).hover()
        assert page.locator(".card.marked").count() == 1
        # Cards show the top 3 emotions. The focused card shows all of them.
        assert page.locator(".card .bars > li:visible").count() == 6 * 3
        page.locator(".card").first.focus()
        assert page.locator(".card").first.locator(".bars > li:visible").count() == 8
        assert accessibility_violations(page) == []
        shot(page, name, full_page=True)


def test_many_faces_show_only_top_emotion(open_page, tmp_path):
    page = open_page()
    page.locator("#pipeline").select_option("single_shot")
    choose(page, crowd(tmp_path, columns=4, rows=3))
    faces = page.locator("#faces .card").count()
    assert faces > 8
    assert page.locator(".card .bars > li:visible").count() == faces
    shot(page, "page-many", full_page=True)
    assert accessibility_violations(page) == []


def test_controls_are_reachable_by_keyboard(open_page):
    page = open_page()
    until(page, "document.getElementById('pipeline').options.length === 2")
    reached = []
    for _ in range(11):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.text"))
        if reached[-1] == "file":
            # The field is hidden, so the button around it shows the focus.
            outline = "getComputedStyle(document.getElementById('file').parentElement).outlineStyle"
            assert page.evaluate(outline) == "solid"
            shot(page, "page-focus")
    assert reached[:4] == ["Analyse", "Live", "History", "API"]
    assert reached[4:10] == ["file", "camera", "store", "pipeline", "detector", "model"]
    page.locator("nav a", has_text="Live").focus()
    page.keyboard.press("Enter")
    page.locator("#live-toggle").wait_for()
    assert page.title() == "Live · Emotions in faces"


def test_threshold_is_applied_without_request(open_page):
    page = open_page()
    choose(page, PHOTO)
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
    until(page, "document.getElementById('video').videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    page.locator("#caption", has_text="camera.jpg").wait_for()
    # Chromium's test image has no face. This is not an error.
    assert page.locator("#faces .empty").inner_text() == "No faces found in this image."
    assert page.locator("#problem").is_hidden()


def test_invalid_and_large_files_show_message_of_service(open_page, tmp_path):
    page = open_page(forgive=r"status of 4(15|13)")
    (tmp_path / "text.jpg").write_text("not an image")
    choose(page, tmp_path / "text.jpg")
    assert "JPEG" in page.locator("#problem").inner_text()
    assert page.locator("#result").is_hidden()
    shot(page, "page-error")
    assert accessibility_violations(page) == []
    (tmp_path / "big.jpg").write_bytes(PHOTO.read_bytes() + bytes(3_000_000))
    choose(page, tmp_path / "big.jpg")
    assert "3,000,000" in page.locator("#problem").inner_text()
    (tmp_path / "bigger.jpg").write_bytes(PHOTO.read_bytes() + bytes(20_000_000))
    choose(page, tmp_path / "bigger.jpg")
    assert "3,000,000" in page.locator("#problem").inner_text()
    choose(page, PHOTO)  # the page recovers
    assert page.locator("#problem").is_hidden()


def is_annotated(response):
    return response.request.headers.get("accept") == "image/jpeg"


def heic(path, crop=None):
    photo = Image.open(PHOTO).convert("RGB")
    pillow_heif.from_pillow(photo.crop(crop) if crop else photo).save(path, quality=90)
    return path


@pytest.mark.parametrize("kind", ["photo.tiff", "photo.heic", "photo.HIF"])
def test_annotated_image_replaces_file_that_browser_cannot_show(open_page, tmp_path, kind):
    page = open_page()
    path = tmp_path / kind
    Image.open(PHOTO).save(path) if kind.endswith("tiff") else heic(path)
    with page.expect_response(is_annotated) as annotated:
        choose(page, path)
    assert annotated.value.status == 200  # not 201: the image is stored once
    until(page, "document.querySelector('#image img').naturalWidth === 512")
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
    assert page.locator("#image .box.marked").count() == 1
    check_both_schemes(page, f"page-{path.suffix[1:].lower()}")
    with page.expect_response(is_annotated) as again:
        page.locator("#threshold").press("End")
    assert again.value.ok
    choose(page, PHOTO)
    assert page.locator("#image-note").is_hidden()
    assert page.locator("#image .box span").is_visible()


def test_older_annotated_image_does_not_replace_newer_one(open_page, tmp_path):
    page = open_page()
    choose(page, heic(tmp_path / "photo.heic"))
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
    until(page, "document.querySelector('#image img').naturalWidth === 32")
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
    choose(page, tmp_path / "photo.avif")
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
    choose(page, heic(tmp_path / "photo.heic"))
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
    choose(page, PHOTO)
    assert page.locator("#image-note").is_visible()


def test_file_input_accepts_every_supported_format(open_page):
    accepted = open_page().locator("#file").get_attribute("accept").split(",")
    for kind in ("jpeg", "png", "webp", "bmp", "tiff", "gif", "heic", "heif", "avif"):
        assert f"image/{kind}" in accepted
    for suffix in (".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"):
        assert suffix in accepted


def test_annotated_image_can_be_downloaded(open_page):
    page = open_page()
    choose(page, PHOTO)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download with boxes").click()
    assert saved.value.suggested_filename == "astronaut-faces.png"
    annotated = Path(saved.value.path()).read_bytes()
    assert Image.open(io.BytesIO(annotated)).size == (512, 512)


def test_results_can_be_filtered_viewed_downloaded_and_deleted(open_page, tmp_path):
    (tmp_path / HOSTILE.replace("/", "_")).write_bytes(PHOTO.read_bytes())
    page = open_page()
    choose(page, tmp_path / HOSTILE)
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
    assert fits(page)
    shot(page, "page-history-phone", full_page=True)
    page.set_viewport_size({"width": 1200, "height": 900})

    page.get_by_label("File name").fill(HOSTILE)
    page.locator("[name=emotion]").select_option("happiness")
    page.get_by_role("button", name="Search").click()
    until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 1")
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
    page.locator("#history-status", has_text="No stored results match.").wait_for()


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
    shot(page, "page-chart-pointed")
    page.mouse.move(0, 0)
    page.get_by_text("Table", exact=True).click()
    until(page, "document.querySelectorAll('#summary-body tr').length === 27")
    check_both_schemes(page, "page-chart")
    page.set_viewport_size({"width": 360, "height": 800})
    assert fits(page)
    shot(page, "page-chart-phone", full_page=True)
    page.locator("#summary-by").select_option("hour")
    until(
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
    until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 20")
    page.get_by_role("button", name="Older").click()
    until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 1")
    page.get_by_role("button", name="Newest").click()
    until(page, "document.querySelectorAll('#rows tr:not(.details)').length === 20")


def test_page_recovers_after_service_is_unreachable(browser, tmp_path):
    service = Service(tmp_path)
    service.start()
    try:
        page = browser.new_page()
        page.goto(service.url)
        until(page, "document.getElementById('pipeline').options.length === 2")
        page.context.set_offline(True)
        choose(page, PHOTO)
        assert "cannot be reached" in page.locator("#problem").inner_text()
        page.context.set_offline(False)
        choose(page, PHOTO)
        assert page.locator("#problem").is_hidden()
        service.stop()
        choose(page, PHOTO)
        assert "cannot be reached" in page.locator("#problem").inner_text()
        service.start()
        choose(page, PHOTO)
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
        shot(page, "page-key")
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


def test_group_mood_and_weights_are_shown(open_page, tmp_path):
    page = open_page()
    page.locator("#pipeline").select_option("single_shot")
    choose(page, crowd(tmp_path))
    assert page.locator("#mood-name").inner_text() == "happiness"
    assert "agreement" in page.locator("#mood-text").inner_text()
    boxes = page.locator("#image .box")
    weights = [int(boxes.nth(n).get_attribute("data-weight").split()[0]) for n in range(6)]
    assert sum(weights) == pytest.approx(100, abs=4)
    with page.expect_response(lambda response: "/mood?aggregator=most_negative" in response.url):
        page.locator("#mood-by").select_option("most_negative")
    until(page, "document.querySelectorAll('#image .box[data-weight=\"100 %\"]').length === 1")
    check_both_schemes(page, "page-mood")
    choose(page, PHOTO)
    assert page.locator("#mood").is_hidden(), "a single face is not a group"


def test_mood_of_unstored_image_is_requested_again(open_page, tmp_path):
    page = open_page()
    page.locator("#store").uncheck()
    page.locator("#pipeline").select_option("single_shot")
    choose(page, crowd(tmp_path, columns=2, rows=1))
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        page.locator("#mood-by").select_option("vote")
    assert response.value.status == 200  # not 201: nothing is stored
    until(page, "document.querySelectorAll('#image .box[data-weight=\"50 %\"]').length === 2")


def test_page_lists_aggregators_of_service(open_page):
    page = open_page()
    until(page, "document.getElementById('mood-by').options.length > 0")
    offered = page.locator("#mood-by option").evaluate_all(
        "elements => elements.map((element) => element.value)"
    )
    titles = page.locator("#mood-by option").evaluate_all(
        "elements => elements.map((element) => element.text)"
    )
    assert offered == list(AGGREGATORS)
    assert titles == [each.title for each in AGGREGATORS.values()]
    assert page.locator("#mood-by").input_value() == DEFAULT


def test_moods_are_shown_above_chart(open_page, tmp_path):
    page = open_page()
    choose(page, PHOTO)
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
        page.get_by_text("which stores it with the result").wait_for()
        choose(page, PHOTO)
        page.get_by_role("link", name="History").click()
        page.get_by_role("button", name="Show astronaut.jpg").click()
        page.locator(".sketch img").wait_for()
        until(page, "document.querySelector('.sketch img').naturalWidth === 512")
        shot(page, "page-history-kept", full_page=True)


def test_stored_image_that_browser_cannot_show_is_omitted(open_page, tmp_path):
    folder = str(tmp_path / "pictures")
    with running_service(
        tmp_path, EMOTION_KEEP_PICTURES="true", EMOTION_PICTURES_DIR=folder
    ) as url:
        page = open_page(url=url)
        choose(page, heic(tmp_path / "photo.heic"))
        page.get_by_role("link", name="History").click()
        with page.expect_response("**/picture") as response:
            page.get_by_role("button", name="Show photo.heic").click()
        assert response.value.ok
        page.locator(".sketch .box").wait_for()
        page.wait_for_timeout(300)
        assert page.locator(".sketch img").count() == 0
