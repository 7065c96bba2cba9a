"""Classifiers on portraits, with faces that are found, missed and misclassified."""

import numpy as np
import pytest

from app.deadline import NEVER
from app.settings import ROOT
from app.vision.classifier import Classifier, ClassifierCard
from app.vision.detectors import DETECTORS
from app.vision.image import Raster
from app.vision.kinds import model_folders
from app.vision.types import Box, Detection
from evaluation import field
from evaluation.field import (
    GIVEN,
    MIN_FACES,
    SECTION,
    accuracy_by_expression,
    classified_correctly,
    count_expressions,
    macro,
    main_boxes,
    service_scale,
)
from tests.conftest import StubSession, card_document
from training.data.photos import Portrait

FACE = Box(10, 10, 50, 50)


def rasters(*grays):
    return [Raster(np.full((60, 60), gray, np.uint8), (60, 60)) for gray in grays]


def stub_classifier(document):
    card = ClassifierCard.parse(document)
    return Classifier(card, StubSession(b"", signatures=[card.signature], threads=1))


def portraits(*expressions):
    return [Portrait(None, FACE, expression) for expression in expressions]


def test_recall_counts_missed_faces_and_ignores_rare_expressions(monkeypatch):
    monkeypatch.setattr(field, "MIN_FACES", 2)
    classifier = stub_classifier(card_document("net"))
    grays = rasters(250, 250, 0, 0, 250, 0)
    people = portraits("happiness", "happiness", "neutral", "happiness", "neutral", "fear")
    boxes = [FACE, None, FACE, FACE, FACE, FACE]
    hits = classified_correctly(classifier, people, grays, boxes, 1.0)
    assert hits.tolist() == [True, False, True, False, False, False]
    accuracies = accuracy_by_expression(hits, people, classifier.card.labels)
    assert accuracies == {"happiness": pytest.approx(1 / 3), "neutral": 0.5}
    assert macro(accuracies) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_recall_ignores_expressions_unknown_to_the_model(monkeypatch):
    monkeypatch.setattr(field, "MIN_FACES", 1)
    classifier = stub_classifier(card_document("net", ("neutral", "happiness")))
    grays, people = rasters(250, 250), portraits("happiness", "anger")
    hits = classified_correctly(classifier, people, grays, [FACE, FACE], 1.0)
    assert hits.tolist() == [True, False]
    assert accuracy_by_expression(hits, people, classifier.card.labels) == {"happiness": 1.0}


def test_main_boxes_takes_the_best_matching_box(monkeypatch):
    class TwoBoxes:
        min_face_share = 0.1

        @classmethod
        def load(cls, models_dir):
            return cls()

        def detect(self, raster, min_face_px, deadline=NEVER):
            assert min_face_px == 6
            if raster.gray[0, 0]:
                return [Detection(Box(12, 12, 50, 50)), Detection(Box(0, 0, 20, 20))]
            return [Detection(Box(40, 40, 90, 90))]

    monkeypatch.setitem(DETECTORS, "twice", TwoBoxes)
    people = portraits("happiness", "happiness")
    grays = rasters(9, 0)
    assert main_boxes(people, grays, "twice", None) == [Box(12, 12, 50, 50), None]
    assert main_boxes(people, grays, GIVEN, None) == [FACE, FACE]


def test_count_expressions_has_the_order_of_the_labels():
    counts = count_expressions(portraits("contempt", "neutral", "happiness", "neutral"))
    assert list(counts.items()) == [("neutral", 2), ("happiness", 1), ("contempt", 1)]


@pytest.mark.parametrize("folder", model_folders(ROOT / "models"))
def test_cards_leave_rare_expressions_out_of_the_macro_figure(folder):
    card = ClassifierCard.read(folder)
    counts = card.document[SECTION]["portraits_by_emotion"]
    common = {name for name, count in counts.items() if count >= MIN_FACES}
    for figures in card.document[SECTION]["boxes"].values():
        assert figures["right_by_expression"].keys() == common & set(card.labels)
        mean = np.mean(list(figures["right_by_expression"].values()))
        assert figures["macro"] == pytest.approx(mean, abs=0.0002)


@pytest.mark.parametrize("folder", model_folders(ROOT / "models"))
def test_cards_have_the_figures_of_the_served_crop(folder):
    """Boxes of haar use the scale of the card, given boxes use their own scale."""
    card = ClassifierCard.read(folder)
    for source, figures in card.document[SECTION]["boxes"].items():
        assert figures["macro"] == figures["macro_by_crop_scale"][str(service_scale(card, source))]
    assert service_scale(card, GIVEN) < service_scale(card, "haar") == card.crop_scale
