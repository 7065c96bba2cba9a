"""`detector=none`: the image is already the crop of a face."""

import io

import numpy as np
import pytest
from PIL import Image

from app.deadline import Deadline
from app.errors import DeadlineExceeded
from app.settings import ROOT
from app.vision.classifier import Classifier
from app.vision.detectors.whole_image import WholeImageDetector
from app.vision.image import Raster, crop_face
from app.vision.types import Box
from tests.conftest import image_file, upload
from tests.graphs import write_single_shot
from tests.vision.test_single_shot import no_faces


def post(client, data, **fields):
    fields = {"image": upload(data), "detector": "none", "view": "full"} | fields
    return client.post("/v1/images", data=fields)


def saved(image, kind="PNG", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def box_of(document):
    (face,) = document["faces"]
    return tuple(face["box"][name] for name in ("x1", "y1", "x2", "y2"))


@pytest.mark.parametrize(
    "size_wh", [(1, 1), (2, 3), (7, 5), (48, 48), (300, 400), (1, 900), (2000, 20)]
)
def test_whole_image_of_any_size_is_one_face(client, size_wh):
    answer = post(client, image_file(*size_wh, gray=250))
    assert answer.status_code == 201
    assert box_of(answer.json) == (0, 0, *size_wh)
    (face,) = answer.json["faces"]
    assert face["detection_score"] is None
    assert face["dominant"] == "happiness"  # the stub's answer for bright crops
    assert (answer.json["detector"], answer.json["rotation"]) == ("none", 0)
    assert client.get(answer.location + "?view=full").json["faces"] == answer.json["faces"]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_grey_and_transparent_crops_are_classified(client, mode):
    white = Image.new("L", (20, 30), 255)
    image = Image.new("I;16", (20, 30), 65535) if mode == "I;16" else white.convert(mode)
    answer = post(client, saved(image))
    assert answer.status_code == 201
    assert box_of(answer.json) == (0, 0, 20, 30)
    assert answer.json["faces"][0]["dominant"] == "happiness"


def test_box_of_a_crop_with_exif_has_the_size_of_the_upright_image(client):
    exif = Image.Exif()
    exif[274] = 6
    answer = post(client, saved(Image.new("RGB", (40, 60)), "JPEG", exif=exif))
    assert (answer.json["width"], answer.json["height"]) == (60, 40)
    assert box_of(answer.json) == (0, 0, 60, 40)


def test_detection_options_apply_to_the_whole_image(client):
    larger = post(client, image_file(40, 60), min_face_px="61").json
    assert larger["faces"] == []
    assert larger["dropped"] == {"min_face_px": 1, "min_confidence": 0, "max_faces": 0}
    assert len(post(client, image_file(40, 60), min_face_px="60").json["faces"]) == 1
    # Faces without a score pass `min_confidence`.
    assert len(post(client, image_file(40, 60), min_confidence="1").json["faces"]) == 1


def test_rotate_auto_does_not_change_the_result(client):
    document = post(client, image_file(40, 60), min_face_px="61", rotate="auto").json
    assert (document["faces"], document["rotation"]) == ([], 0)
    assert document["dropped"]["min_face_px"] == 1


def test_detector_none_is_listed_and_not_the_default(client):
    listed = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert listed["none"]["ready"]
    assert not listed["none"]["default"]
    assert "crop of one face" in listed["none"]["description"]
    assert listed["none"]["min_face_share"] == 1


def test_single_shot_pipeline_rejects_detector_none(client, models_dir):
    write_single_shot(models_dir / "single_shot", no_faces(64), side=64)
    answer = post(client, image_file(64, 64), pipeline="single_shot")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["detector"]
    assert client.get("/v1/images").json["images"] == []


def test_detector_none_can_be_the_default(make_app):
    client = make_app(detector="none").test_client()
    answer = client.post("/v1/images", data={"image": upload(image_file(30, 30))})
    assert answer.json["detector"] == "none"


def test_detect_after_the_deadline_raises():
    image = Raster(np.zeros((5, 5), np.uint8), (5, 5))
    with pytest.raises(DeadlineExceeded):
        WholeImageDetector().detect(image, 1, Deadline.after(-1))


@pytest.mark.parametrize("shape", [(1, 5_000_000), (5_000_000, 1), (3, 40_000)])
def test_crop_of_a_long_strip_needs_little_memory(shape):
    """A padded square with sides of 5,000,000 pixels would have 2.5e13 pixels."""
    strip = np.full(shape, 77, np.uint8)
    crop = crop_face(strip, Box(0, 0, shape[1], shape[0]), size=48, scale=1.001)
    assert (crop == 77).all()
    assert crop.shape == (48, 48)


@pytest.mark.parametrize("shape", [(1, 17), (17, 1), (4, 70), (300, 10)])
@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
def test_crop_of_a_strip_is_close_to_the_crop_of_a_padded_square(shape, scale, monkeypatch):
    strip = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    strip = np.sort(strip, axis=int(shape[1] > shape[0]))  # smooth, so that a pixel matters little
    box = Box(0, 0, shape[1], shape[0])
    small = crop_face(strip, box, size=48, scale=scale).astype(int)
    monkeypatch.setattr("app.vision.image.MAX_PADDED", 10**9)
    padded = crop_face(strip, box, size=48, scale=scale).astype(int)
    assert np.abs(small - padded).mean() < 12


def test_crop_at_a_corner_repeats_the_edge():
    gray = np.random.default_rng(1).integers(0, 256, (100, 100), np.uint8)
    crop = crop_face(gray, Box(80, 80, 120, 120), size=20, scale=1.0)
    assert (crop[:10, :10] == gray[80:100:2, 80:100:2]).mean() < 1  # area interpolation
    assert (crop[11:, 11:] == crop[11, 11]).all()  # the last pixel, repeated


def test_tight_crop_of_a_real_face_is_classified(astronaut_bgr):
    """A smiling face. The crop is so tight that `haar` finds no face."""
    classifier = Classifier.load(ROOT / "models" / "custom_net_8")
    crop = np.ascontiguousarray(astronaut_bgr[65:175, 180:265, 1])
    image = Raster(crop, crop.shape[::-1])
    (detection,) = WholeImageDetector().detect(image, 1)
    scale = WholeImageDetector.box_scale
    (emotions,) = classifier.classify(image.gray, [detection.box], box_scale=scale)
    assert max(emotions, key=emotions.get) == "happiness"
