"""`rotate=auto`: rotated images without an EXIF orientation."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.deadline import NEVER, Deadline
from app.errors import DeadlineExceeded
from app.settings import ROOT
from app.vision import classifier
from app.vision.detectors import DETECTORS
from app.vision.draw import annotate
from app.vision.engine import Engine
from app.vision.image import Raster
from app.vision.rotation import rotated, rotated_back
from app.vision.types import Box, Detection, DetectionOptions
from tests.conftest import StubDetector, StubSession, analysis_request, image_file, upload

AUTO = DetectionOptions(rotate="auto")


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@given(size=st.tuples(st.integers(3, 40), st.integers(3, 40)), data=st.data())
def test_boxes_are_mapped_back_to_the_original(rotation, size, data):
    width, height = size
    x, y = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    gray = np.zeros((height, width), np.uint8)
    gray[y : y + 2, x : x + 1] = 255
    image = rotated(Raster(gray, size), rotation)
    rows, columns = np.nonzero(image.gray)
    box = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert rotated_back(box, rotation, size).xyxy == (x, y, x + 1, y + 2)
    assert image.size_wh == (image.gray.shape[1], image.gray.shape[0])


def test_rotation_is_clockwise():
    gray = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
    assert rotated(Raster(gray, (2, 3)), 90).gray.tolist() == [[5, 3, 1], [6, 4, 2]]
    colors = np.dstack([gray] * 3)
    assert rotated(Raster(gray, (2, 3), colors=colors), 270).bgr[:, :, 0].tolist() == [
        [2, 4, 6], [1, 3, 5],
    ]  # fmt: skip


class RotationStub(StubDetector):
    """Returns the faces (x, score) of `by_rotation` for 0, 90, 180 and 270 degrees, and records the
    shape of each image."""

    by_rotation = ((), (), (), ())
    seen = []

    def detect(self, raster, min_face_px, deadline=NEVER):
        found = self.by_rotation[len(self.seen) % 4]
        self.seen.append(raster.gray.shape)
        return [Detection(Box(x, 0, x + 20, 20), score) for x, score in found]


@pytest.fixture
def engine(models_dir, monkeypatch):
    monkeypatch.setitem(DETECTORS, "stub", RotationStub)
    monkeypatch.setattr(classifier, "OnnxSession", StubSession)
    monkeypatch.setattr(RotationStub, "seen", [])
    return Engine(
        models_dir,
        model="stub_8",
        detector="stub",
        max_image_bytes=100_000,
        max_pixels=1_000_000,
        max_faces=3,
    )


def analyse(engine, data=None, detection=AUTO, deadline=NEVER, **options):
    data = data or image_file(100, 60)
    return engine.analyse(analysis_request(data, detection=detection, **options), deadline)


@pytest.mark.parametrize(
    ("by_rotation", "rotation", "count"),
    [
        (([(0, 0.4)], [(0, 0.9)], [(0, 0.9)], [(0, 0.9)]), 0, 1),  # upright, however little
        (((), [(0, 0.4)], [(0, 0.9)], [(0, 0.6)]), 180, 1),
        (((), [(0, 0.4), (25, 0.4)], [(0, 0.6)], ()), 90, 2),  # the sum counts
        (((), [(0, 0.5)], [(0, 0.5)], [(0, 0.5)]), 90, 1),  # the first of equal ones
        (((), (), [(0, 0.5)], [(0, 0.25), (25, 0.25)]), 180, 1),
        (((), [(0, None)], (), [(0, None), (25, None)]), 270, 2),  # without scores: their number
        (((), (), (), ()), 0, 0),
        (((), (), (), [(0, 0.1)]), 270, 1),
    ],
)
def test_rotation_with_the_largest_total_score_is_used(
    engine, monkeypatch, by_rotation, rotation, count
):
    monkeypatch.setattr(RotationStub, "by_rotation", by_rotation)
    found = analyse(engine)
    assert (found.rotation, len(found.faces)) == (rotation, count)
    assert (found.width, found.height) == (100, 60)


def test_dropped_faces_do_not_count_for_the_rotation(engine, monkeypatch):
    by_rotation = ([(0, 0.4)], [(0, 0.55)] * 2, [(0, 0.7)], ())
    monkeypatch.setattr(RotationStub, "by_rotation", by_rotation)
    found = analyse(engine, detection=DetectionOptions(min_confidence=0.6, rotate="auto"))
    assert (found.rotation, len(found.faces)) == (180, 1)
    assert found.dropped["min_confidence"] == 0
    RotationStub.seen.clear()
    found = analyse(engine, detection=DetectionOptions(min_confidence=0.8, rotate="auto"))
    assert (found.rotation, found.faces) == (0, ())
    assert found.dropped["min_confidence"] == 1


def test_max_faces_uses_the_order_in_the_original_image(engine, monkeypatch):
    places = [(x, 0.5) for x in (0, 20, 40)]
    monkeypatch.setattr(RotationStub, "by_rotation", ((), places, (), ()))
    found = analyse(engine, detection=DetectionOptions(max_faces=2, rotate="auto"))
    # After a rotation by 90 degrees, the left side is the bottom of the original.
    assert [face.box.xyxy for face in found.faces] == [(0, 0, 20, 20), (0, 20, 20, 40)]
    assert found.dropped["max_faces"] == 1


def test_image_is_rotated_only_without_a_face_and_with_rotate_auto(engine, monkeypatch):
    monkeypatch.setattr(RotationStub, "by_rotation", ([(0, 0.5)], (), (), ()))
    analyse(engine)
    assert len(RotationStub.seen) == 1
    monkeypatch.setattr(RotationStub, "by_rotation", ((), [(0, 0.5)], (), ()))
    RotationStub.seen.clear()
    assert analyse(engine, detection=DetectionOptions()).faces == ()
    assert len(RotationStub.seen) == 1
    RotationStub.seen.clear()
    analyse(engine)
    assert RotationStub.seen == [(60, 100), (100, 60), (60, 100), (100, 60)]


def test_deadline_is_checked_between_rotations(engine, monkeypatch):
    class Slow(RotationStub):
        def detect(self, raster, min_face_px, deadline=NEVER):
            self.seen.append(1)
            object.__setattr__(deadline, "until", 0.0)
            return []

    monkeypatch.setitem(DETECTORS, "stub", Slow)
    with pytest.raises(DeadlineExceeded):
        analyse(engine, deadline=Deadline.after(100))
    assert len(RotationStub.seen) == 1


@pytest.fixture(scope="module")
def real_engine():
    return Engine(
        ROOT / "models",
        model="custom_net_8",
        detector="haar",
        max_image_bytes=10**8,
        max_pixels=10**7,
        max_faces=20,
    )


ROTATIONS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


@pytest.mark.parametrize("rotation", sorted(ROTATIONS))
@pytest.mark.parametrize(
    "options",
    [{"detector": "haar"}, {"detector": "haar_default"}],
    ids=["haar", "haar_default"],
)
def test_face_in_a_rotated_image_is_found_and_classified(
    real_engine, astronaut_bgr, options, rotation
):
    """The face gets the same emotions as in the upright image. The box is in pixels of the image
    that was sent."""
    image = astronaut_bgr[20:220, 120:320]
    upright = analyse(real_engine, cv2.imencode(".png", image)[1].tobytes(), **options)
    rotated_image = cv2.rotate(image, ROTATIONS[rotation])
    found = analyse(real_engine, cv2.imencode(".png", rotated_image)[1].tobytes(), **options)
    assert (upright.rotation, found.rotation) == (0, rotation)
    assert (found.height, found.width) == rotated_image.shape[:2]
    expected, face = upright.faces[0], found.faces[0]
    assert face.dominant == expected.dominant == "happiness"
    assert face.emotions["happiness"] == pytest.approx(expected.emotions["happiness"], abs=0.02)
    assert rotated_centre(face.box, rotation, rotated_image.shape) == pytest.approx(
        centre(expected.box), abs=3
    )


def centre(box):
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2


def rotated_centre(box, rotation, shape):
    """The centre of `box` after a clockwise rotation of the image, which has this shape."""
    x, y = centre(box)
    height, width = shape[:2]
    return {90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}[rotation]


@pytest.mark.parametrize("options", [{"pipeline": "single_shot"}, {"detector": "single_shot"}])
def test_face_in_a_rotated_image_is_found_by_the_single_shot_network(
    real_engine, astronaut_bgr, options
):
    """At a low `min_confidence` the network may find the face without a rotation."""
    rotated_image = cv2.rotate(astronaut_bgr, cv2.ROTATE_90_COUNTERCLOCKWISE)
    detection = DetectionOptions(min_confidence=0.9, rotate="auto")
    found = analyse(
        real_engine,
        cv2.imencode(".png", rotated_image)[1].tobytes(),
        detection=detection,
        **options,
    )
    assert found.rotation == 90
    assert rotated_centre(found.faces[0].box, 90, rotated_image.shape) == pytest.approx(
        (222, 118), abs=20
    )


# ---------------------------------------------------------------- over HTTP


@pytest.fixture
def client(make_app, monkeypatch):
    monkeypatch.setattr(RotationStub, "by_rotation", ((), [(0, 0.5)], (), ()))
    monkeypatch.setattr(RotationStub, "seen", [])
    app = make_app()
    monkeypatch.setitem(DETECTORS, "stub", RotationStub)
    return app.test_client()


def post(client, **fields):
    fields = {"image": upload(image_file(100, 60)), "view": "full"} | fields
    headers = fields.pop("headers", {})
    return client.post("/v1/images", data=fields, headers=headers)


def test_rotation_is_returned_and_stored(client):
    answer = post(client, rotate="auto")
    assert answer.status_code == 201
    assert answer.json["rotation"] == 90
    # The upper left corner of the rotated image is the lower left corner of the original.
    assert answer.json["faces"][0]["box"] == {"x1": 0, "y1": 40, "x2": 20, "y2": 60}
    stored = client.get(answer.location + "?view=full").json
    assert (stored["rotation"], stored["faces"]) == (90, answer.json["faces"])
    (listed,) = client.get("/v1/images?view=full").json["images"]
    assert listed["rotation"] == 90
    assert "rotation" not in client.get(answer.location).json


def test_rotation_is_relative_to_the_image_after_its_exif_orientation(client):
    exif = Image.Exif()
    exif[274] = 6
    data = io.BytesIO()
    Image.new("RGB", (60, 100)).save(data, "JPEG", exif=exif)
    document = post(client, image=upload(data.getvalue(), "a.jpg"), rotate="auto").json
    assert (document["width"], document["height"], document["rotation"]) == (100, 60, 90)
    assert document["faces"][0]["box"] == {"x1": 0, "y1": 40, "x2": 20, "y2": 60}


@pytest.mark.parametrize("fields", [{}, {"rotate": "none"}])
def test_image_is_not_rotated_by_default(client, fields):
    document = post(client, **fields).json
    assert (document["rotation"], document["faces"]) == (0, [])


@pytest.mark.parametrize("value", ["", "AUTO", "90", "true"])
def test_invalid_value_of_rotate_returns_422_and_stores_nothing(client, value):
    answer = post(client, rotate=value)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["rotate"]
    assert client.get("/v1/images").json["images"] == []


def test_idempotency_key_with_another_value_of_rotate_returns_409(client):
    headers = {"Idempotency-Key": "k"}
    first = post(client, rotate="auto", headers=headers)
    again = post(client, rotate="auto", headers=headers)
    assert again.json["id"] == first.json["id"]
    assert again.json["rotation"] == 90
    assert post(client, headers=headers).status_code == 409
    assert post(client, rotate="none", headers=headers).status_code == 409


def test_annotated_image_has_the_orientation_of_the_upload(client):
    answer = client.post(
        "/v1/images",
        data={"image": upload(image_file(100, 60, gray=255)), "rotate": "auto"},
        headers={"Accept": "image/png"},
    )
    drawn = cv2.imdecode(np.frombuffer(answer.data, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (60, 100, 3)
    # The box is in the lower left corner. Nothing is drawn on the right.
    assert (drawn[40:60, 0:2] != 255).any()
    assert (drawn[:, 90:] == 255).all()


def test_analysis_of_a_rotated_image_can_be_drawn(engine, monkeypatch):
    monkeypatch.setattr(RotationStub, "by_rotation", ((), [(0, 0.5)], (), ()))
    found = analyse(engine)
    assert annotate(np.zeros((60, 100, 3), np.uint8), found).shape == (60, 100, 3)
