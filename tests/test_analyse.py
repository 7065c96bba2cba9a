"""app.analyse: analyse an image and store the result, once for a repeated request."""

from dataclasses import replace

import pytest

from app.analyse import analyse, analyse_and_draw
from app.budget import Budget
from app.errors import CannotDraw, KeyReused, UnknownModel
from app.store import queries
from app.store.idempotency import IdempotentRequest
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageLink
from tests.conftest import analysis_request, image_file

FIRST = IdempotentRequest(caller="", key="key", position=0, fingerprint="a")


@pytest.fixture
def engine(app):
    with app.app_context():
        yield app.extensions["engine"]


def draw(engine, request, **options):
    return analyse_and_draw(
        engine, request, media_type="image/png", drawing_budget=Budget(1_000_000), **options
    )


def by_link(data, fetched=None, **options):
    """A request with a link to an image. `fetched` collects the URLs that are fetched."""

    def fetch(url):
        if fetched is not None:
            fetched.append(url)
        return data

    link = ImageLink("https://images.example/a.png", "a.png", fetch)
    return AnalysisRequest(link, AnalysisOptions(**options))


def stored_images(engine):
    return len(queries.page_of_images(queries.Filters(), size=50, cursor=None).items)


def test_analyse_stores_and_returns_a_new_analysis(engine):
    found, created = analyse(engine, analysis_request(image_file(100), threshold=0.2))
    assert created
    assert queries.get(found.id) == replace(found, timings_ms=queries.get(found.id).timings_ms)
    assert (len(found.faces), found.threshold, found.file_name) == (2, 0.2, "a.png")


def test_analyse_returns_the_stored_analysis_for_a_repeated_request(engine):
    request = analysis_request(image_file(100))
    (first, first_created), (again, again_created) = (
        analyse(engine, request, idempotent=FIRST) for _ in range(2)
    )
    assert (first_created, again_created) == (True, False)
    assert again.id == first.id
    assert stored_images(engine) == 1
    other = replace(FIRST, fingerprint="b")
    with pytest.raises(KeyReused):
        analyse(engine, request, idempotent=other)


def test_analyse_without_store_creates_an_analysis_each_time(engine):
    request = analysis_request(image_file(100), store=False)
    results = [analyse(engine, request) for _ in range(2)]
    assert [(found.id, created) for found, created in results] == [(None, True)] * 2
    assert stored_images(engine) == 0


def test_analyse_returns_the_analysis_of_a_faster_concurrent_request(engine, monkeypatch):
    """The concurrent request is stored between the look-up and the commit of this request."""
    request = analysis_request(image_file(100))
    real, concurrent = engine.analyse, []

    def slow(*arguments):
        if not concurrent:
            concurrent.append(None)
            concurrent[0] = analyse(engine, request, idempotent=FIRST)
        return real(*arguments)

    monkeypatch.setattr(engine, "analyse", slow)
    analysis, created = analyse(engine, request, idempotent=FIRST)
    ((faster, faster_created),) = concurrent
    assert (analysis.id, created, faster_created) == (faster.id, False, True)
    assert stored_images(engine) == 1


def test_analyse_and_draw_returns_the_annotated_image_also_for_a_replay(engine):
    request = analysis_request(image_file(100))
    (first, created, drawn), (again, repeated, redrawn) = (
        draw(engine, request, idempotent=FIRST) for _ in range(2)
    )
    assert (created, repeated) == (True, False)
    assert again.id == first.id
    assert drawn == redrawn
    assert drawn.startswith(b"\x89PNG")


def test_link_is_fetched_once_and_not_for_wrong_options(engine):
    fetched = []
    with pytest.raises(UnknownModel):
        analyse(engine, by_link(image_file(100), fetched, model="none"))
    assert fetched == []
    analyse(engine, by_link(image_file(100), fetched), idempotent=FIRST)
    _, created = analyse(engine, by_link(image_file(100), fetched), idempotent=FIRST)
    assert not created
    assert fetched == ["https://images.example/a.png"]


def test_link_is_drawn_unless_the_request_is_a_replay(engine):
    _, created, drawn = draw(engine, by_link(image_file(100)), idempotent=FIRST)
    assert created
    assert drawn
    with pytest.raises(CannotDraw, match="came by URL"):
        draw(engine, by_link(image_file(100)), idempotent=FIRST)
    unstored, created, _ = draw(engine, by_link(image_file(100), store=False))
    assert (unstored.id, created) == (None, True)


def test_link_is_not_drawn_if_a_concurrent_request_was_stored_first(engine, monkeypatch):
    """The concurrent request may have fetched another image from the same URL."""
    real, concurrent = engine.analyse, []

    def slow(*arguments):
        if not concurrent:
            concurrent.append(None)
            analyse(engine, by_link(image_file(50)), idempotent=FIRST)
        return real(*arguments)

    monkeypatch.setattr(engine, "analyse", slow)
    with pytest.raises(CannotDraw, match="came by URL"):
        draw(engine, by_link(image_file(100)), idempotent=FIRST)
    assert stored_images(engine) == 1


def test_repr_of_a_request_does_not_contain_the_image_bytes():
    assert "IHDR" not in repr(analysis_request(image_file()))
