"""A model with labels that no file of the page names: cards, colours, filter, charts, CSV."""

import csv
import shutil
import time
from pathlib import Path

import pytest
import requests

from app.settings import ROOT
from testbed.service import running_service
from tests.graphs import write_graph_model
from tests.web.pages import PHOTO, accessible, choose, shot, until

pytestmark = [pytest.mark.browser, pytest.mark.weights]
FEELINGS = ("joy", "calm", "boredom", "pride", "doubt", "envy", "awe")
LABELS = "its => its.map((it) => it.dataset.label)"
COLOURS = "its => its.map((it) => getComputedStyle(it).backgroundColor)"


@pytest.fixture(scope="module")
def feelings(tmp_path_factory):
    """A service with a model of seven other labels beside its own models. For a bright face the
    model says calm."""
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
    until(page, "document.getElementById('model').options.length > 1")
    page.locator("#model").select_option("feelings")


def test_its_labels_are_on_the_cards_each_in_its_own_colour(open_page, feelings):
    page = open_page(url=feelings)
    choose_feelings(page)
    choose(page, PHOTO)
    bars = page.locator("#faces .card .bar")
    assert sorted(bars.evaluate_all(LABELS)) == sorted(FEELINGS)
    assert len(set(bars.evaluate_all(COLOURS))) == len(FEELINGS)
    assert page.locator("#picture .box").get_attribute("data-label") == "calm"
    border = page.locator("#picture .box").evaluate("it => getComputedStyle(it).borderTopColor")
    assert border == page.locator("#faces .bar[data-label=calm]").evaluate(
        "it => getComputedStyle(it).backgroundColor"
    )
    shot(page, "page-feelings", full_page=True)
    assert accessible(page) == []


def test_colours_follow_the_order_of_the_service(open_page, feelings):
    page = open_page(url=feelings)
    until(page, "document.getElementById('model').options.length > 1")
    order = page.evaluate(
        """async () => {
            const { all, paint } = await import(new URL("assets/labels.js", document.baseURI));
            const colour = (label) =>
                paint(document.createElement("i"), label).style.getPropertyValue("--its");
            return all().map((label) => [label, colour(label)]);
        }"""
    )
    own = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    assert [label for label, _ in order] == [*own, *FEELINGS]
    assert [colour for _, colour in order] == [f"var(--label-{n})" for n in range(len(order))]


def test_its_labels_are_in_history_filter_chart_and_csv(open_page, feelings, tmp_path):
    page = open_page(url=feelings)
    choose_feelings(page)
    shutil.copy(PHOTO, tmp_path / "feeling.jpg")
    choose(page, tmp_path / "feeling.jpg")
    page.get_by_role("link", name="History").click()
    emotion = page.locator("#filters [name=emotion]")
    page.locator("#rows tr", has_text="feeling.jpg").first.wait_for()
    assert set(FEELINGS) <= set(emotion.locator("option").all_inner_texts())
    assert page.locator("#rows .chip[data-label=calm]").count() >= 1
    page.get_by_label("File name").fill("feeling.jpg")
    emotion.select_option("calm")
    page.get_by_role("button", name="Search").click()
    page.locator("#summary-words", has_text="Total: 1 image, 1 face").wait_for()
    rows = page.locator("#summary-rows > li:not(.axis)")
    assert rows.evaluate_all(LABELS) == list(FEELINGS)  # in the order of the model
    assert page.locator("#summary-rows [data-label=calm] .number").inner_text() == "1"
    assert page.locator("#summary-rows [data-label=calm] path").get_attribute("d") != ""
    page.locator("#summary-moods [data-label=calm]").first.wait_for()
    page.get_by_text("Numbers", exact=True).click()
    page.locator("#summary-body tr").first.wait_for()
    assert page.locator("#summary-head th").all_inner_texts()[4:] == list(FEELINGS)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    (row,) = csv.DictReader(Path(saved.value.path()).read_text().splitlines())
    assert row["dominant"] == "calm"
    assert sum(float(row[label]) for label in FEELINGS) == pytest.approx(1)
    shot(page, "page-feelings-history", full_page=True)
    emotion.select_option("happiness")
    page.get_by_role("button", name="Search").click()
    page.locator("#history-status", has_text="No stored results match.").wait_for()


def test_the_live_timeline_has_the_labels_of_the_chosen_model(open_page, feelings):
    page = open_page("/#live", url=feelings)
    choose_feelings(page)
    rows = page.locator("#live-rows > li:not(.axis)")
    until(page, "document.querySelector('#live-rows [data-label=awe]') !== null")
    assert rows.evaluate_all(LABELS) == list(FEELINGS)
