"""Takes the screenshots of the web page in docs/screenshots/ (`make screenshots`).

Uses a real browser, the real service, and an image in the public domain.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import requests
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

from app.settings import ROOT
from testbed.service import running_service
from tests.conftest import FAKE_CAMERA
from tests.web.pages import crowd

FOLDER = ROOT / "docs" / "screenshots"
PHOTO = ROOT / "docs" / "astronaut.jpg"
MAX_BYTES = 200_000
FLAT_COLORS = 80
DESKTOP = {"viewport": {"width": 1200, "height": 800}}  # minimum height; shots are of full pages
TABLET = {"viewport": {"width": 960, "height": 800}}
# Chromium ends the emulation of a touch screen for full-page shots. This is the height of the page.
PHONE = {"viewport": {"width": 390, "height": 1510}, "is_mobile": True, "has_touch": True}
DARK = {"color_scheme": "dark"}
FILM_WH = (1280, 720)
LIVE_SECONDS = 15  # length of the timeline in the screenshot


def camera(folder: Path) -> list[str]:
    """Return Chromium's arguments for a fake camera that shows the image."""
    frame = Image.new("RGB", FILM_WH, "#888")
    photo = Image.open(PHOTO).convert("RGB").resize((FILM_WH[1], FILM_WH[1]))
    frame.paste(photo, ((FILM_WH[0] - FILM_WH[1]) // 2, 0))
    film = folder / "film.mjpeg"
    with film.open("wb") as file:
        for _ in range(10):
            frame.save(file, "JPEG", quality=85)
    return [*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"]


def take(browser: Browser, url: str, folder: Path) -> list[Path]:
    """Take all screenshots and return their paths. The browser needs the arguments of `camera`."""
    folder.mkdir(parents=True, exist_ok=True)
    _store_images(url)
    paths = []
    for name, show, options in (
        ("history", _history, DESKTOP),
        ("analyse", _analyse, DESKTOP),
        ("dark", _analyse, DESKTOP | DARK),
        ("phone", _analyse, PHONE),
        ("group", _analyse_group, TABLET),
        ("live", _live, DESKTOP),
    ):
        page = browser.new_page(**options, permissions=["camera"])
        page.goto(url)
        show(page)
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(reduce_colors(page.screenshot(full_page="is_mobile" not in options)))
        page.close()
    return paths


def _store_images(url: str) -> None:
    """Store variants of the image, so that the history has several results."""
    photo = Image.open(PHOTO).convert("RGB")
    variants = {
        "grey.jpg": ImageOps.grayscale(photo),
        "flag.jpg": photo.crop((0, 0, 170, 300)),
        "mirrored.jpg": ImageOps.mirror(photo),
        "astronaut.jpg": photo,
    }
    for name, image in variants.items():
        data = io.BytesIO()
        image.save(data, "JPEG", quality=90)
        response = requests.post(
            f"{url}/v1/images", files={"image": (name, data.getvalue())}, timeout=60
        )
        response.raise_for_status()


def _analyse(page: Page) -> None:
    page.locator("#file").set_input_files(PHOTO)
    page.locator("#faces .card").wait_for()
    page.locator("#progress").wait_for(state="hidden")


def _analyse_group(page: Page) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page.locator("#file").set_input_files(crowd(Path(folder)))
        page.locator("#face-crop").wait_for()
        page.locator("#progress").wait_for(state="hidden")


def _history(page: Page) -> None:
    page.locator("nav a[href='#history']").click()
    row = page.locator("#rows tr", has_text="astronaut.jpg").first
    row.get_by_role("button", name="Show").click()
    page.locator("#rows .details .card").first.wait_for()


def _live(page: Page) -> None:
    page.locator("nav a[href='#live']").click()
    page.locator("#live-toggle").click()
    page.locator("#live-boxes .box").first.wait_for()
    page.wait_for_timeout(LIVE_SECONDS * 1000)


def reduce_colors(png: bytes) -> bytes:
    """Reduce a PNG to 256 colours.

    Colours of flat areas, which identify emotions, are kept. The colours of the image are dithered.
    Raises ValueError if the result exceeds MAX_BYTES.
    """
    screenshot = Image.open(io.BytesIO(png)).convert("RGB")
    pixels = np.asarray(screenshot)
    right, below = pixels[:-1, 1:], pixels[1:, :-1]
    is_flat = ((pixels[:-1, :-1] == right) & (right == below)).all(axis=2)
    colors, counts = np.unique(pixels[:-1, :-1][is_flat], axis=0, return_counts=True)
    flat = colors[np.argsort(counts)[::-1][:FLAT_COLORS]]
    others = screenshot.quantize(256 - len(flat)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*flat.flatten().tolist(), *others])
    indexes = np.array(screenshot.quantize(palette=palette))
    for index, color in enumerate(flat):
        indexes[(pixels == color).all(axis=2)] = index
    reduced = Image.fromarray(indexes)
    reduced.putpalette(palette.getpalette() or [])
    data = io.BytesIO()
    reduced.save(data, "PNG", optimize=True)
    if data.tell() > MAX_BYTES:
        raise ValueError(f"a screenshot has {data.tell()} bytes: at most {MAX_BYTES} are allowed")
    return data.getvalue()


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("error: chromium is not installed: run apt-get install chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", *camera(Path(folder))],
        )
        for path in take(browser, url, FOLDER):
            sys.stdout.write(f"{path.relative_to(ROOT)}\t{path.stat().st_size:,} bytes\n")
        browser.close()


if __name__ == "__main__":
    main()
