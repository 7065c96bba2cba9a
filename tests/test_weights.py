"""The committed models on real images, through the whole service."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from app import create_app
from app.settings import ROOT, Settings
from app.store.migrate import upgrade
from app.store.tables import db
from app.vision.card import read_weights
from app.vision.classifier import ClassifierCard
from app.vision.kinds import model_folders
from app.vision.session import OnnxSession
from tests.conftest import upload

pytestmark = pytest.mark.weights

MODELS = model_folders(ROOT / "models")
# The emotions of the six faces by position, as named by the authors of the original service.
GRID = [["neutral", "fear", "disgust"], ["surprise", "happiness", "sadness"]]


@pytest.fixture
def client(tmp_path):
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))
    with app.app_context():
        upgrade()
        db.engine.dispose()
    return app.test_client()


def analyse(client, path, **options):
    fields = {"image": upload(path.read_bytes(), path.name), "view": "full", **options}
    response = client.post("/v1/images", data=fields)
    assert response.status_code == 201
    return response.json


@pytest.fixture(params=MODELS, ids=lambda path: path.name)
def model(request):
    return ClassifierCard.read(request.param)


def test_model_finds_the_happy_face_of_the_sample_image(client, model):
    image = analyse(client, ROOT / "docs" / "astronaut.jpg", model=model.name)
    assert image["model"]["name"] == model.name
    assert image["model"]["sha256"] == model.sha256
    face = image["faces"][0]
    assert face["emotions"].keys() == set(model.labels)
    assert face["dominant"] == "happiness"
    assert face["emotions"]["happiness"] > 0.9
    assert 160 < face["box"]["x1"] < 200


@pytest.mark.parametrize(
    ("name", "emotion"), [("angry.jpeg", "anger"), ("happy.jpeg", "happiness")]
)
def test_model_recognises_the_emotions_of_the_original_portraits(
    client, shared, model, name, emotion
):
    (face,) = analyse(client, shared / "seed-examples" / name, model=model.name)["faces"]
    assert face["dominant"] == emotion


def test_model_recognises_the_emotions_of_the_original_six_faces(client, shared, model):
    faces = analyse(client, shared / "seed-examples" / "test.jpg", model=model.name)["faces"]
    rows = sorted(faces, key=lambda face: face["box"]["y1"])
    recognised = [
        [face["dominant"] for face in sorted(row, key=lambda face: face["box"]["x1"])]
        for row in (rows[:3], rows[3:])
    ]
    for expected_row, row in zip(GRID, recognised, strict=True):
        for expected, emotion in zip(expected_row, row, strict=True):
            if expected in model.labels:  # a model with five classes has no fear and no disgust
                assert emotion == expected


@pytest.mark.parametrize("name", ["angry.jpeg", "happy.jpeg", "test.jpg"])
def test_boxes_match_those_of_the_original_service(client, shared, name):
    stored = json.loads((shared / "seed-examples" / "images.json").read_text())
    (expected, *_) = [image for image in stored["images"] if image["file_name"] == name]
    boxes = [[int(edge) for edge in face["bbox"]] for face in expected["faces"]]
    image = analyse(client, shared / "seed-examples" / name, detector="haar_default")
    detected = [list(face["box"].values()) for face in image["faces"]]
    assert len(detected) == len(boxes)
    for box in boxes:
        distances = [max(abs(a - b) for a, b in zip(box, other, strict=True)) for other in detected]
        assert min(distances) <= 2


def test_session_starts_the_configured_threads_and_runs_many_faces_in_one_batch(monkeypatch):
    folder = ROOT / "models" / "custom_net_8"
    card = ClassifierCard.read(folder)

    def create(threads):
        before = threads_of_this_process()
        session = OnnxSession(
            read_weights(folder, card), signatures=[card.signature], threads=threads
        )
        return session, threads_of_this_process() - before

    session, added = create(1)
    assert added == 0
    _, added = create(3)
    assert added == 2
    runs = Mock(wraps=session._session)
    monkeypatch.setattr(session, "_session", runs)
    crops = np.random.default_rng(0).integers(0, 256, (300, 1, 48, 48), np.uint8)

    def run(crops):
        return session.run({"input": crops})["output"]

    together = run(crops[:200])
    assert runs.run.call_count == 1
    assert np.allclose(run(crops)[:200], together, atol=1e-4)
    assert runs.run.call_count == 3


def threads_of_this_process():
    return len(list(Path("/proc/self/task").iterdir()))
