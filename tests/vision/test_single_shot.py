"""The one-pass network as it is served, on networks whose answers are known."""

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
from tests.conftest import LABELS, analysis_request, picture
from tests.graphs import single_shot_document, single_shot_graph, write_single_shot

SIDE = 64


def nobody(side=SIDE, classes=8):
    made = np.zeros((len(grid(side)[0]), 5 + classes), np.float32)
    made[:, 4] = -20
    return made


def somebody(side=SIDE):
    """A face of 16 pixels around (24, 8), which is happy, with odds of e² for being one."""
    made = nobody(side)
    made[65, 4:7] = 2, 0, 3
    return made


class Answering:
    """Stands for ONNX Runtime: the same for every square, and what it was given."""

    def __init__(self, answers):
        self.answers, self.squares = answers, []

    def run(self, inputs, deadline):
        (squares,) = inputs.values()
        self.squares.append(squares)
        return {"output": np.stack([self.answers] * len(squares))}


def net(answers, **changes):
    document = single_shot_document("net") | changes
    return SingleShotNet(SingleShotCard.parse(document), Answering(answers))


def raster(width, height, *, scale=1.0, original=None):
    colors = np.full((height, width, 3), 90, np.uint8)
    return Raster(colors[:, :, 0], original or (width, height), scale, colors)


def test_a_letterbox_shrinks_and_never_enlarges():
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
def test_boxes_come_back_in_the_pictures_pixels(size_wh):
    width, height = size_wh
    ((detection, _),) = net(somebody()).find(raster(width, height), 1.0)
    factor = max(1.0, max(size_wh) / SIDE)
    expected = np.clip(np.array([16, 0, 32, 16]) * factor, 0, (width, height, width, height))
    assert detection.box.xyxy == pytest.approx(expected.tolist(), abs=0.01)


def test_a_picture_that_was_read_smaller_gives_the_originals_boxes():
    small = raster(160, 120, scale=0.25, original=(640, 480))
    ((detection, _),) = net(somebody()).find(small, 1.0)
    assert detection.box.xyxy == pytest.approx((160, 0, 320, 160))


def test_score_and_expression_are_calibrated_by_the_card():
    changed = net(somebody(), score={"scale": 2.0, "bias": -1.0}, temperature=1.5)
    ((detection, emotions),) = changed.find(raster(64, 64), 1.0)
    assert detection.score == pytest.approx(1 / (1 + np.exp(-(2 * 2 - 1))))
    assert list(emotions) == list(LABELS)
    assert sum(emotions.values()) == pytest.approx(1)
    assert emotions["happiness"] == pytest.approx(np.exp(3 / 1.5) / (np.exp(3 / 1.5) + 7))


@pytest.mark.parametrize(("bias", "count"), [(-2.84, 1), (-2.85, 0)])
def test_what_is_less_sure_than_is_worth_its_false_boxes_is_none(bias, count):
    """Somebody's logit is 2: of .3 it is -.847."""
    found = net(somebody(), score={"scale": 1.0, "bias": bias}).find(raster(64, 64), 1.0)
    assert len(found) == count


def test_what_lies_wholly_in_the_black_beside_the_picture_is_no_face():
    assert net(somebody()).find(raster(12, 64), 1.0) == []


@pytest.mark.parametrize(
    ("longer_side", "min_face_px", "size"),
    [
        (320, 20, 320),
        (320, 5, 640),  # never large enough: as large as can be
        (1000, 50, 320),  # 16 pixels at 320
        (1000, 30, 640),  # 9.6 and 19.2
        (200, 14, 320),  # a small picture is not enlarged
        (8000, 1, 640),
    ],
)
def test_small_faces_are_looked_for_in_a_larger_square(longer_side, min_face_px, size):
    chosen = net(nobody(), input={"sizes": [640, 320]}).size_for(longer_side, min_face_px)
    assert chosen == size


