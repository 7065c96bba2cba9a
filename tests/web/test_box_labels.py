"""The labels of the boxes on the image of the Analyse page, and the legend."""

import pytest

from tests.web.pages import (
    LABELS_WITHIN,
    PHOTO,
    accessibility_violations,
    check_both_schemes,
    crowd,
    fits_width,
    save_screenshot,
    select_file,
    vary_emotions,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
RECTANGLES = """selector => [...document.querySelectorAll(selector)]
    .filter((element) => element.checkVisibility())
    .map((element) => {
        const {left, top, right, bottom} = element.getBoundingClientRect();
        return [left, top, right, bottom];
    })"""
LABELS, BOXES = "#image .box span", "#image .box"


def overlap(one, other):
    """Return True if two rectangles have more than half a pixel in common."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    return right - left > 0.5 and bottom - top > 0.5


def uncovered(page):
    """Return True if no label covers a box or another label."""
    labels, boxes = (page.evaluate(RECTANGLES, each) for each in (LABELS, BOXES))
    pairs = [(label, box) for label in labels for box in boxes]
    pairs += [(one, other) for n, one in enumerate(labels) for other in labels[:n]]
    return not any(overlap(*pair) for pair in pairs)


@pytest.fixture
def show_crowd(open_page, tmp_path):
    def show_crowd(columns, rows, width=1280, **options):
        page = open_page(viewport={"width": width, "height": 900}, **options)
        vary_emotions(page)
        page.locator("#pipeline").select_option("single_shot")
        select_file(page, crowd(tmp_path, columns, rows))
        page.locator(LABELS).first.wait_for()
        return page

    return show_crowd


def colour(locator, name):
    return locator.evaluate(f"element => getComputedStyle(element).{name}")


def test_label_is_emotion_with_probability_in_its_colour(open_page):
    page = open_page()
    select_file(page, PHOTO)
    label = page.locator(LABELS)
    assert label.inner_text() == "happiness 100 %"
    assert colour(label, "backgroundColor") == colour(page.locator(BOXES), "borderTopColor")
    assert uncovered(page)
    assert page.locator("#legend li").all_inner_texts() == ["happiness"]


def test_labels_cover_no_face_and_legend_lists_emotions(show_crowd):
    page = show_crowd(3, 2)
    expected = ["happiness 97 %", "neutral 88 %", "surprise 75 %", "sadness 64 %"]
    # The fifth face is below the threshold of 50 %.
    assert page.locator(f"{LABELS}:visible").all_inner_texts() == [*expected, "happiness 97 %"]
    assert uncovered(page)
    assert page.evaluate(LABELS_WITHIN.replace(".box span", ".box span:not([hidden])"), "image")
    assert page.locator("#legend li").all_inner_texts() == [
        "neutral × 1", "happiness × 2", "surprise × 1", "sadness × 1", "below the threshold × 1",
    ]  # fmt: skip
    check_both_schemes(page, "page-labels")


def test_face_below_threshold_has_outline_without_label(show_crowd):
    page = show_crowd(3, 2)
    faint = page.locator(f"{BOXES}.no-emotion")
    assert faint.count() == 1
    assert faint.locator("span").is_hidden()
    assert colour(faint, "borderTopStyle") == "dashed"
    assert "no emotion reaches 50 %" in faint.get_attribute("aria-label")
    slider = page.locator("#threshold")
    slider.press("Home")
    assert faint.count() == 0
    assert "fear 41 %" in page.locator(f"{LABELS}:visible").all_inner_texts()
    slider.press("End")
    assert page.locator(f"{LABELS}:visible").count() == 0
    assert page.locator("#legend li").all_inner_texts() == ["below the threshold × 6"]


def test_labels_are_shortened_if_space_is_scarce(show_crowd):
    page = show_crowd(6, 4, width=360)
    texts = page.locator(f"{LABELS}:visible").all_inner_texts()
    assert [text for text in texts if text.isdigit()], "at least one label is the number"
    assert all(text.isdigit() or text.split(" ")[0].isalpha() for text in texts)
    assert fits_width(page)
    wide = show_crowd(6, 4, width=1280)
    shortened = [text for text in wide.locator(f"{LABELS}:visible").all_inner_texts()
                 if not text.endswith("%")]  # fmt: skip
    assert len(shortened) < len(texts)
    assert uncovered(wide)
    save_screenshot(page, "page-labels-360", full_page=True)
    save_screenshot(wide, "page-labels-24", full_page=True)
    assert accessibility_violations(page) == []


def test_labels_are_placed_again_for_new_size(show_crowd):
    page = show_crowd(3, 2)
    page.set_viewport_size({"width": 500, "height": 900})
    inside = LABELS_WITHIN.replace(".box span", ".box span:not([hidden])")
    wait_until(page, f"({inside})('image')")
    for _ in range(40):
        if uncovered(page):
            break
        page.wait_for_timeout(50)
    assert uncovered(page)


def test_text_on_every_label_colour_has_contrast(open_page):
    page = open_page()
    colours = page.evaluate(
        """async () => {
            const { paint } = await import(new URL("assets/labels.js", document.baseURI));
            return Array.from({length: 16}, (_, index) => {
                const element = paint(document.createElement("i"), `label ${index}`);
                document.body.append(element);
                element.style.color = "var(--on-label)";
                element.style.backgroundColor = "var(--label-color)";
                const { color, backgroundColor } = getComputedStyle(element);
                return [color, backgroundColor];
            });
        }"""
    )
    assert len({background for _, background in colours}) == 16
    for text, background in colours:
        light, dark = sorted((luminance(text), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, background


def luminance(colour):
    """Return the relative luminance of "rgb(r, g, b)", as WCAG 2 defines it."""
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
