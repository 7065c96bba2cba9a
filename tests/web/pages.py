"""Helpers for tests of the web page. Screenshots are written to artifacts/."""

import time

import pillow_heif
from PIL import Image

from app.settings import ROOT

SCREENSHOTS = ROOT / "artifacts"
PHOTO = ROOT / "docs" / "astronaut.jpg"


# True if the labels of all boxes are inside the element with an id, with a tolerance of 1 pixel.
LABELS_WITHIN = """id => {
    const outer = document.getElementById(id).getBoundingClientRect();
    return [...document.querySelectorAll(`#${id} .box span`)].every((label) => {
        const {left, top, right, bottom} = label.getBoundingClientRect();
        return left > outer.left - 1 && right < outer.right + 1
            && top > outer.top - 1 && bottom < outer.bottom + 1;
    });
}"""


def save_screenshot(page, name, **options):
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)


def select_file(page, path):
    page.locator("#file").set_input_files(path)
    page.locator("#result, #problem").locator("visible=true").first.wait_for()
    page.locator("#progress").wait_for(state="hidden")


def wait_until(page, expression):
    """Wait until a JavaScript expression is true. The Content-Security-Policy of the page blocks
    page.wait_for_function of Playwright."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true within 20 s: {expression}"
        page.wait_for_timeout(50)


def accessibility_violations(page):
    """Return the violations that axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in violations]


def fits_width(page):
    """Return True if the page has no horizontal overflow."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def check_both_schemes(page, name):
    """Check accessibility and take a screenshot in the light and in the dark color scheme."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        save_screenshot(page, f"{name}-{scheme}", full_page=True)
        assert accessibility_violations(page) == []
    page.emulate_media(color_scheme="light")


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


def heic(path, crop=None):
    photo = Image.open(PHOTO).convert("RGB")
    pillow_heif.from_pillow(photo.crop(crop) if crop else photo).save(path, quality=90)
    return path


EMOTIONS = (
    ("happiness", 0.97), ("neutral", 0.88), ("surprise", 0.75), ("sadness", 0.64), ("fear", 0.41),
)  # fmt: skip


def vary_emotions(page):
    """Give the faces of all later results of the page different emotions: EMOTIONS in turn."""
    page.evaluate(
        """(emotions) => {
            const original = window.fetch;
            window.fetch = async (url, options) => {
                const response = await original(url, options);
                const type = response.headers.get("Content-Type");
                if (!url.includes("/v1/images?") || type !== "application/json") return response;
                const body = await response.json();
                (body.faces ?? []).forEach((face, index) => {
                    const [name, probability] = emotions[index % emotions.length];
                    const names = Object.keys(face.emotions);
                    const share = (1 - probability) / (names.length - 1);
                    for (const each of names) face.emotions[each] = share;
                    face.emotions[name] = probability;
                    face.dominant = name;
                });
                const { status, headers } = response;
                return new Response(JSON.stringify(body), { status, headers });
            };
        }""",
        [list(each) for each in EMOTIONS],
    )