def test_a_square_of_the_chosen_size_is_what_the_network_gets():
    made = net(nobody(128), input={"sizes": [128]})
    made.find(raster(500, 20), 30.0)
    assert made._session.squares[0].shape == (1, 128, 128, 3)
    assert made._session.squares[0].dtype == np.uint8


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
        ({"labels": ["a", "a"]}, "differ"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(change, complaint):
    with pytest.raises(InvalidCard, match=complaint):
        SingleShotCard.parse(single_shot_document("net") | change)


def broken(**changes):
    """Bytes of a graph and what is wrong with them."""
    made = somebody()
    for (row, column), value in changes.get("at", {}).items():
        made[row, column] = value
    return single_shot_graph(made[: changes.get("cells")])


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
def test_weights_that_cannot_serve_are_refused_when_they_are_installed(
    tmp_path, weights, complaint
):
    document = single_shot_document("mine")
    del document["weights"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    (tmp_path / "mine.onnx").write_bytes(weights)
    with pytest.raises(ModelUnavailable, match=complaint):
        install(tmp_path / "mine.onnx", tmp_path / "card.json", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_installed_network_finds_and_names(tmp_path):
    document = single_shot_document("mine")
    del document["weights"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    (tmp_path / "mine.onnx").write_bytes(single_shot_graph(somebody()))
    install(tmp_path / "mine.onnx", tmp_path / "card.json", tmp_path / "models")
    ((_, emotions),) = SingleShotNet.load(tmp_path / "models" / "mine").find(raster(64, 64), 1.0)
    assert max(emotions, key=emotions.get) == "happiness"


def test_changed_weights_are_not_served(engine, models_dir):
    path = models_dir / "single_shot" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(InvalidCard, match="checksum"):
        engine.pipeline(AnalysisOptions(pipeline="single_shot"))


@pytest.fixture
def engine(models_dir):
    write_single_shot(models_dir / "single_shot", somebody(), side=SIDE)
    write_single_shot(models_dir / "other", nobody(), side=SIDE)
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


def test_the_same_analysis_comes_out(engine):
    found = analyse(engine, picture(64, 64))
    (face,) = found.faces
    assert face.dominant == "happiness"
    assert face.box.xyxy == (16, 0, 32, 16)
    assert face.detection_score == pytest.approx(1 / (1 + np.exp(-2)))
    assert (found.model.name, found.detector) == ("single_shot", "single_shot")
    assert list(found.timings_ms) == ["decode", "detect"]


@pytest.mark.parametrize(
    ("wish", "dropped"),
    [
        ({"min_face_px": 17}, "min_face_px"),
        ({"min_confidence": 0.9}, "min_confidence"),
    ],
)
def test_wishes_hold_for_it_too(engine, wish, dropped):
    found = analyse(engine, picture(64, 64), detection=DetectionOptions(**wish))
    assert found.faces == ()
    assert found.dropped[dropped] == 1


def test_another_network_can_be_named(engine):
    assert analyse(engine, picture(64, 64), model="other").faces == ()
    with pytest.raises(UnknownModel, match="known: other, single_shot"):
        analyse(engine, picture(64, 64), model="stub_8")


def test_another_detector_beside_it_makes_no_sense(engine):
    assert analyse(engine, picture(64, 64), detector="single_shot").faces
    with pytest.raises(UnfitDetector, match="has its own detector"):
        analyse(engine, picture(64, 64), detector="haar_default")


def test_an_unknown_pipeline_is_answered_with_those_that_are_known(engine):
    with pytest.raises(UnknownPipeline, match=f"known: {', '.join(sorted(PIPELINES))}"):
        engine.pipeline(AnalysisOptions(pipeline="three_stage"))


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 900), (900, 2), (19, 19), (999, 1000)])
def test_any_shape_of_picture_gets_an_answer(engine, size_wh):
    found = analyse(engine, picture(*size_wh))
    assert (found.width, found.height) == size_wh
    assert all(0 <= face.box.x1 < face.box.x2 <= size_wh[0] for face in found.faces)
    assert all(0 <= face.box.y1 < face.box.y2 <= size_wh[1] for face in found.faces)


def test_a_thousand_candidates_are_bounded(models_dir):
    crowd = nobody(640)
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
    found = analyse(engine, picture(640, 640), detection=DetectionOptions(min_face_px=1))
    assert len(found.faces) == 200
    assert found.dropped["max_faces"] == 800


def test_it_can_be_what_requests_get_that_name_nothing(models_dir, engine):
    engine.default_pipeline = "single_shot"
    engine.warm()
    assert engine.problem is None
    assert engine.analyse(analysis_request(picture(64, 64))).detector == "single_shot"


def test_a_missing_network_is_the_operators_mistake(models_dir):
    engine = Engine(
        models_dir,
        model="stub_8",
        detector="haar_default",
        pipeline="single_shot",
        max_image_bytes=100_000,
        max_pixels=1_000_000,
        max_faces=5,
    )
    engine.warm()
    assert "'single_shot' is not installed" in engine.problem
