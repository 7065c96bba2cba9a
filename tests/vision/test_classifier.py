import json

import numpy as np
import pytest
from onnx import TensorProto, helper

from app.deadline import Deadline
from app.errors import DeadlineExceeded
from app.vision.classifier import Classifier, ClassifierCard
from app.vision.install import install
from app.vision.types import Box
from tests.conftest import StubSession, card_document
from tests.graphs import graph

GRAY = np.full((100, 100), 200, np.uint8)


def stub_classifier(**changes):
    card = ClassifierCard.parse(card_document("net") | changes)
    return Classifier(card, StubSession(b"", signatures=[card.signature], threads=1))


def test_all_faces_of_an_image_are_one_batch():
    classifier = stub_classifier()
    boxes = [Box(0, 0, 30, 30), Box(20, 20, 90, 90), Box(50, 0, 99, 60)]
    answers = classifier.classify(GRAY, boxes)
    assert classifier._session.batches == [3]
    assert [list(answer) for answer in answers] == [list(classifier.card.labels)] * 3


def test_network_does_not_run_without_faces():
    classifier = stub_classifier()
    assert classifier.classify(GRAY, []) == []
    assert classifier._session.batches == []


def test_scores_of_exclusive_labels_are_the_softmax_of_scaled_logits():
    logits = np.array([[0.0, 2.0] + [-50.0] * 6], np.float32)
    warm, sharp = (stub_classifier(temperature=t).postprocess(logits)[0] for t in (2.0, 0.5))
    assert warm[1] / warm[0] == pytest.approx(np.exp(1))
    assert sharp[1] / sharp[0] == pytest.approx(np.exp(4))
    assert warm.sum() == pytest.approx(1, abs=1e-12)


def test_scores_of_labels_that_are_not_exclusive_are_sigmoids():
    classifier = stub_classifier(exclusive=False, temperature=2.0)
    scores = classifier.postprocess(np.array([[0.0, 2.0, -2.0] + [1e6, -1e6] * 2 + [0]]))[0]
    assert scores[:3] == pytest.approx([0.5, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    assert scores[3:].tolist() == [1, 0, 1, 0, 0.5]
    (found,) = classifier.classify(GRAY, [Box(0, 0, 30, 30)])
    assert not found.exclusive
    assert sum(found.values()) > 2
    assert stub_classifier().classify(GRAY, [Box(0, 0, 30, 30)])[0].exclusive


def test_output_is_selected_by_name_if_the_card_names_the_tensors(tmp_path):
    """The graph has another output before the one that the card names."""
    document = card_document("net")
    del document["input"], document["weights"]
    document |= {
        "inputs": [{"name": "crops", "dtype": "uint8", "shape": ["n", 1, 48, 48]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["n", 8]}],
    }
    model = graph()
    model.graph.output.insert(0, helper.make_tensor_value_info("grey", TensorProto.FLOAT, None))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "card.json").write_text(json.dumps(document))
    install(tmp_path / "net.onnx", tmp_path / "card.json", tmp_path / "models")
    classifier = Classifier.load(tmp_path / "models" / "net")
    assert classifier.predict(np.full((1, 48, 48), 10, np.uint8))[0, 1] == pytest.approx(
        2.304, rel=1e-5
    )


def test_huge_logits_do_not_overflow():
    assert np.isfinite(stub_classifier().postprocess(np.array([[1e30] + [-1e30] * 7]))).all()


def test_crop_has_the_scale_of_the_card():
    ramp = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
    crop = stub_classifier(crop_scale=2.0).preprocess(ramp, [Box(88, 88, 112, 112)])
    assert (crop[0] == ramp[76:124, 76:124]).all()


def test_no_face_is_cropped_after_the_deadline(monkeypatch):
    monkeypatch.setattr("app.vision.classifier.crop_face", None)
    with pytest.raises(DeadlineExceeded):
        stub_classifier().classify(GRAY, [Box(0, 0, 9, 9)] * 200, deadline=Deadline(0))
