"""Faces whose scores do not sum to 1: several labels apply, and there is no distribution."""

import pytest

from app.vision.pipelines import PIPELINES
from app.vision.pipelines.result import PipelineResult
from app.vision.types import Box, Face, ModelRef, Scores
from tests.conftest import picture, upload

SCORES = {"Doubt/Confusion": 0.9, "Peace": 0.7, "Anger": 0.1}


class Independent:
    name = "independent"
    title = "Independent scores"
    description = "for tests"
    model_kind = "classifier"
    detector_name = "none"
    model = ModelRef("categories", "1", "0" * 64)

    @classmethod
    def of(cls, parts, options):
        return cls()

    def run(self, file, stopwatch, deadline):
        face = Face(Box(5, 10, 45, 50), Scores(SCORES, exclusive=False), 0.8)
        return PipelineResult((file.width, file.height), (face,), {})

    def warm(self):
        pass


@pytest.fixture
def post(client, monkeypatch):
    monkeypatch.setitem(PIPELINES, "independent", Independent)

    def post(headers=None, **options):
        form = {"image": upload(picture(100, 100)), "pipeline": "independent", "store": "false"}
        return client.post("/v1/images", data=form | options, headers=headers)

    return post


def test_every_label_that_reaches_the_threshold_is_a_key_of_the_face(post):
    (face,) = post(threshold="0.5").json["faces"]
    assert face == {
        "face_id": 1,
        "Doubt/Confusion": 0.9,
        "Peace": 0.7,
        "bbox": ["5", "10", "45", "50"],
    }


def test_they_have_neither_valence_nor_arousal(post):
    (face,) = post(view="full").json["faces"]
    assert face["emotions"] == SCORES
    assert (face["dominant"], face["valence"], face["arousal"]) == ("Doubt/Confusion", None, None)


def test_the_mood_is_null_with_the_reason(post):
    answer = post(mood="quality")
    assert answer.status_code == 200
    assert answer.json["mood"] == {
        "mood": None,
        "distribution": {},
        "aggregator": "quality",
        "agreement": None,
        "valence": {},
        "shares": {},
        "faces": [],
        "left_out": [{"face_id": 1, "reason": "not_exclusive"}],
    }


def test_they_are_drawn(post):
    answer = post(headers={"Accept": "image/png"})
    assert answer.status_code == 200
    assert answer.content_type == "image/png"
