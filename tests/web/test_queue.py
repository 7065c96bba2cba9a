"""Many images on the web page: choosing, dropping and pasting them, progress, retries."""

import shutil
import time
from base64 import b64encode

import pytest
from PIL import Image

from testbed.service import running_service
from tests.web.pages import (
    PHOTO,
    accessibility_violations,
    check_both_schemes,
    crowd,
    fits_width,
    save_screenshot,
    select_file,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
BUSY = {"title": "Busy", "status": 503, "detail": "the service is busy", "type": "urn:x:busy"}
PROBLEM = "application/problem+json"


@pytest.fixture
def files(tmp_path):
    """Six files: four images, a damaged image and a text."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    for number in range(3):
        shutil.copy(PHOTO, folder / f"photo-{number}.jpg")
    crowd(folder)
    (folder / "damaged.jpg").write_bytes(PHOTO.read_bytes()[:2000])
    (folder / "notes.txt").write_text("not an image")
    return sorted(folder.iterdir())


def entries(page):
    """The name and the state of each entry."""
    names = page.locator("#queue-list .name").all_inner_texts()
    return dict(zip(names, page.locator("#queue-list .state").all_inner_texts(), strict=True))


def wait_for_end(page):
    page.locator("#queue-cancel").wait_for(state="hidden")


def wait_for_requests(page, requests, count):
    for _ in range(200):
        if len(requests) >= count:
            break
        page.wait_for_timeout(50)


def transfer(page, paths, action):
    """Drop or paste files."""
    page.evaluate(
        """([files, action]) => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                const type = name.endsWith("jpg") ? "image/jpeg" : "text/plain";
                transfer.items.add(new File([bytes], name, {type}));
            }
            const event = action === "paste"
                ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})
                : new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
            document.getElementById("drop").dispatchEvent(event);
        }""",
        [[[path.name, b64encode(path.read_bytes()).decode()] for path in paths], action],
    )


def test_every_file_is_listed_with_result_or_reason(open_page, files):
    page = open_page(forgive="status of 422")
    page.locator("#pipeline").select_option("single_shot")
    page.locator("#file").set_input_files(files)
    wait_for_end(page)
    assert entries(page) == {
        "damaged.jpg": "failed",
        "notes.txt": "failed",
        "photo-0.jpg": "done",
        "photo-1.jpg": "done",
        "photo-2.jpg": "done",
        "several.jpg": "done",
    }
    assert page.locator("#queue-status").inner_text() == "6 of 6: 4 analysed, 2 failed"
    rows = page.locator("#queue-list li")
    assert "Not an image" in rows.filter(has_text="notes.txt").inner_text()
    assert rows.filter(has_text="notes.txt").get_by_role("button").count() == 0
    damaged = rows.filter(has_text="damaged.jpg")
    assert len(damaged.locator(".found").inner_text()) > 10, "the reason of the service"
    group = rows.filter(has_text="several.jpg")
    assert "6 faces" in group.inner_text()
    assert group.locator(".chip").inner_text() == "happiness × 6"
    assert page.locator("#problem").is_hidden()
    check_both_schemes(page, "page-queue")


@pytest.mark.parametrize("action", ["drop", "paste"])
def test_many_files_can_be_dropped_and_pasted(open_page, files, action):
    page = open_page()
    images = [path for path in files if path.name.startswith("photo")]
    transfer(page, images, action)
    wait_for_end(page)
    assert entries(page) == {path.name: "done" for path in images}
    transfer(page, [PHOTO], action)  # is appended to the list
    page.locator("#caption", has_text="astronaut.jpg").wait_for()
    assert len(entries(page)) == 4


def test_all_files_of_dropped_folder_are_listed(open_page, files):
    page = open_page(forgive="status of 4")
    # Browsers create entries of folders only for real drops, so the test drops a stand-in.
    page.evaluate(
        """() => {
            const file = (path) => ({
                isDirectory: false, name: path.split("/").pop(), fullPath: path,
                file: (done) => done(new File(["x"], path.split("/").pop(), {type: "image/png"})),
            });
            const folder = (path, batches) => ({
                isDirectory: true, name: path, fullPath: path,
                createReader: () => ({ readEntries: (done) => done(batches.shift() ?? []) }),
            });
            const inner = folder("/a/b", [[file("/a/b/3.png")]]);
            const outer = folder("/a", [[file("/a/2.png"), file("/a/1.png")], [inner]]);
            const item = { kind: "file", getAsFile: () => null, webkitGetAsEntry: () => outer };
            const event = new Event("drop", { bubbles: true, cancelable: true });
            Object.defineProperty(event, "dataTransfer", { value: { items: [item] } });
            document.getElementById("drop").dispatchEvent(event);
        }"""
    )
    wait_until(page, "document.querySelectorAll('#queue-list li').length === 3")
    wait_for_end(page)
    assert entries(page) == {"a/1.png": "failed", "a/2.png": "failed", "a/b/3.png": "failed"}


def test_folder_can_be_chosen(open_page, files):
    page = open_page(forgive="status of 422")
    page.locator("#folder").set_input_files(files[0].parent)
    wait_for_end(page)
    assert set(entries(page)) == {f"holiday/{path.name}" for path in files}
    page.get_by_role("link", name="History").click()
    page.locator("#rows tr", has_text="photo-0.jpg").first.wait_for()
    assert "holiday/" not in page.locator("#rows").inner_text()


def test_each_result_is_reachable_by_click_and_keyboard(open_page, files):
    page = open_page()
    page.locator("#pipeline").select_option("single_shot")
    images = [path for path in files if path.name.startswith(("photo", "several"))]
    page.locator("#file").set_input_files(images)
    wait_for_end(page)
    current = page.locator("#queue-list [aria-current=true]")
    page.locator("#caption", has_text="photo-").wait_for()
    page.locator("#queue-list .entry", has_text="several.jpg").click()
    page.locator("#caption", has_text="several.jpg").wait_for()
    assert page.locator("#image button.box").count() == 6
    assert current.inner_text() == "several.jpg"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.locator("#caption", has_text="photo-2.jpg").wait_for()
    assert page.locator("#image button.box").count() == 1
    assert current.inner_text() == "photo-2.jpg"
    assert page.evaluate("document.activeElement.textContent") == "photo-2.jpg"
    page.get_by_role("button", name="Clear the list").click()
    assert page.locator("#queue, #result").locator("visible=true").count() == 0


def test_failed_image_is_retried_alone(open_page, files):
    page = open_page(forgive="status of 500")
    broken = {"title": "Error", "status": 500, "detail": "disk full", "type": "about:blank"}
    requests = []

    def fail_first(route):
        requests.append(route)
        if len(requests) == 1:
            route.fulfill(status=500, json=broken, content_type=PROBLEM)
        else:
            route.fallback()

    page.route("**/v1/images?*", fail_first)
    page.locator("#file").set_input_files([path for path in files if "photo" in path.name])
    wait_for_end(page)
    assert "Disk full." in page.locator("#queue-list li", has_text="photo-0.jpg").inner_text()
    assert len(requests) == 3
    page.get_by_role("button", name="Retry photo-0.jpg").click()
    page.locator("#queue-status", has_text="3 of 3: 3 analysed").wait_for()
    assert len(requests) == 4
    assert set(entries(page).values()) == {"done"}


def test_at_most_two_requests_run_and_rest_can_be_cancelled(open_page, tmp_path):
    page = open_page()
    held = []

    def hold(route):
        held.append(route)

    page.route("**/v1/images?*", hold)
    small = tmp_path / "small.jpg"
    Image.new("RGB", (64, 64)).save(small)
    paths = [shutil.copy(small, tmp_path / f"{number:02}.jpg") for number in range(12)]
    page.locator("#file").set_input_files(paths)
    wait_for_requests(page, held, 2)
    page.wait_for_timeout(300)
    assert len(held) == 2
    held[0].fallback()
    page.locator("#queue-status", has_text="1 of 12: 1 analysed").wait_for()
    wait_for_requests(page, held, 3)
    assert list(entries(page).values()).count("analysing") == 2
    save_screenshot(page, "page-queue-running", full_page=True)
    assert accessibility_violations(page) == []
    page.get_by_role("button", name="Cancel the rest").click()
    wait_for_end(page)
    assert page.locator("#queue-status").inner_text() == "12 of 12: 1 analysed, 11 cancelled"
    assert len(held) == 3
    page.unroute("**/v1/images?*")
    page.get_by_role("button", name="Retry all").click()
    page.locator("#queue-status", has_text="12 of 12: 12 analysed").wait_for()


@pytest.mark.parametrize("status", [429, 503])
def test_queue_waits_as_long_as_busy_service_asks(open_page, files, status):
    page = open_page(forgive=f"status of {status}")
    times = []

    def busy_once(route):
        times.append(time.monotonic())
        if len(times) == 1:
            headers = {"Retry-After": "2", "Content-Type": PROBLEM}
            route.fulfill(status=status, json=BUSY | {"status": status}, headers=headers)
        else:
            route.fallback()

    page.route("**/v1/images?*", busy_once)
    page.locator("#file").set_input_files([path for path in files if "photo" in path.name])
    page.locator("#queue-list", has_text="The service is busy. Next try in 2 s.").wait_for()
    page.locator("#queue-status", has_text="3 of 3: 3 analysed").wait_for()
    assert len(times) == 4
    # The second request may start before the first response, every other one waits.
    assert times[2] - times[0] > 1.9


def test_rejected_key_is_asked_for_once(browser, tmp_path, files):
    with running_service(tmp_path) as url:
        page = browser.new_page()
        page.goto(url)
        page.route("**/v1/images?*", lambda route: route.fulfill(status=401, json={}))
        page.locator("#file").set_input_files([path for path in files if "photo" in path.name])
        dialog = page.get_by_role("dialog", name="API key required")
        dialog.get_by_role("button", name="Cancel").click()
        wait_for_end(page)
        assert dialog.is_hidden()
        assert sorted(set(entries(page).values())) == ["cancelled", "failed"]
        page.close()


def test_single_image_has_no_list(open_page):
    page = open_page()
    select_file(page, PHOTO)
    select_file(page, PHOTO)
    assert page.locator("#result").is_visible()
    assert page.locator("#queue").is_hidden()


@pytest.mark.parametrize("width", [360, 820, 1280])
def test_list_fits_width(open_page, files, width):
    page = open_page(forgive="status of 422", viewport={"width": width, "height": 800})
    page.locator("#pipeline").select_option("single_shot")
    page.locator("#file").set_input_files(files)
    wait_for_end(page)
    page.locator("#result").wait_for()
    assert fits_width(page)
    save_screenshot(page, f"page-queue-{width}", full_page=True)
    assert accessibility_violations(page) == []


def test_phone_offers_photos_instead_of_folders(open_page):
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = open_page(**phone)
    assert page.get_by_text("Take or choose photos").is_visible()
    for text in ("Drop images", "Choose a folder", "Choose images"):
        assert page.get_by_text(text).is_hidden(), text
    # The field accepts only images and has no `capture`, so phones offer camera and gallery.
    assert page.locator("#file").get_attribute("capture") is None
    save_screenshot(page, "page-touch")
    assert accessibility_violations(page) == []
    page.locator("#file").set_input_files(PHOTO)
    page.locator("#result").wait_for()
    desktop = open_page()
    assert desktop.get_by_text("Choose a folder").is_visible()
    assert desktop.get_by_text("Take or choose photos").is_hidden()
