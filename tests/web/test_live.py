"""The live page, with a camera that sees a film made here: a photograph that wanders."""

import re

import pytest
import requests
from PIL import Image

from app.store.keys import Right
from testbed.service import Service
from tests.conftest import FAKE_CAMERA
from tests.web.pages import LABELS_WITHIN, PHOTO, accessible, fits, in_both_schemes, shot, until

pytestmark = [pytest.mark.browser, pytest.mark.weights]
SIZE_WH = (1280, 720)
FRAMES = 120


@pytest.fixture(scope="package")
def film(tmp_path_factory):
    """Motion JPEG: a face that slowly goes from side to side."""
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
    """A browser whose camera shows the film."""
    return launch(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")


@pytest.fixture
def open_live(open_page, camera):
    def open_live(**options):
        page = open_page("/#live", **{"browser": camera, **options})
        until(page, "document.getElementById('pipeline').options.length === 2")
        page.locator("#pipeline").select_option("single_shot")  # the quicker one
        return page

    return open_live


def begin(page):
    page.get_by_role("button", name="Start the camera").click()


def a_box(page):
    """The photograph's. (Here and there in the film one more is found where no face is.)"""
    return page.locator("#live-boxes [data-label=happiness]").first


def answers(page):
    """Counts the answers to frames in a list."""
    seen = []
    page.on("response", lambda it: it.request.method == "POST" and seen.append(it.status))
    return seen


def wait_for(page, true):
    for _ in range(400):
        if true():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never was true")


def kept(service):
    answer = requests.get(f"{service.url}/v1/images?file_name=live.jpg", timeout=30)
    return len(answer.json()["images"])


def test_boxes_follow_the_faces_and_the_last_minute_is_drawn(open_live, service):
    before = kept(service)
    page = open_live()
    assert accessible(page) == []
    shot(page, "page-live-off")
    with page.expect_response("**/v1/images?*") as answered:
        begin(page)
    assert answered.value.json()["width"] == 960  # of the camera's 1280
    box = a_box(page)
    box.wait_for()
    assert box.inner_text().startswith("happiness ")
    places = set()
    wait_for(page, lambda: places.add(box.evaluate("it => it.style.left")) or len(places) > 4)
    # On the picture, whose shape is the film's: where the photograph's face is, as high as wide.
    ratio, top = page.evaluate(
        """() => {
            const stage = document.getElementById("live-video").getBoundingClientRect();
            const box = document.querySelector("#live-boxes [data-label=happiness]");
            const its = box.getBoundingClientRect();
            return [stage.width / stage.height, (its.top - stage.top) / stage.height];
        }"""
    )
    assert ratio == pytest.approx(SIZE_WH[0] / SIZE_WH[1], abs=0.02)
    assert top == pytest.approx((20 + 64 / 512 * 700) / SIZE_WH[1], abs=0.03)
    assert page.evaluate(LABELS_WITHIN, "live-stage")
    page.locator("#live-words", has_text=re.compile(r"\d faces?: happiness")).wait_for()
    wait_for(page, lambda: "frames per second" in page.locator("#live-rate").inner_text())
    wait_for(
        page,
        lambda: (
            page.locator("#live-rows [data-label=happiness] path").get_attribute("d").count("L") > 8
        ),
    )
    assert page.locator("#live-rows [data-label=happiness] .number").inner_text().endswith("%")
    in_both_schemes(page, "page-live")
    page.set_viewport_size({"width": 360, "height": 800})
    assert fits(page)
    shot(page, "page-live-phone", full_page=True)
    page.get_by_role("button", name="Stop").click()
    assert page.locator("#live-boxes .box").count() == 0
    assert kept(service) == before


def test_results_are_kept_where_people_want_them(open_live, service):
    before = kept(service)
    page = open_live()
    page.get_by_label("Store the results").check()
    begin(page)
    wait_for(page, lambda: kept(service) > before)


def test_the_next_frame_waits_for_the_answer(open_live):
    page = open_live()
    held = []

    def hold(route):
        held.append(route)

    page.route("**/v1/images?*", hold)
    begin(page)
    for number in (1, 2, 3):
        wait_for(page, lambda number=number: len(held) >= number)
        shown = page.evaluate("document.getElementById('live-video').currentTime")
        later = f"document.getElementById('live-video').currentTime > {shown + 0.7}"
        until(page, later)  # the camera has long had other frames
        assert len(held) == number, "while an answer is out nothing else goes"
        held[-1].continue_()
    # Stopped while an answer is out: it is given up, and no frame follows.
    wait_for(page, lambda: len(held) == 4)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    assert page.evaluate("document.getElementById('live-video').srcObject") is None
    held[-1].abort()
    assert len(held) == 4


def test_it_waits_as_long_as_the_service_asks(open_live):
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

    seen = answers(page)
    page.route("**/v1/images?*", refuse)
    begin(page)
    page.locator("#live-wait", has_text="More than 5 per second.").wait_for()
    assert "tries again in 2 s" in page.locator("#live-wait").inner_text()
    shot(page, "page-live-waiting")
    assert accessible(page) == []
    a_box(page).wait_for()
    assert page.locator("#live-wait").is_hidden()
    assert refused[1] - refused[0] >= 2000
    assert seen[:3] == [429, 503, 200]


def test_the_service_stops_in_the_middle_and_comes_back(camera, open_live, tmp_path):
    service = Service(tmp_path)
    service.start()
    try:
        page = open_live(url=service.url, forgive="ERR_|status of 503")
        seen = answers(page)
        begin(page)
        a_box(page).wait_for()
        service.stop()
        page.locator("#live-wait", has_text="does not answer. Is it running?").wait_for()
        assert page.locator("#live-boxes .box").count() == 0
        shot(page, "page-live-away")
        before = len(seen)
        service.start()
        a_box(page).wait_for()
        assert page.locator("#live-wait").is_hidden()
        assert len(seen) > before
    finally:
        service.stop()


def test_the_camera_is_given_back_when_nobody_looks(open_live):
    page = open_live()
    begin(page)
    a_box(page).wait_for()

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
    seen = answers(page)
    hide(False)  # it goes on by itself
    wait_for(page, lambda: 200 in seen)
    page.evaluate("window.track = document.getElementById('live-video').srcObject.getTracks()[0]")
    page.get_by_role("link", name="History").click()
    until(page, "track.readyState === 'ended'")
    page.get_by_role("link", name="Live").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    hide(True)
    hide(False)
    assert page.locator("#live-video").is_hidden(), "it starts only where it ran"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--use-fake-device-for-media-stream"], "The camera is not allowed"),
        (["--use-fake-ui-for-media-stream"], "No camera was found"),
    ],
)
def test_a_camera_that_is_refused_or_absent(launch, open_page, arguments, said):
    page = open_page("/#live", browser=launch(*arguments), permissions=[])
    begin(page)
    page.locator("#live-problem", has_text=said).wait_for()
    page.get_by_role("button", name="Start the camera").wait_for()
    assert accessible(page) == []
    shot(page, "page-live-refused")
    page.get_by_role("link", name="Analyse").click()
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#problem", has_text=said).wait_for()


def test_a_key_that_expires_in_the_middle_is_asked_for_anew(open_page, camera, tmp_path):
    from app import create_app
    from app.keys import issue
    from app.settings import Settings
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
        dialog = page.get_by_role("dialog", name="This service needs an API key")
        begin(page)
        dialog.get_by_label("Key").fill(first)
        page.keyboard.press("Enter")
        a_box(page).wait_for()
        revoke(first)
        dialog.wait_for()
        dialog.get_by_label("Key").fill(second)
        seen = answers(page)
        page.keyboard.press("Enter")
        wait_for(page, lambda: seen.count(200) > 2)
        revoke(second)
        dialog.wait_for()
        dialog.get_by_role("button", name="Cancel").click()
        page.locator("#live-problem", has_text="key").wait_for()
        page.get_by_role("button", name="Start the camera").wait_for()
    finally:
        service.stop()
