"""Serving of the single-shot network, with networks whose outputs are known."""

import json

import numpy as np
import pytest

from app.errors import InvalidCard, ModelUnavailable, UnfitDetector, UnknownModel, UnknownPipeline
from app.vision.cells import grid
from app.vision.engine import Engine
from app.vision.image import Raster, letterbox
from app.vision.install import install
from app.vision.pipelines import PIPELINES
from app.vision.request import AnalysisOptions
from app.vision.single_shot import SingleShotCard, SingleShotNet
from app.vision.types import DetectionOptions
from tests.conftest import LABELS, analysis_request, image_file
from tests.graphs import single_shot_document, single_shot_graph, write_single_shot

SIDE = 64


def no_faces(side=SIDE, classes=8):
    """Outputs of a network that finds no face."""
    outputs = np.zeros((len(grid(side)[0]), 5 + classes), np.float32)
    outputs[:, 4] = -20
    return outputs


def one_face(side=SIDE):
    """Outputs with one happy face of 16 pixels around (24, 8). The face logit is 2."""
    outputs = no_faces(side)
    outputs[65, 4:7] = 2, 0, 3
    return outputs


class FixedSession:
    """Replaces ONNX Runtime: returns the same outputs for every square and records the squares."""

    def __init__(self, outputs):
        self.outputs, self.squares = outputs, []

    def run(self, inputs, deadline):
        (squares,) = inputs.values()
        self.squares.append(squares)
        return {"output": np.stack([self.outputs] * len(squares))}


def net(outputs, **changes):
    document = single_shot_document("net") | changes
    return SingleShotNet(SingleShotCard.parse(document), FixedSession(outputs))


def raster(width, height, *, scale=1.0, original=None):
    colors = np.full((height, width, 3), 90, np.uint8)
    return Raster(colors[:, :, 0], original or (width, height), scale, colors)


def test_letterbox_reduces_and_never_enlarges():
    image = np.full((30, 120, 3), 200, np.uint8)
    square, factor = letterbox(image, 64)
    assert (square.shape, factor) == ((64, 64, 3), pytest.approx(64 / 120))
    assert (square[:16] == 200).all()
    assert (square[16:] == 0).all()
    square, factor = letterbox(image[:, :40], 64)
    assert factor == 1
    assert (square[:30, :40] == 200).all()
    assert square.sum() == 200 * 30 * 40 * 3


@pytest.mark.parametrize("size_wh", [(64, 64), (50, 30), (640, 480), (333, 1000), (2500, 640)])
def test_boxes_are_in_pixels_of_the_image(size_wh):
    width, height = size_wh
    ((detection, _),) = net(one_face()).find(raster(width, height), 1.0)
    factor = max(1.0, max(size_wh) / SIDE)
    expected = np.clip(np.array([16, 0, 32, 16]) * factor, 0, (width, height, width, height))
    assert detection.box.xyxy == pytest.approx(expected.tolist(), abs=0.01)


def test_boxes_of_a_reduced_image_are_in_pixels_of_the_original():
    small = raster(160, 120, scale=0.25, original=(640, 480))
    ((detection, _),) = net(one_face()).find(small, 1.0)
    assert detection.box.xyxy == pytest.approx((160, 0, 320, 160))


def test_card_calibrates_detection_scores_and_emotions():
    changed = net(one_face(), score={"scale": 2.0, "bias": -1.0}, temperature=1.5)
    ((detection, emotions),) = changed.find(raster(64, 64), 1.0)
    assert detection.score == pytest.approx(1 / (1 + np.exp(-(2 * 2 - 1))))
    assert list(emotions) == list(LABELS)
    assert sum(emotions.values()) == pytest.approx(1)
    assert emotions["happiness"] == pytest.approx(np.exp(3 / 1.5) / (np.exp(3 / 1.5) + 7))


@pytest.mark.parametrize(("bias", "count"), [(-2.84, 1), (-2.85, 0)])
def test_faces_below_min_score_are_dropped(bias, count):
    """The logit of the face is 2 plus the bias. The logit of MIN_SCORE .3 is -.847."""
    found = net(one_face(), score={"scale": 1.0, "bias": bias}).find(raster(64, 64), 1.0)
    assert len(found) == count


def test_face_outside_the_image_is_dropped():
    assert net(one_face()).find(raster(12, 64), 1.0) == []


@pytest.mark.parametrize(
    ("longer_side", "min_face_px", "size"),
    [
        (320, 20, 320),
        (320, 5, 640),  # never large enough, so the largest size
        (1000, 50, 320),  # 16 pixels at 320
        (1000, 30, 640),  # 9.6 and 19.2
        (200, 14, 320),  # a small image is not enlarged
        (8000, 1, 640),
    ],
)
def test_size_for_chooses_a_larger_square_for_small_faces(longer_side, min_face_px, size):
    chosen = net(no_faces(), input={"sizes": [640, 320]}).size_for(longer_side, min_face_px)
    assert chosen == size


