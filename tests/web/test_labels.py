"""The page with a model whose labels are not in the page's files."""

import csv
import shutil
import time
from pathlib import Path

import pytest
import requests

from app.settings import ROOT
from testbed.service import running_service
from tests.graphs import write_graph_model
from tests.web.pages import (
    PHOTO,
    accessibility_violations,
    save_screenshot,
    select_file,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.weights]
FEELINGS = ("joy", "calm", "boredom", "pride", "doubt", "envy", "awe")
LABELS = "elements => elements.map((element) => element.dataset.label)"
COLOURS = "elements => elements.map((element) => getComputedStyle(element).backgroundColor)"


@pytest.fixture(scope="module")
def feelings(tmp_path_factory):
    """A service with an additional model with seven other labels. The label of a bright face is
    calm."""
    folder = tmp_path_factory.mktemp("feelings")
    shutil.copytree(ROOT / "models", folder / "models")
    write_graph_model(folder / "models" / "feelings", FEELINGS)
    with running_service(folder, EMOTION_MODELS_DIR=str(folder / "models")) as url:
        wait_until_ready(url, "feelings")
        yield url


def wait_until_ready(url, name):
    for _ in range(60):
        models = requests.get(f"{url}/v1/models", timeout=30).json()["models"]
        (model,) = (each for each in models if each["name"] == name)
        if model["ready"]:
            return
        time.sleep(1)
    raise AssertionError(model["problem"])


def choose_feelings(page):
    wait_until(page, "document.getElementById('model').options.length > 1")
    page.locator("#model").select_option("feelings")


def test_cards_show_every_label_in_different_colour(open_page, feelings):
    page = open_page(url=feelings)
    choose_feelings(page)
    select_file(page, PHOTO)
    bars = page.locator("#faces .card .bar")
    assert sorted(bars.evaluate_all(LABELS)) == sorted(FEELINGS)
    assert len(set(bars.evaluate_all(COLOURS))) == len(FEELINGS)
    assert page.locator("#image .box").get_attribute("data-label") == "calm"
    border = page.locator("#image .box").evaluate(
        "element => getComputedStyle(element).borderTopColor"
    )
    assert border == page.locator("#faces .bar[data-label=calm]").evaluate(
        "element => getComputedStyle(element).backgroundColor"
    )
    save_screenshot(page, "page-feelings", full_page=True)
    assert accessibility_violations(page) == []


def test_label_colours_follow_order_of_service(open_page, feelings):
    page = open_page(url=feelings)
    wait_until(page, "document.getElementById('model').options.length > 1")
    order = page.evaluate(
        """async () => {
            const { all, paint } = await import(new URL("assets/labels.js", document.baseURI));
            const colour = (label) =>
                paint(document.createElement("i"), label).style.getPropertyValue("--label-color");
            return all().map((label) => [label, colour(label)]);
        }"""
    )
    defaults = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
    assert [label for label, _ in order] == [*defaults, "contempt", *FEELINGS]
    assert [colour for _, colour in order] == [f"var(--label-{n})" for n in range(len(order))]


def test_history_filter_chart_and_csv_have_labels_of_model(open_page, feelings, tmp_path):
    page = open_page(url=feelings)
    choose_feelings(page)
    shutil.copy(PHOTO, tmp_path / "feeling.jpg")
    select_file(page, tmp_path / "feeling.jpg")
    page.get_by_role("link", name="History").click()
    emotion = page.locator("#filters [name=emotion]")
    page.locator("#rows tr", has_text="feeling.jpg").first.wait_for()
    assert set(FEELINGS) <= set(emotion.locator("option").all_inner_texts())
    assert page.locator("#rows .chip[data-label=calm]").count() >= 1
    page.get_by_label("File name").fill("feeling.jpg")
    emotion.select_option("calm")
    page.get_by_role("button", name="Search").click()
    page.locator("#summary-text", has_text="Total: 1 image, 1 face").wait_for()
    rows = page.locator("#summary-rows > li:not(.axis)")
    assert rows.evaluate_all(LABELS) == list(FEELINGS)  # the order of the model
    assert page.locator("#summary-rows [data-label=calm] .number").inner_text() == "1"
    assert page.locator("#summary-rows [data-label=calm] path").get_attribute("d") != ""
    page.locator("#summary-moods [data-label=calm]").first.wait_for()
    page.get_by_text("Table", exact=True).click()
    page.locator("#summary-body tr").first.wait_for()
    assert page.locator("#summary-head th").all_inner_texts()[4:] == list(FEELINGS)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    (row,) = csv.DictReader(Path(saved.value.path()).read_text().splitlines())
    assert row["dominant"] == "calm"
    assert sum(float(row[label]) for label in FEELINGS) == pytest.approx(1)
    save_screenshot(page, "page-feelings-history", full_page=True)
    emotion.select_option("happiness")
    page.get_by_role("button", name="Search").click()
    page.locator("#history-status", has_text="No saved results match.").wait_for()


def test_live_timeline_has_labels_of_selected_model(open_page, feelings):
    page = open_page("/#live", url=feelings)
    choose_feelings(page)
    rows = page.locator("#live-rows > li:not(.axis)")
    wait_until(page, "document.querySelector('#live-rows [data-label=awe]') !== null")
    assert rows.evaluate_all(LABELS) == list(FEELINGS)
