"""Typed responses: members, their defaults, and the emotions that reach a threshold."""

from datetime import UTC, datetime

import emotions
import pytest

from tests.client.conftest import ANALYSIS, FACE, Response
from tests.conftest import image_file

IMAGE = image_file()


def test_analyse_returns_typed_result_and_ignores_unknown_members(client):
    found = client.analyse(IMAGE)
    assert (found.id, found.file_name, found.model, found.detector) == (7, "a.jpg", "net", "haar")
    assert found.created_at == datetime(2026, 5, 4, 12, 0, 0, 500_000, UTC)
    (face,) = found.faces
    assert face.dominant == "anger"
    assert face.emotions["anger"] == 0.7
    assert face.box_xyxy == (1.5, 2.0, 30.0, 40.0)
    assert face.shown(0.5) == {"anger": 0.7}


def test_missing_members_of_older_service_have_defaults():
    found = emotions.Analysis.read(ANALYSIS)
    assert (found.rotation, found.faces[0].valence, found.faces[0].arousal) == (0, None, None)
    span = emotions.Span.read({"span": "2026", "images": 1, "faces": 1, "emotions": {}})
    assert (span.valence, span.arousal) == (None, None)


def test_rotation_valence_and_arousal_are_read():
    face = ANALYSIS["faces"][0] | {"valence": -0.5, "arousal": 0.25}
    found = emotions.Analysis.read(ANALYSIS | {"rotation": 270, "faces": [face]})
    assert found.rotation == 270
    assert (found.faces[0].valence, found.faces[0].arousal) == (-0.5, 0.25)
    document = {"span": "2026", "images": 1, "faces": 1, "emotions": {}}
    span = emotions.Span.read(document | {"valence": 0.5, "arousal": None})
    assert (span.valence, span.arousal) == (0.5, None)


VALUES = [0, 0.0, 0.004, 0.005, 0.00500001, 0.015, 0.125, 0.49, 0.4949999, 0.495, 0.4950001, 0.496]
VALUES += [0.5, 0.5049999, 0.505, 0.5050001, 0.51, 0.985, 0.994, 0.995, 0.9950001, 1, 1.0]
VALUES += [number / 1000 for number in range(1001)]
THRESHOLDS = [0, 0.01, 0.1, 0.3, 0.49, 0.495, 0.496, 0.5, 0.504, 0.505, 0.51, 0.99, 0.995, 1]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_shown_rounds_like_the_service(threshold):
    from app.vision.types import Box, Scores
    from app.vision.types import Face as ServiceFace

    for value in VALUES:
        scores = {"anger": value, "neutral": 1 - value}
        client_face = emotions.Face(1, (0, 0, 1, 1), "anger", scores)
        service_face = ServiceFace(Box(0, 0, 1, 1), Scores(scores))
        assert client_face.shown(threshold) == service_face.emotions.rounded(threshold), value


def test_persons_and_video_frames_are_read_if_present(scripted, client):
    person = {
        "person_id": 1, "face_id": 1, "box": FACE["box"], "detection_score": 0.8,
        "categories": {"Doubt/Confusion": 0.4}, "valence": 7.1, "arousal": 5.4, "dominance": 6.2,
    }  # fmt: skip
    frame = {"job": "a1", "position_ms": 0, "persons": [person]}
    face = {**FACE, "track_id": 3}
    scripted.responses = [
        Response(200, {**ANALYSIS, **frame, "faces": [face]}),
        Response(200, ANALYSIS),
    ]
    found = client.image(7)
    assert found.persons == (
        emotions.Person(1, (1.5, 2.0, 30.0, 40.0), {"Doubt/Confusion": 0.4}, 7.1, 5.4, 6.2, 1, 0.8),
    )
    assert (found.job, found.position_ms, found.faces[0].track_id) == ("a1", 0, 3)
    plain = client.image(7)
    assert (plain.persons, plain.job, plain.position_ms) == ((), None, None)
    assert (plain.faces[0].track_id, plain.faces[0].exclusive) == (None, True)


def test_shown_compares_rounded_probability_with_threshold():
    face = emotions.Face(1, (0, 0, 1, 1), "anger", {"anger": 0.496, "neutral": 0.4949})
    assert face.shown(0.5) == {"anger": 0.5}
    assert face.shown(0.49) == {"anger": 0.5, "neutral": 0.49}
    assert face.shown(0.496) == {"anger": 0.5}
    assert face.shown(0.501) == {}
