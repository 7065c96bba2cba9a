"""Valence and arousal of faces in the full form, CSV and summaries."""

import csv
import io
import json
from dataclasses import replace

import pytest

from app.store import queries
from app.store.rollups import add_new_images
from app.vision.circumplex import affect_of
from app.vision.types import Face, Scores
from tests.conftest import LABELS, image_file, upload, write_model
from tests.store.test_queries import ANGRY, CALM, HAPPY, MODEL, analysis

CSV = {"Accept": "text/csv"}
FACES = (HAPPY, ANGRY, CALM)


def analysis_of_other_model(model="moods", **probabilities):
    """An analysis with one face, by a model with emotions without published coordinates."""
    face = Face(HAPPY.box, Scores(probabilities))
    return analysis(face, model=replace(MODEL, name=model))


def valences(faces):
    return [affect_of(face.emotions).valence for face in faces]


def mean(values):
    return sum(values) / len(values)


def test_only_full_form_has_valence_and_arousal(client):
    data = {"image": upload(image_file(50, gray=250)), "view": "full"}
    response = client.post("/v1/images", data=data)
    (face,) = response.json["faces"]
    expected = affect_of(Scores(face["emotions"]))
    assert (face["valence"], face["arousal"]) == pytest.approx(expected)
    assert face["valence"] > 0.7
    assert client.get(response.location + "?view=full").json["faces"] == [face]
    (found,) = client.get("/v1/faces?view=full").json["faces"]
    assert found["face"] == face
    for query in ("", "?threshold=0"):
        (documented,) = client.get(response.location + query).json["faces"]
        assert documented.keys() <= {"face_id", "bbox", *LABELS}
        assert "valence" not in json.dumps(client.get("/v1/images" + query).json)


def test_valence_is_null_for_unknown_emotions(client, models_dir):
    write_model(models_dir, "other", ("happiness", "boredom"))
    data = {"image": upload(image_file()), "view": "full", "model": "other"}
    (face,) = client.post("/v1/images", data=data).json["faces"]
    assert (face["valence"], face["arousal"]) == (None, None)


def test_csv_has_columns_for_valence_and_arousal(client, app):
    with app.app_context():
        queries.save(analysis(HAPPY, ANGRY))
        queries.save(analysis_of_other_model(boredom=0.75, happiness=0.25))
    text = client.get("/v1/faces", headers=CSV).get_data(as_text=True)
    header = text.splitlines()[0].split(",")
    assert header[header.index("dominant") + 1 :][:2] == ["valence", "arousal"]
    rows = {row["dominant"]: row for row in csv.DictReader(io.StringIO(text))}
    assert (rows["boredom"]["valence"], rows["boredom"]["arousal"]) == ("", "")
    for face in (HAPPY, ANGRY):
        row = rows[face.dominant]
        affect = affect_of(face.emotions)
        assert float(row["valence"]) == pytest.approx(affect.valence)
        assert float(row["arousal"]) == pytest.approx(affect.arousal)
        assert float(row["happiness"]) == face.emotions["happiness"]


@pytest.mark.parametrize("in_rollups", [True, False])
def test_summary_has_mean_valence_over_faces(client, app, in_rollups):
    with app.app_context():
        queries.save(analysis(*FACES))
        queries.save(analysis(HAPPY, minutes=61, model=replace(MODEL, name="other")))
        queries.save(analysis_of_other_model(boredom=1.0))
        if in_rollups:
            assert add_new_images() == 3
    (day,) = client.get("/v1/summary").json["spans"]
    # The face of the model with unknown emotions is counted, but it does not affect the means.
    assert day["faces"] == 5
    assert day["valence"] == pytest.approx(mean(valences([*FACES, HAPPY])), abs=1e-4)
    noon, later = client.get("/v1/summary?by=hour").json["spans"]
    assert noon["valence"] == pytest.approx(mean(valences(FACES)), abs=1e-4)
    assert later["valence"] == pytest.approx(valences([HAPPY])[0], abs=1e-4)
    models = {span["span"]: span for span in client.get("/v1/summary?by=model").json["spans"]}
    assert (models["moods"]["valence"], models["moods"]["arousal"]) == (None, None)
    assert models["other"]["valence"] == later["valence"]
    # With a filter on faces, the mean is over the matching faces.
    (angry,) = client.get("/v1/summary?emotion=anger").json["spans"]
    assert angry["valence"] == pytest.approx(valences([ANGRY])[0], abs=1e-4)


def test_mean_valence_changes_with_erasure(client, app):
    with app.app_context():
        first = queries.save(analysis(HAPPY))
        queries.save(analysis(ANGRY, CALM))
        add_new_images()
    client.delete(f"/v1/images/{first.id}")
    (day,) = client.get("/v1/summary").json["spans"]
    assert day["valence"] == pytest.approx(mean(valences([ANGRY, CALM])), abs=1e-4)


def test_valence_of_span_without_faces_is_null(client, app):
    with app.app_context():
        queries.save(analysis())
    (day,) = client.get("/v1/summary").json["spans"]
    assert (day["valence"], day["arousal"]) == (None, None)


def test_valence_of_mood_has_three_shares(client, app):
    with app.app_context():
        stored = queries.save(analysis(*FACES))
    mood = client.get(f"/v1/images/{stored.id}/mood").json
    assert set(mood["valence"]) == {"positive", "neutral", "negative"}
    (day,) = client.get("/v1/summary?mood=mean").json["spans"]
    assert set(day["mood"]["valence"]) == {"positive", "neutral", "negative"}
    assert isinstance(day["valence"], float)
