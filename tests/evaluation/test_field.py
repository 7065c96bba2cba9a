"""Portraits by hand: found and right, found and wrong, missed."""

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
    macro,
    main_boxes,
    named_right,
    right_by_expression,
    served_scale,
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


def test_missed_faces_count_as_wrong_and_rare_expressions_not_at_all(monkeypatch):
    monkeypatch.setattr(field, "FEWEST_PICTURES", 2)
    classifier = stub_classifier(card_document("net"))
    grays = rasters(250, 250, 0, 0, 250, 0)
    people = portraits("happiness", "happiness", "neutral", "happiness", "neutral", "fear")
    boxes = [FACE, None, FACE, FACE, FACE, FACE]
    hits = named_right(classifier, people, grays, boxes, 1.0)
    assert hits.tolist() == [True, False, True, False, False, False]
    right = right_by_expression(hits, people, classifier.card.labels)
    assert right == {"happiness": pytest.approx(1 / 3), "neutral": 0.5}
    assert macro(right) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_expressions_that_the_model_does_not_know_are_not_asked(monkeypatch):
    monkeypatch.setattr(field, "FEWEST_PICTURES", 1)
    classifier = stub_classifier(card_document("net", ("neutral", "happiness")))
    grays, people = rasters(250, 250), portraits("happiness", "anger")
    hits = named_right(classifier, people, grays, [FACE, FACE], 1.0)
    assert hits.tolist() == [True, False]
    assert right_by_expression(hits, people, classifier.card.labels) == {"happiness": 1.0}


def test_the_detectors_best_box_is_taken_where_it_meets_the_face(monkeypatch):
    class Twice:
        min_face_share = 0.1

        @classmethod
        def load(cls, models_dir):
            return cls()

        def detect(self, raster, min_face_px, deadline=NEVER):
            assert min_face_px == 6
            if raster.gray[0, 0]:
                return [Detection(Box(12, 12, 50, 50)), Detection(Box(0, 0, 20, 20))]
            return [Detection(Box(40, 40, 90, 90))]

    monkeypatch.setitem(DETECTORS, "twice", Twice)
    people = portraits("happiness", "happiness")
    grays = rasters(9, 0)
    assert main_boxes(people, grays, "twice", None) == [Box(12, 12, 50, 50), None]
    assert main_boxes(people, grays, GIVEN, None) == [FACE, FACE]


@pytest.mark.parametrize("folder", model_folders(ROOT / "models"))
def test_cards_say_what_the_served_crop_gives(folder):
    """The cascade's boxes by the card's own scale, the given ones by theirs."""
    card = ClassifierCard.read(folder)
    for source, said in card.document["field"]["boxes"].items():
        assert said["macro"] == said["macro_by_crop_scale"][str(served_scale(card, source))]
    assert served_scale(card, GIVEN) < served_scale(card, "haar") == card.crop_scale
