"""The table of the faces of a group on the Analyse page, and the panel of the selected face."""

import pytest
from PIL import Image

from tests.web.pages import (
    check_both_schemes,
    crowd,
    fits_width,
    save_screenshot,
    select_file,
    vary_emotions,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
# True if an element is completely inside the visible part of #face-scroll.
VISIBLE_ROW = """(() => {
    const frame = document.getElementById("face-scroll").getBoundingClientRect();
    const row = document.querySelector("#face-rows CLASS")?.getBoundingClientRect();
    return Boolean(row) && row.top >= frame.top - 1 && row.bottom <= frame.bottom + 1;
})()"""
# True if a canvas has pixels of more than 50 colours.
IS_DRAWN = """canvas => {
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    return new Set(new Uint32Array(pixels.buffer)).size > 50;
}"""


@pytest.fixture
def show_crowd(open_page, tmp_path):
    def show_crowd(columns=5, rows=4, **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        page = open_page(**options)
        vary_emotions(page)
        page.locator("#pipeline").select_option("single_shot")
        select_file(page, crowd(tmp_path, columns, rows))
        wait_until(page, "!document.getElementById('face-crop').hidden")
        return page

    return show_crowd


def numbers(page):
    return [int(text) for text in page.locator("#face-rows button").all_inner_texts()]


def emotions(page):
    return page.locator("#face-rows .emotion").all_inner_texts()


@pytest.mark.parametrize("width", [360, 820, 1280])
def test_page_of_twenty_faces_is_short(show_crowd, width):
    page = show_crowd(viewport={"width": width, "height": 900})
    assert page.locator("#face-rows tr").count() >= 18
    height = page.evaluate("document.documentElement.scrollHeight")
    save_screenshot(page, f"page-faces-{width}", full_page=True)
    assert height < {360: 2400, 820: 2200, 1280: 1300}[width], height
    assert fits_width(page)
    check_both_schemes(page, f"page-faces-{width}")


def test_page_with_description_of_detector_is_short(open_page, tmp_path):
    page = open_page(viewport={"width": 1280, "height": 900})
    select_file(page, crowd(tmp_path, 5, 4))
    wait_until(page, "!document.getElementById('face-crop').hidden")
    assert page.locator("#detector-description").is_visible()
    assert page.locator("#face-rows tr").count() >= 18
    assert page.evaluate("document.documentElement.scrollHeight") < 1300


def test_row_has_crop_emotion_probability_and_size(show_crowd):
    page = show_crowd(3, 2)
    row = page.locator("#face-rows tr").first
    assert row.locator("canvas").evaluate(IS_DRAWN)
    assert row.locator(".emotion").inner_text() == "happiness"
    probability, size = row.locator(".number").all_inner_texts()
    assert probability == "97 %"
    width, height = (int(part) for part in size.split(" × "))
    assert 50 < width < 200
    assert 50 < height < 200
    # The fifth face is below the threshold until the user changes it.
    assert emotions(page).count("below threshold") == 1
    page.locator("#threshold").press("Home")
    assert emotions(page).count("below threshold") == 0


def test_faces_can_be_sorted(show_crowd):
    page = show_crowd(3, 2)
    boxes = {}
    for box in page.locator("#image .box").all():
        place = box.bounding_box()
        boxes[int(box.get_attribute("data-face"))] = place
    centres = [boxes[n]["y"] + boxes[n]["height"] / 2 for n in numbers(page)]
    assert max(centres[:3]) < min(centres[3:]), "the upper line is first"
    for line in (numbers(page)[:3], numbers(page)[3:]):
        assert line == sorted(line, key=lambda number: boxes[number]["x"])
    page.locator("#face-sort").select_option("size")
    areas = [boxes[n]["width"] * boxes[n]["height"] for n in numbers(page)]
    assert areas == pytest.approx(sorted(areas, reverse=True), rel=0.02)
    page.locator("#face-sort").select_option("emotion")
    assert emotions(page) == [
        "neutral", "happiness", "happiness", "surprise", "sadness", "below threshold",
    ]  # fmt: skip
    assert sorted(numbers(page)) == [1, 2, 3, 4, 5, 6]


def test_box_and_row_highlight_and_select_each_other(show_crowd):
    page = show_crowd()
    last = numbers(page)[-1]
    box = page.locator(f"#image .box[data-face='{last}']")
    assert not page.evaluate(VISIBLE_ROW.replace("CLASS", f"[data-face='{last}']"))
    box.hover()
    assert page.evaluate(VISIBLE_ROW.replace("CLASS", ".highlighted"))
    assert page.locator("#face-rows .highlighted button").inner_text() == str(last)
    box.click()
    assert page.locator("#face-values h3").inner_text().startswith(f"Face {last}")
    assert page.locator("#face-rows [aria-pressed=true]").inner_text() == str(last)
    first = page.locator("#face-rows tr").first
    number = first.locator("button").inner_text()
    first.hover()
    assert page.locator("#image .box.highlighted").get_attribute("data-face") == number
    first.click()
    assert page.locator("#image .box.selected").get_attribute("data-face") == number
    assert page.locator("#face-values h3").inner_text().startswith(f"Face {number}")


def test_rows_are_reached_with_arrow_keys(show_crowd):
    page = show_crowd()
    order = numbers(page)
    page.locator("#face-sort").focus()
    page.keyboard.press("Tab")
    selected = page.locator("#face-rows [aria-pressed=true]")
    assert selected.evaluate("element => element === document.activeElement")
    page.keyboard.press("End")
    assert selected.inner_text() == str(order[-1])
    assert page.evaluate(VISIBLE_ROW.replace("CLASS", ".selected"))
    page.keyboard.press("ArrowUp")
    assert selected.inner_text() == str(order[-2])
    page.keyboard.press("Home")
    assert selected.inner_text() == str(order[0])
    assert page.evaluate(VISIBLE_ROW.replace("CLASS", ".selected"))
    assert page.locator("#face-values h3").inner_text().startswith(f"Face {order[0]}")
    # Tab leaves the table.
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('#face-rows')")


def test_panel_shows_all_values_of_selected_face(show_crowd):
    page = show_crowd(3, 2)
    assert page.locator("#face-values .bars > li:visible").count() == 8
    assert page.locator("#face-crop").evaluate(IS_DRAWN)
    facts = page.locator("#face-facts").inner_text()
    for name in ("Size", "Detection score", "Valence", "Arousal"):
        assert name in facts
    signs = page.locator("#face-facts dd").all_inner_texts()
    assert signs[1].endswith("%")
    assert all(text[0] in "+−0" for text in signs[2:])


def test_image_that_browser_cannot_show_has_crops(open_page, tmp_path):
    page = open_page()
    page.locator("#pipeline").select_option("single_shot")
    group = Image.open(crowd(tmp_path))
    group.save(tmp_path / "group.tiff")
    select_file(page, tmp_path / "group.tiff")
    wait_until(page, "!document.getElementById('face-crop').hidden")
    assert page.locator("#face-crop").evaluate(IS_DRAWN)
