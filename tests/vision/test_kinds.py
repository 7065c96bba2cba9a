"""A new kind of model: a card, a loader, an entry in KINDS, and a pipeline that uses the kind.

The model has two inputs, two outputs, 26 independent categories and three dimensions. This file
contains everything that the kind needs.
"""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from app.errors import InvalidCard, ModelUnavailable
from app.settings import ROOT
from app.vision.card import CLASSIFIER, DETECTOR, SINGLE_SHOT, read_weights
from app.vision.category_card import CategoryCard
from app.vision.install import install
from app.vision.kinds import KINDS, Kind, kind_of, model_folders
from app.vision.pipelines import PIPELINES
from app.vision.pipelines.result import PipelineResult
from app.vision.session import OnnxSession
from app.vision.types import Box, Dimensions, Person, Scores
from tests.conftest import analysis_request, image_file, upload
from tests.graphs import two_branch_graph

CATEGORIES = (
    "Affection", "Anger", "Annoyance", "Anticipation", "Aversion", "Confidence", "Disapproval",
    "Disconnection", "Disquietment", "Doubt/Confusion", "Embarrassment", "Engagement", "Esteem",
    "Excitement", "Fatigue", "Fear", "Happiness", "Pain", "Peace", "Pleasure", "Sadness",
    "Sensitivity", "Suffering", "Surprise", "Sympathy", "Yearning",
)  # fmt: skip
DOUBT, HAPPINESS = CATEGORIES.index("Doubt/Confusion"), CATEGORIES.index("Happiness")


class ContextNet:
    """Scores persons from an image of the body and an image of the scene."""

    def __init__(self, card, session):
        self.card, self._session = card, session

    @classmethod
    def load(cls, folder, *, threads=1):
        card = CategoryCard.read(folder)
        weights = read_weights(folder, card)
        return cls(card, OnnxSession(weights, signatures=[card.signature], threads=threads))

    def score(self, image_bgr, boxes, deadline):
        inputs = {"body": [image_bgr[y1:y2, x1:x2] for x1, y1, x2, y2 in boxes]}
        inputs["scene"] = [image_bgr] * len(boxes)
        resized = {
            tensor.name: np.stack(
                [
                    cv2.resize(each, tensor.shape[1:]).transpose(2, 0, 1)
                    for each in inputs[tensor.name]
                ]
            )
            for tensor in self.card.signature.inputs
        }
        outputs = self._session.run(resized, deadline)
        return [
            (
                Scores(dict(zip(self.card.labels, categories, strict=True)), exclusive=False),
                Dimensions(*dimensions),
            )
            for categories, dimensions in zip(
                outputs["categories"].tolist(), outputs["dimensions"].tolist(), strict=True
            )
        ]


