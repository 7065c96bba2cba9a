"""The screenshots of the web page (`make screenshots`)."""

import io

import pytest
from PIL import Image, ImageChops, ImageColor, ImageStat

from testbed.service import running_service
from tests.web import screenshots


def test_flat_colours_are_kept_in_reduced_screenshot():
    with Image.open(screenshots.PHOTO) as photo:
        page = Image.new("RGB", (700, 512), "#f8f8f6")
        page.paste(photo, (0, 0))
    swatches = {(650, 20): "#e69f00", (650, 40): "#d9c916", (650, 60): "#0072b2"}
    for corner, color in swatches.items():
        page.paste(color, (*corner, corner[0] + 8, corner[1] + 8))
    data = io.BytesIO()
    page.save(data, "PNG")
    reduced = Image.open(io.BytesIO(screenshots.reduce_colors(data.getvalue())))
    assert len(reduced.getcolors()) <= 256
    rgb = reduced.convert("RGB")
    for (x, y), color in {(600, 300): "#f8f8f6", **swatches}.items():
        assert rgb.getpixel((x + 3, y + 3)) == ImageColor.getrgb(color)
    difference = ImageChops.difference(rgb.reduce(4), page.reduce(4))
    assert ImageStat.Stat(difference).mean < [4, 4, 4]


@pytest.mark.browser
@pytest.mark.weights
def test_screenshots_are_taken_below_size_limit(launch, tmp_path, monkeypatch):
    monkeypatch.setattr(screenshots, "LIVE_SECONDS", 1)
    browser = launch(*screenshots.camera(tmp_path))
    with running_service(tmp_path) as url:
        paths = screenshots.take(browser, url, tmp_path / "screenshots")
    assert all(10_000 < path.stat().st_size <= screenshots.MAX_BYTES for path in paths)
    shots = {}
    for path in paths:
        with Image.open(path) as screenshot:
            shots[path.stem] = screenshot.convert("L")
    widths = {name: shot.width for name, shot in shots.items()}
    assert widths == {
        "history": 1200,
        "analyse": 1200,
        "dark": 1200,
        "phone": 390,
        "live": 1200,
        "group": 960,
    }
    assert shots["analyse"].getpixel((5, 400)) > 200
    assert shots["dark"].getpixel((5, 400)) < 60