def test_network_gets_a_square_of_the_chosen_size():
    network = net(no_faces(128), input={"sizes": [128]})
    network.find(raster(500, 20), 30.0)
    assert network._session.squares[0].shape == (1, 128, 128, 3)
    assert network._session.squares[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "classifier"}, "kind"),
        ({"input": {"size": 64}}, "sizes"),
        ({"input": {"sizes": []}}, "sizes"),
        ({"input": {"sizes": [320, 330]}}, "multiple of 32"),
        ({"input": {"sizes": ["320"]}}, "sizes"),
        ({"score": {"scale": 0, "bias": 0}}, "scale"),
        ({"score": {"scale": 1, "bias": float("nan")}}, "bias"),
        ({"score": None}, "score"),
        ({"labels": ["a", "a"]}, "unique"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_invalid_single_shot_card_is_rejected(change, complaint):
    with pytest.raises(InvalidCard, match=complaint):
        SingleShotCard.parse(single_shot_document("net") | change)


def broken(*, at=None, cells=None):
    """A graph whose outputs have the values `at` {(row, column): value}, or only `cells` rows."""
    outputs = one_face()
    for (row, column), value in (at or {}).items():
        outputs[row, column] = value
    return single_shot_graph(outputs[:cells])


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        (broken(at={(3, 4): np.nan}), "NaN"),
        (broken(at={(3, 9): np.inf}), "NaN or infinity"),
        (broken(cells=50), r"requires float32 of shape \(2, 84, 13\)"),
        (b"weights", "not an ONNX file"),
    ],
    ids=["nan", "infinity", "too few cells", "no graph"],
)
def test_invalid_weights_are_rejected_by_the_installation(tmp_path, weights, complaint):
    document = single_shot_document("mine")
    del document["weights"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    (tmp_path / "mine.onnx").write_bytes(weights)
    with pytest.raises(ModelUnavailable, match=complaint):
        install(tmp_path / "mine.onnx", tmp_path / "card.json", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_installed_network_finds_and_classifies_a_face(tmp_path):
    document = single_shot_document("mine")
    del document["weights"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    (tmp_path / "mine.onnx").write_bytes(single_shot_graph(one_face()))
    install(tmp_path / "mine.onnx", tmp_path / "card.json", tmp_path / "models")
    ((_, emotions),) = SingleShotNet.load(tmp_path / "models" / "mine").find(raster(64, 64), 1.0)
    assert max(emotions, key=emotions.get) == "happiness"


def test_changed_weights_are_rejected(engine, models_dir):
    path = models_dir / "single_shot" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(InvalidCard, match="checksum"):
        engine.pipeline(AnalysisOptions(pipeline="single_shot"))


@pytest.fixture
def engine(models_dir):
    write_single_shot(models_dir / "single_shot", one_face(), side=SIDE)
    write_single_shot(models_dir / "other", no_faces(), side=SIDE)
    return Engine(
        models_dir,
        model="stub_8",
        detector="haar_default",
        max_image_bytes=100_000,
        max_pixels=1_000_000,
        max_faces=5,
    )


def analyse(engine, data, **options):
    return engine.analyse(analysis_request(data, pipeline="single_shot", **options))


def test_pipeline_returns_an_analysis(engine):
    found = analyse(engine, image_file(64, 64))
    (face,) = found.faces
    assert face.dominant == "happiness"
    assert face.box.xyxy == (16, 0, 32, 16)
    assert face.detection_score == pytest.approx(1 / (1 + np.exp(-2)))
    assert (found.model.name, found.detector) == ("single_shot", "single_shot")
    assert list(found.timings_ms) == ["decode", "detect"]


@pytest.mark.parametrize(
    ("options", "dropped"),
    [
        ({"min_face_px": 17}, "min_face_px"),
        ({"min_confidence": 0.9}, "min_confidence"),
    ],
)
def test_detection_options_apply_to_the_single_shot_pipeline(engine, options, dropped):
    found = analyse(engine, image_file(64, 64), detection=DetectionOptions(**options))
    assert found.faces == ()
    assert found.dropped[dropped] == 1


def test_request_can_name_another_network(engine):
    assert analyse(engine, image_file(64, 64), model="other").faces == ()
    with pytest.raises(UnknownModel, match="known: other, single_shot"):
        analyse(engine, image_file(64, 64), model="stub_8")


def test_request_with_another_detector_raises_unfit_detector(engine):
    assert analyse(engine, image_file(64, 64), detector="single_shot").faces
    with pytest.raises(UnfitDetector, match="has its own detector"):
        analyse(engine, image_file(64, 64), detector="haar_default")


def test_unknown_pipeline_error_lists_the_known_pipelines(engine):
    with pytest.raises(UnknownPipeline, match=f"known: {', '.join(sorted(PIPELINES))}"):
        engine.pipeline(AnalysisOptions(pipeline="three_stage"))


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 900), (900, 2), (19, 19), (999, 1000)])
def test_image_of_any_shape_is_analysed(engine, size_wh):
    found = analyse(engine, image_file(*size_wh))
    assert (found.width, found.height) == size_wh
    assert all(0 <= face.box.x1 < face.box.x2 <= size_wh[0] for face in found.faces)
    assert all(0 <= face.box.y1 < face.box.y2 <= size_wh[1] for face in found.faces)


def test_number_of_candidates_is_limited(models_dir):
    crowd = no_faces(640)
    crowd[:, 2:4], crowd[:, 4] = -1, 3
    write_single_shot(models_dir / "single_shot", crowd, side=640)
    engine = Engine(
        models_dir,
        model="stub_8",
        detector="haar_default",
        max_image_bytes=10**6,
        max_pixels=10**6,
        max_faces=200,
    )
    found = analyse(engine, image_file(640, 640), detection=DetectionOptions(min_face_px=1))
    assert len(found.faces) == 200
    assert found.dropped["max_faces"] == 800


def test_single_shot_can_be_the_default_pipeline(models_dir, engine):
    engine.default_pipeline = "single_shot"
    engine.warm_up()
    assert engine.problem is None
    assert engine.analyse(analysis_request(image_file(64, 64))).detector == "single_shot"


def test_missing_network_of_the_default_pipeline_is_reported_as_the_problem(models_dir):
    engine = Engine(
        models_dir,
        model="stub_8",
        detector="haar_default",
        pipeline="single_shot",
        max_image_bytes=100_000,
        max_pixels=1_000_000,
        max_faces=5,
    )
    engine.warm_up()
    assert "'single_shot' is not installed" in engine.problem
