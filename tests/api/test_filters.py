"""Every filter option narrows the results of GET and DELETE.

A filter that the service accepts and forgets would make DELETE match every image.
"""

from dataclasses import replace

import pytest

from app.api.arguments import FilterArguments
from app.store import queries
from tests.store.test_queries import ANGRY, HAPPY, MODEL, analysis

# For each option: a value that matches only image a, or only image b.
FILTERS = {
    "emotion": ("happiness", "a"),
    "min_probability": ("0.8", "a"),
    "file_name": ("b", "b"),
    "model": ("net_5", "b"),
    "since": ("2026-05-04T12:01:00Z", "b"),
    "until": ("2026-05-04T12:01:00Z", "a"),
    "min_faces": ("2", "b"),
}
CASES = [(option, value, name) for option, (value, name) in FILTERS.items()]


@pytest.fixture(autouse=True)
def images(app):
    with app.app_context():
        queries.save(analysis(HAPPY, file_name="a"))
        other = replace(MODEL, name="net_5")
        queries.save(analysis(ANGRY, ANGRY, minutes=2, file_name="b", model=other))


def stored(client, **filters):
    images = client.get("/v1/images", query_string=filters).json["images"]
    return [image["file_name"] for image in images]


def test_every_filter_option_has_a_case():
    assert FILTERS.keys() == FilterArguments().fields.keys()


@pytest.mark.parametrize(("option", "value", "name"), CASES)
def test_every_filter_narrows_the_results_of_get(client, option, value, name):
    filters = {option: value}
    assert stored(client, **filters) == [name]
    faces = client.get("/v1/faces", query_string=filters).json["faces"]
    assert {face["file_name"] for face in faces} == {name}
    spans = client.get("/v1/summary", query_string=filters).json["spans"]
    assert sum(span["images"] for span in spans) == 1


@pytest.mark.parametrize(("option", "value", "name"), CASES)
def test_every_filter_narrows_the_erasure(client, option, value, name):
    erased = client.delete("/v1/images", query_string={option: value})
    assert erased.json == {"erased": 1}
    assert stored(client) == ["b" if name == "a" else "a"]
