"""The committed models on real pictures, through the whole service."""

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
# By position, as the original service's authors name them: two rows of three.
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
    answer = client.post("/v1/images", data=fields)
    assert answer.status_code == 201
    return answer.json


@pytest.fixture(params=MODELS, ids=lambda path: path.name)
def model(request):
    return ClassifierCard.read(request.param)


def test_the_astronaut_smiles(client, model):
    found = analyse(client, ROOT / "docs" / "astronaut.jpg", model=model.name)
    assert found["model"]["name"] == model.name
    assert found["model"]["sha256"] == model.sha256
    face = found["faces"][0]
    assert face["emotions"].keys() == set(model.labels)
    assert face["dominant"] == "happiness"
    assert face["emotions"]["happiness"] > 0.9
    assert 160 < face["box"]["x1"] < 200


@pytest.mark.parametrize(
    ("name", "emotion"), [("angry.jpeg", "anger"), ("happy.jpeg", "happiness")]
)
def test_the_original_portraits_are_named_right(client, shared, model, name, emotion):
    (face,) = analyse(client, shared / "seed-examples" / name, model=model.name)["faces"]
    assert face["dominant"] == emotion


def test_the_original_six_are_named_right_by_position(client, shared, model):
    faces = analyse(client, shared / "seed-examples" / "test.jpg", model=model.name)["faces"]
    rows = sorted(faces, key=lambda face: face["box"]["y1"])
    named = [
        [face["dominant"] for face in sorted(row, key=lambda face: face["box"]["x1"])]
        for row in (rows[:3], rows[3:])
    ]
    for expected_row, named_row in zip(GRID, named, strict=True):
        for expected, got in zip(expected_row, named_row, strict=True):
            if expected in model.labels:  # five classes know neither fear nor disgust
                assert got == expected


@pytest.mark.parametrize("name", ["angry.jpeg", "happy.jpeg", "test.jpg"])
def test_boxes_agree_with_what_the_original_service_stored(client, shared, name):
    stored = json.loads((shared / "seed-examples" / "images.json").read_text())
    (expected, *_) = [image for image in stored["images"] if image["file_name"] == name]
    boxes = [[int(edge) for edge in face["bbox"]] for face in expected["faces"]]
    found = [
        list(face["box"].values())
        for face in analyse(client, shared / "seed-examples" / name, detector="haar_default")[
            "faces"
        ]
    ]
    assert len(found) == len(boxes)
    for box in boxes:
        nearest = min(max(abs(a - b) for a, b in zip(box, each, strict=True)) for each in found)
        assert nearest <= 2


def test_a_session_has_the_threads_it_is_given_and_runs_all_faces_at_once(monkeypatch):
    folder = ROOT / "models" / "custom_net_8"
    card = ClassifierCard.read(folder)

    def made(threads):
        before = threads_of_this_process()
        session = OnnxSession(
            read_weights(folder, card), signatures=[card.signature], threads=threads
        )
        return session, threads_of_this_process() - before

    session, added = made(1)
    assert added == 0
    _, added = made(3)
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
