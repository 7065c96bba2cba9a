"""`make screenshots`: the page at / as it looks, in docs/screenshots/.

A real browser, the real service, and a photograph in the public domain.
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

FOLDER = ROOT / "docs" / "screenshots"
PHOTO = ROOT / "docs" / "astronaut.jpg"
MOST_BYTES = 200_000
FLAT_COLORS = 80
DESK = {"viewport": {"width": 1200, "height": 800}}  # at least so high
PHONE = {"viewport": {"width": 390, "height": 844}}
DARK = {"color_scheme": "dark"}
FILM_WH = (1280, 720)
LIVE_SECONDS = 15  # so much of a timeline


def camera(folder: Path) -> list[str]:
    """Chromium's arguments for a camera that sees the photograph."""
    frame = Image.new("RGB", FILM_WH, "#888")
    photo = Image.open(PHOTO).convert("RGB").resize((FILM_WH[1], FILM_WH[1]))
    frame.paste(photo, ((FILM_WH[0] - FILM_WH[1]) // 2, 0))
    film = folder / "film.mjpeg"
    with film.open("wb") as file:
        for _ in range(10):
            frame.save(file, "JPEG", quality=85)
    return [*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"]


def take(browser: Browser, url: str, folder: Path) -> list[Path]:
    """The pictures that were made, by a browser with `camera`."""
    folder.mkdir(parents=True, exist_ok=True)
    _store_some(url)
    taken = []
    for name, show, look in (
        ("history", _history, DESK),
        ("analyse", _analyse, DESK),
        ("dark", _analyse, DESK | DARK),
        ("phone", _analyse, PHONE),
        ("live", _live, DESK),
    ):
        page = browser.new_page(**look, permissions=["camera"])
        page.goto(url)
        show(page)
        taken.append(folder / f"{name}.png")
        taken[-1].write_bytes(small_png(page.screenshot(full_page=True)))
        page.close()
    return taken


def _store_some(url: str) -> None:
    """Results for the history to show: the photograph, in several ways."""
    photo = Image.open(PHOTO).convert("RGB")
    ways = {
        "grey.jpg": ImageOps.grayscale(photo),
        "flag.jpg": photo.crop((0, 0, 170, 300)),
        "mirrored.jpg": ImageOps.mirror(photo),
        "astronaut.jpg": photo,
    }
    for name, picture in ways.items():
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=90)
        answer = requests.post(
            f"{url}/v1/images", files={"image": (name, data.getvalue())}, timeout=60
        )
        answer.raise_for_status()


def _analyse(page: Page) -> None:
    page.locator("#file").set_input_files(PHOTO)
    page.locator("#faces .card").wait_for()
    page.locator("#progress").wait_for(state="hidden")


def _history(page: Page) -> None:
    page.locator("nav a[href='#history']").click()
    row = page.locator("#rows tr", has_text="astronaut.jpg").first
    row.get_by_role("button", name="Show").click()
    page.locator("#rows .details .card").first.wait_for()


def _live(page: Page) -> None:
    page.locator("nav a[href='#live']").click()
    page.locator("#pipeline").select_option("single_shot")
    page.locator("#live-toggle").click()
    page.locator("#live-boxes .box").first.wait_for()
    page.wait_for_timeout(LIVE_SECONDS * 1000)


def small_png(png: bytes) -> bytes:
    """With 256 colours: those of the page's flat areas, which tell emotions apart, as they are, and
    the photograph's by a palette and dithering. Raises ValueError where it is still too large."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    pixels = np.asarray(picture)
    right, below = pixels[:-1, 1:], pixels[1:, :-1]
    is_flat = ((pixels[:-1, :-1] == right) & (right == below)).all(axis=2)
    colors, counts = np.unique(pixels[:-1, :-1][is_flat], axis=0, return_counts=True)
    flat = colors[np.argsort(counts)[::-1][:FLAT_COLORS]]
    others = picture.quantize(256 - len(flat)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*flat.flatten().tolist(), *others])
    numbers = np.array(picture.quantize(palette=palette))
    for number, color in enumerate(flat):
        numbers[(pixels == color).all(axis=2)] = number
    reduced = Image.fromarray(numbers)
    reduced.putpalette(palette.getpalette() or [])
    data = io.BytesIO()
    reduced.save(data, "PNG", optimize=True)
    if data.tell() > MOST_BYTES:
        raise ValueError(f"a screenshot has {data.tell()} bytes; {MOST_BYTES} are allowed")
    return data.getvalue()


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("error: no chromium: apt-get install chromium, as .ci/services does")
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
