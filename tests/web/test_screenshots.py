"""`make screenshots` still finds its way through the page."""

import io

import pytest
from PIL import Image, ImageChops, ImageColor, ImageStat

from testbed.service import running_service
from tests.web import screenshots


def test_flat_colours_stay_as_they_are_beside_a_photograph():
    with Image.open(screenshots.PHOTO) as photo:
        page = Image.new("RGB", (700, 512), "#f8f8f6")
        page.paste(photo, (0, 0))
    swatches = {(650, 20): "#e69f00", (650, 40): "#d9c916", (650, 60): "#0072b2"}
    for corner, color in swatches.items():
        page.paste(color, (*corner, corner[0] + 8, corner[1] + 8))
    data = io.BytesIO()
    page.save(data, "PNG")
    small = Image.open(io.BytesIO(screenshots.small_png(data.getvalue())))
    assert len(small.getcolors()) <= 256
    shown = small.convert("RGB")
    for (x, y), color in {(600, 300): "#f8f8f6", **swatches}.items():
        assert shown.getpixel((x + 3, y + 3)) == ImageColor.getrgb(color)
    difference = ImageChops.difference(shown.reduce(4), page.reduce(4))
    assert ImageStat.Stat(difference).mean < [4, 4, 4]


@pytest.mark.browser
@pytest.mark.weights
def test_screenshots_are_taken_and_small(launch, tmp_path, monkeypatch):
    monkeypatch.setattr(screenshots, "LIVE_SECONDS", 1)
    browser = launch(*screenshots.camera(tmp_path))
    with running_service(tmp_path) as url:
        taken = screenshots.take(browser, url, tmp_path / "screenshots")
    assert all(10_000 < path.stat().st_size <= screenshots.MOST_BYTES for path in taken)
    shots = {}
    for path in taken:
        with Image.open(path) as picture:
            shots[path.stem] = picture.convert("L")
    widths = {name: shot.width for name, shot in shots.items()}
    assert widths == {"history": 1200, "analyse": 1200, "dark": 1200, "phone": 390, "live": 1200}
    assert shots["analyse"].getpixel((5, 400)) > 200
    assert shots["dark"].getpixel((5, 400)) < 60
