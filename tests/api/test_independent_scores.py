"""Faces with independent scores: several labels can apply, and the scores do not sum to 1."""

import pytest

from app.vision.pipelines import PIPELINES
from app.vision.pipelines.result import PipelineResult
from app.vision.types import Box, Face, ModelRef, Scores
from tests.conftest import image_file, upload

SCORES = {"Doubt/Confusion": 0.9, "Peace": 0.7, "Anger": 0.1}


class IndependentPipeline:
    name = "independent"
    title = "Independent scores"
    description = "for tests"
    model_kind = "classifier"
    detector_name = "none"
    model = ModelRef("categories", "1", "0" * 64)

    @classmethod
    def create(cls, source, options):
        return cls()

    def run(self, file, stopwatch, deadline):
        face = Face(Box(5, 10, 45, 50), Scores(SCORES, exclusive=False), 0.8)
        return PipelineResult((file.width, file.height), (face,), {})

    def warm_up(self):
        pass


@pytest.fixture
def post(client, monkeypatch):
    monkeypatch.setitem(PIPELINES, "independent", IndependentPipeline)

    def post(headers=None, **options):
        form = {"image": upload(image_file(100, 100)), "pipeline": "independent", "store": "false"}
        return client.post("/v1/images", data=form | options, headers=headers)

    return post


def test_face_has_a_key_for_each_label_above_threshold(post):
    (face,) = post(threshold="0.5").json["faces"]
    assert face == {
        "face_id": 1,
        "Doubt/Confusion": 0.9,
        "Peace": 0.7,
        "bbox": ["5", "10", "45", "50"],
    }


def test_valence_and_arousal_are_null(post):
    (face,) = post(view="full").json["faces"]
    assert face["emotions"] == SCORES
    assert (face["dominant"], face["valence"], face["arousal"]) == ("Doubt/Confusion", None, None)


def test_mood_is_null_with_reason(post):
    response = post(mood="quality")
    assert response.status_code == 200
    assert response.json["mood"] == {
        "mood": None,
        "distribution": {},
        "aggregator": "quality",
        "agreement": None,
        "valence": {},
        "shares": {},
        "faces": [],
        "left_out": [{"face_id": 1, "reason": "not_exclusive"}],
    }


def test_annotated_image_is_returned(post):
    response = post(headers={"Accept": "image/png"})
    assert response.status_code == 200
    assert response.content_type == "image/png"
