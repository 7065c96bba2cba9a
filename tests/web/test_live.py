"""The live page, with a fake camera that shows a moving face."""

import re

import pytest
import requests
from PIL import Image

from app.settings import Settings
from app.store.keys import Right
from app.vision.detectors import RECOMMENDED
from testbed.service import Service
from tests.conftest import FAKE_CAMERA
from tests.web.pages import (
    LABELS_WITHIN,
    PHOTO,
    accessibility_violations,
    check_both_schemes,
    fits_width,
    save_screenshot,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
SIZE_WH = (1280, 720)
FRAMES = 120


@pytest.fixture(scope="package")
def film(tmp_path_factory):
    """A Motion JPEG file with a face that moves slowly from side to side."""
    photo = Image.open(PHOTO).convert("RGB").resize((700, 700))
    path = tmp_path_factory.mktemp("film") / "film.mjpeg"
    with path.open("wb") as file:
        for number in range(FRAMES):
            frame = Image.new("RGB", SIZE_WH, "#888")
            share = abs(2 * number / FRAMES - 1)
            frame.paste(photo, (round(200 + 180 * share), 20))
            frame.save(file, "JPEG", quality=85)
    return path


@pytest.fixture(scope="package")
def camera(launch, film):
    """A browser with a fake camera that shows the film."""
    return launch(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")


@pytest.fixture
def open_live(open_page, camera):
    def open_live(**options):
        page = open_page("/#live", **{"browser": camera, **options})
        wait_until(page, "document.getElementById('pipeline').options.length === 2")
        page.locator("#pipeline").select_option("single_shot")  # the faster pipeline
        return page

    return open_live


def start_camera(page):
    page.get_by_role("button", name="Start the camera").click()


def face_box(page):
    """The box of the face. The detector also finds a false face in some frames of the film."""
    return page.locator("#live-boxes [data-label=happiness]").first


def record_statuses(page):
    """Return a list to which the status of each later response to a frame is appended."""
    statuses = []

    def record_status(response):
        if response.request.method == "POST":
            statuses.append(response.status)

    page.on("response", record_status)
    return statuses


def wait_for(page, condition):
    for _ in range(400):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("the condition was not true within 20 s")


def count_stored(service):
    response = requests.get(f"{service.url}/v1/images?file_name=live.jpg", timeout=30)
    return len(response.json()["images"])


def test_live_boxes_follow_faces_and_timeline_is_drawn(open_live, service):
    before = count_stored(service)
    page = open_live()
    assert accessibility_violations(page) == []
    save_screenshot(page, "page-live-off")
    with page.expect_response("**/v1/images?*") as response:
        start_camera(page)
    assert response.value.json()["width"] == 960  # reduced from 1280
    box = face_box(page)
    box.wait_for()
    assert box.inner_text().startswith("happiness ")
    positions = set()

    def has_moved():
        positions.add(box.evaluate("element => element.style.left"))
        return len(positions) > 4

    wait_for(page, has_moved)
    # The preview has the aspect ratio of the film, and the box is at the position of the face.
    ratio, top = page.evaluate(
        """() => {
            const stage = document.getElementById("live-video").getBoundingClientRect();
            const box = document.querySelector("#live-boxes [data-label=happiness]");
            const { top } = box.getBoundingClientRect();
            return [stage.width / stage.height, (top - stage.top) / stage.height];
        }"""
    )
    assert ratio == pytest.approx(SIZE_WH[0] / SIZE_WH[1], abs=0.02)
    assert top == pytest.approx((20 + 64 / 512 * 700) / SIZE_WH[1], abs=0.03)
    assert page.evaluate(LABELS_WITHIN, "live-stage")
    page.locator("#live-text", has_text=re.compile(r"\d faces?: happiness")).wait_for()
    wait_for(page, lambda: "frames per second" in page.locator("#live-rate").inner_text())
    wait_for(
        page,
        lambda: (
            page.locator("#live-rows [data-label=happiness] path").get_attribute("d").count("L") > 8
        ),
    )
    assert page.locator("#live-rows [data-label=happiness] .number").inner_text().endswith("%")
    check_both_schemes(page, "page-live")
    page.set_viewport_size({"width": 360, "height": 800})
    assert fits_width(page)
    save_screenshot(page, "page-live-phone", full_page=True)
    page.get_by_role("button", name="Stop").click()
    assert page.locator("#live-boxes .box").count() == 0
    assert count_stored(service) == before


def test_live_uses_recommended_detector(open_page, camera):
    page = open_page("/#live", browser=camera)
    with page.expect_response("**/v1/images?*") as response:
        start_camera(page)
    image = response.value.json()
    assert (image["detector"], image["model"]["name"]) == (RECOMMENDED, Settings().model)
    face_box(page).wait_for()


def test_live_results_are_stored_if_checked(open_live, service):
    before = count_stored(service)
    page = open_live()
    page.get_by_label("Save the results").check()
    start_camera(page)
    wait_for(page, lambda: count_stored(service) > before)


def test_next_frame_waits_for_response(open_live):
    page = open_live()
    held = []

    def hold(route):
        held.append(route)

    page.route("**/v1/images?*", hold)
    start_camera(page)
    for number in (1, 2, 3):
        wait_for(page, lambda number=number: len(held) >= number)
        shown = page.evaluate("document.getElementById('live-video').currentTime")
        later = f"document.getElementById('live-video').currentTime > {shown + 0.7}"
        wait_until(page, later)  # the camera has newer frames
        assert len(held) == number, "a frame was sent before the response to the last one"
        held[-1].continue_()
    # Stop aborts the pending request, and no frame follows.
    wait_for(page, lambda: len(held) == 4)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    assert page.evaluate("document.getElementById('live-video').srcObject") is None
    held[-1].abort()
    assert len(held) == 4


def test_live_waits_for_retry_after(open_live):
    page = open_live(forgive="status of (429|503)")
    refused = []

    def refuse(route):
        if len(refused) == 2:
            route.continue_()
            return
        status = (429, 503)[len(refused)]
        refused.append(page.evaluate("performance.now()"))
        detail = {"type": "urn:emotion:problem:busy", "detail": "more than 5 per second"}
        route.fulfill(status=status, headers={"Retry-After": "2"}, json=detail)

    statuses = record_statuses(page)
    page.route("**/v1/images?*", refuse)
    start_camera(page)
    page.locator("#live-wait", has_text="More than 5 per second.").wait_for()
    assert "Retrying in 2 s" in page.locator("#live-wait").inner_text()
    save_screenshot(page, "page-live-waiting")
    assert accessibility_violations(page) == []
    face_box(page).wait_for()
    assert page.locator("#live-wait").is_hidden()
    assert refused[1] - refused[0] >= 2000
    assert statuses[:3] == [429, 503, 200]


def test_live_continues_after_service_restart(camera, open_live, tmp_path):
    service = Service(tmp_path)
    service.start()
    try:
        page = open_live(url=service.url, forgive="ERR_|status of 503")
        statuses = record_statuses(page)
        start_camera(page)
        face_box(page).wait_for()
        service.stop()
        page.locator("#live-wait", has_text="cannot be reached").wait_for()
        assert page.locator("#live-boxes .box").count() == 0
        save_screenshot(page, "page-live-away")
        before = len(statuses)
        service.start()
        face_box(page).wait_for()
        assert page.locator("#live-wait").is_hidden()
        assert len(statuses) > before
    finally:
        service.stop()


def test_camera_stops_if_page_is_hidden_or_left(open_live):
    page = open_live()
    start_camera(page)
    face_box(page).wait_for()

    def hide(hidden):
        page.evaluate(
            """hidden => {
                window.track = document.getElementById("live-video").srcObject?.getTracks()[0];
                Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    hide(True)
    assert page.evaluate("track.readyState") == "ended"
    statuses = record_statuses(page)
    hide(False)  # the page continues automatically
    wait_for(page, lambda: 200 in statuses)
    page.evaluate("window.track = document.getElementById('live-video').srcObject.getTracks()[0]")
    page.get_by_role("link", name="History").click()
    wait_until(page, "track.readyState === 'ended'")
    page.get_by_role("link", name="Live").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    hide(True)
    hide(False)
    assert page.locator("#live-video").is_hidden(), "a stopped camera started again"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--use-fake-device-for-media-stream"], "Camera access is blocked"),
        (["--use-fake-ui-for-media-stream"], "No camera found"),
    ],
)
def test_blocked_or_missing_camera_is_reported(launch, open_page, arguments, message):
    page = open_page("/#live", browser=launch(*arguments), permissions=[])
    start_camera(page)
    page.locator("#live-problem", has_text=message).wait_for()
    page.get_by_role("button", name="Start the camera").wait_for()
    assert accessibility_violations(page) == []
    save_screenshot(page, "page-live-refused")
    page.get_by_role("link", name="Analyse").click()
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#problem", has_text=message).wait_for()


def test_live_asks_for_new_key_after_revocation(open_page, camera, tmp_path):
    from app import create_app
    from app.keys import issue
    from app.store import keys
    from app.store.tables import db

    service = Service(tmp_path)
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'service.db'}"))
    with app.app_context():
        first, second = (issue(name, [Right.ANALYSE]) for name in ("first", "second"))

    def revoke(key):
        with app.app_context():
            keys.revoke(key.split("_")[1])
            db.engine.dispose()

    service.start()
    try:
        page = open_page("/#live", browser=camera, url=service.url, forgive="status of 401")
        dialog = page.get_by_role("dialog", name="API key required")
        start_camera(page)
        dialog.get_by_label("Key").fill(first)
        page.keyboard.press("Enter")
        face_box(page).wait_for()
        revoke(first)
        dialog.wait_for()
        dialog.get_by_label("Key").fill(second)
        statuses = record_statuses(page)
        page.keyboard.press("Enter")
        wait_for(page, lambda: statuses.count(200) > 2)
        revoke(second)
        dialog.wait_for()
        dialog.get_by_role("button", name="Cancel").click()
        page.locator("#live-problem", has_text="key").wait_for()
        page.get_by_role("button", name="Start the camera").wait_for()
    finally:
        service.stop()
