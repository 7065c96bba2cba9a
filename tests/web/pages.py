"""What the tests of the page do to it and ask of it. Screenshots go to artifacts/."""

import time

from app.settings import ROOT

SCREENSHOTS = ROOT / "artifacts"
PHOTO = ROOT / "docs" / "astronaut.jpg"


# Whether the labels of boxes are within the element of an id, give or take a pixel.
LABELS_WITHIN = """id => {
    const its = document.getElementById(id).getBoundingClientRect();
    return [...document.querySelectorAll(`#${id} .box span`)].every((label) => {
        const {left, top, right, bottom} = label.getBoundingClientRect();
        return left > its.left - 1 && right < its.right + 1
            && top > its.top - 1 && bottom < its.bottom + 1;
    });
}"""


def shot(page, name, **options):
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)


def choose(page, path):
    page.locator("#file").set_input_files(path)
    page.locator("#result, #problem").locator("visible=true").first.wait_for()
    page.locator("#progress").wait_for(state="hidden")


def until(page, expression):
    """Wait until it is true. (Playwright's own way evaluates strings in the page, which the page's
    policy forbids.)"""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(50)


def accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in violations]


def fits(page):
    """Whether nothing stands out sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def in_both_schemes(page, name):
    """Nothing for axe to complain of in light and in dark, and a screenshot of each."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        shot(page, f"{name}-{scheme}", full_page=True)
        assert accessible(page) == []
    page.emulate_media(color_scheme="light")