class Context:
    """A pipeline that returns the left half of the image as a person."""

    name = model_kind = "context"
    title = "Context"
    description = "Persons in their surroundings."
    detector_name = "left_half"

    def __init__(self, net):
        self._net = net

    @classmethod
    def create(cls, source, options):
        return cls(source.model(cls.model_kind, options.model))

    @property
    def model(self):
        return self._net.card.ref

    def run(self, file, stopwatch, deadline):
        raster = file.read(color=True)
        width, height = raster.size_wh
        box = (0, 0, width // 2, height)
        persons = tuple(
            Person(Box(*box), *scored) for scored in self._net.score(raster.bgr, [box], deadline)
        )
        return PipelineResult(raster.size_wh, (), Counter(), 0, persons=persons)

    def warm_up(self):
        pass


@pytest.fixture
def context(monkeypatch):
    """Adds the kind to KINDS and the pipeline to PIPELINES."""
    kind = Kind("context", "Scores {count} categories: {labels}.", CategoryCard, ContextNet)
    monkeypatch.setitem(KINDS, kind.name, kind)
    monkeypatch.setitem(PIPELINES, Context.name, Context)


def document(**changes):
    def tensor(name, dtype, *shape):
        return {"name": name, "dtype": dtype, "shape": ["n", *shape], "what": f"the {name}"}

    return {
        "name": "context",
        "version": "1.0",
        "kind": "context",
        "labels": list(CATEGORIES),
        "exclusive": False,
        "thresholds": [0.1 + index / 100 for index in range(26)],
        "dimensions": [
            {"name": name, "range": [1, 10]} for name in ("valence", "arousal", "dominance")
        ],
        "inputs": [tensor("body", "uint8", 3, 8, 8), tensor("scene", "uint8", 3, 16, 16)],
        "outputs": [tensor("categories", "float32", 26), tensor("dimensions", "float32", 3)],
        "licence": "none",
        "intended_use": "tests",
    } | changes


@pytest.fixture
def install_model(tmp_path, context):
    """A function that installs a graph with a card and returns the card."""

    def run(weights=None, **changes):
        weights = weights or two_branch_graph(by_body=HAPPINESS, by_scene=DOUBT)
        (tmp_path / "context.onnx").write_bytes(weights)
        (tmp_path / "context.json").write_text(json.dumps(document(**changes)))
        return install(tmp_path / "context.onnx", tmp_path / "context.json", tmp_path / "models")

    return run


def image(left, right, size=64):
    """A PNG file whose left and right halves have these grey values."""
    pixels = np.full((size, size, 3), right, np.uint8)
    pixels[:, : size // 2] = left
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_model_of_a_new_kind_can_be_installed_listed_and_run(install_model, models_dir, make_app):
    card = install_model()
    assert isinstance(card, CategoryCard)
    app = make_app()
    client = app.test_client()
    listed = {model["name"]: model for model in client.get("/v1/models").json["models"]}
    assert listed["context"] | {"card": None} == {
        "name": "context",
        "title": "Context",
        "kind": "context",
        "description": f"Scores 26 categories: {', '.join(CATEGORIES)}.",
        "ready": True,
        "default": True,
        "card": None,
    }
    assert listed["context"]["card"]["labels"] == list(CATEGORIES)
    answer = client.post("/v1/images", data={"image": upload(image(255, 0)), "pipeline": "context"})
    assert answer.status_code == 201
    assert (answer.json["model"], answer.json["detector"]) == ("context", "left_half")
    engine = app.extensions["engine"]
    analysis = engine.analyse(analysis_request(image(255, 0), pipeline="context"))
    (person,) = analysis.persons
    assert tuple(person.categories) == CATEGORIES
    assert not person.categories.exclusive
    # The body is white. The scene is half white and half black, with a mean of 127.5.
    assert person.categories["Happiness"] == pytest.approx(1)
    assert person.categories["Doubt/Confusion"] == pytest.approx(1 / (1 + np.exp(0.5)), abs=1e-3)
    assert person.categories["Fear"] == pytest.approx(1 / (1 + np.exp(9)), rel=1e-3)
    assert person.dimensions == Dimensions(10, 5, 5)


def test_category_card_has_thresholds_and_dimensions(install_model):
    card = install_model()
    assert card.thresholds[DOUBT] == pytest.approx(0.19)
    assert [(each.name, each.low, each.high) for each in card.dimensions] == [
        ("valence", 1, 10), ("arousal", 1, 10), ("dominance", 1, 10),
    ]  # fmt: skip


def test_request_with_a_model_of_another_kind_returns_422(install_model, make_app):
    install_model()
    client = make_app().test_client()
    answer = client.post("/v1/images", data={"image": upload(image_file()), "model": "context"})
    assert answer.status_code == 422
    assert "known: stub_5, stub_8" in answer.json["detail"]


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        (
            two_branch_graph(labels=25),
            r"\(2, 25\) as 'categories' for 2 items; the card requires float32 of shape \(2, 26\)",
        ),
        (two_branch_graph(scene=8), r"items of shape \(3, 16, 16\) as 'scene'"),
        (two_branch_graph(valence_at_white=np.nan), "NaN or infinity as 'dimensions'"),
        (two_branch_graph(valence_at_white=np.inf), "NaN or infinity as 'dimensions'"),
    ],
    ids=["categories", "scene", "nan", "infinity"],
)
def test_weights_that_do_not_match_the_card_are_rejected(
    install_model, models_dir, weights, complaint
):
    with pytest.raises(ModelUnavailable, match=complaint):
        install_model(weights)
    assert sorted(path.name for path in models_dir.iterdir()) == ["stub_5", "stub_8"]


def changed(field, index, **changes):
    """A field whose value is a list of objects, with changes in one of the objects."""
    values = document()[field]
    values[index] |= changes
    return {field: values}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (changed("inputs", 0, name="face"), "exactly the inputs of the card: face, scene"),
        (changed("inputs", 1, dtype="float32"), "must take float32 as 'scene'"),
        ({"inputs": document()["inputs"][:1]}, "exactly the inputs of the card: body"),
        ({"outputs": [*document()["outputs"], document()["inputs"][0]]}, "return a tensor 'body'"),
    ],
    ids=["name", "dtype", "too few", "no such output"],
)
def test_card_that_does_not_match_the_weights_is_rejected(
    install_model, models_dir, changes, complaint
):
    with pytest.raises(ModelUnavailable, match=complaint):
        install_model(**changes)
    assert sorted(path.name for path in models_dir.iterdir()) == ["stub_5", "stub_8"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labels": ["Anger", "Anger"]}, "labels.*unique"),
        ({"labels": [*CATEGORIES[:-1], "Yearning\n"]}, "labels.*letters, digits, spaces"),
        ({"labels": [*CATEGORIES[:-1], "<b>"]}, "labels.*letters, digits, spaces"),
        ({"labels": [*CATEGORIES, "Awe"]}, "one number for each label"),
        ({"thresholds": [0.5]}, "thresholds.*one number for each label"),
        ({"thresholds": [1.5] * 26}, "thresholds"),
        ({"thresholds": None}, "thresholds"),
        (
            {"dimensions": [{"name": "valence", "range": [10, 1]}] * 3},
            "lowest value and then the highest",
        ),
        ({"dimensions": [{"name": "valence", "range": [1, 10]}] * 3}, "dimensions.*unique"),
        ({"dimensions": document()["dimensions"][:2]}, "'dimensions', float32 of shape"),
        ({"outputs": document()["outputs"][1:]}, "'categories', float32 of shape"),
        ({"inputs": []}, "inputs"),
        ({"inputs": document()["inputs"] * 2}, "inputs.*unique"),
        (changed("inputs", 0, shape=[1, 3, 8, 8]), "the batch"),
        (changed("inputs", 0, shape=["n", 3, "h", 8]), "positive whole numbers"),
        (changed("inputs", 0, shape=["n", True, 8, 8]), "positive whole numbers"),
        (changed("inputs", 0, shape=["n", 3, 10**6, 10**6]), "16,777,216 elements"),
        (changed("inputs", 0, dtype="string"), "dtype"),
        (changed("inputs", 0, name="a b"), "name"),
    ],
)
def test_invalid_category_card_is_rejected(install_model, changes, complaint):
    with pytest.raises(InvalidCard, match=complaint):
        install_model(**changes)


def test_kind_of_an_unknown_kind_is_classifier():
    assert kind_of(DETECTOR).name == DETECTOR
    for kind in (None, "nose", ["classifier"], {"a": 1}, 7, CLASSIFIER):
        assert kind_of(kind) is KINDS[CLASSIFIER]


def test_committed_models_have_the_expected_kinds():
    folders = {kind: [path.name for path in model_folders(ROOT / "models", kind)] for kind in KINDS}
    assert folders[DETECTOR] == ["haar"]
    assert "single_shot" in folders[SINGLE_SHOT]
    assert {"custom_net_8", "vgg13_8_int8"} < set(folders[CLASSIFIER])
    for kind, names in folders.items():
        for name in names:
            assert KINDS[kind].card.read(ROOT / "models" / name).name == name
