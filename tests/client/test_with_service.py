"""The client at the real service."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import emotions
import pytest
import requests
from emotions import EmotionClient
from PIL import ExifTags, Image

from tests.conftest import picture

pytestmark = pytest.mark.weights
PHOTO = Path(__file__).parent.parent.parent / "docs" / "astronaut.jpg"


@pytest.fixture
def real(service):
    with EmotionClient(service) as client:
        yield client


def test_a_photograph_is_analysed_found_again_and_erased(real):
    found = real.analyse(PHOTO, threshold=0.3)
    (face,) = found.faces
    assert face.dominant == "happiness"
    assert sum(face.emotions.values()) == pytest.approx(1)
    x1, y1, x2, y2 = face.box_xyxy
    assert 0 <= x1 < x2 <= found.width
    assert 0 <= y1 < y2 <= found.height

    again = real.image(found.id, threshold=0.9)
    assert (again.faces, again.threshold) == (found.faces, 0.9)
    since = datetime.now(UTC) - timedelta(hours=1)
    assert found.id in {image.id for image in real.images(file_name="astronaut.jpg", since=since)}
    assert found.id in {it.image_id for it in real.faces(emotion="happiness", page_size=1)}
    (span,) = real.summary("model", file_name="astronaut.jpg")
    assert span.emotions["happiness"].faces >= 1

    real.delete(found.id)
    with pytest.raises(emotions.NotFound):
        real.image(found.id)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_pil_image_with_an_orientation_has_the_faces_of_its_file(real, tmp_path, orientation):
    turned = {1: None, 3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation]
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    with Image.open(PHOTO) as photo:
        stored = photo if turned is None else photo.transpose(turned)
        # Without loss: what is compared is the orientation.
        stored.save(tmp_path / "portrait.png", exif=tags)
    by_path = real.analyse(tmp_path / "portrait.png", store=False)
    with Image.open(tmp_path / "portrait.png") as image:
        by_image = real.analyse(image, store=False)
    (face,) = by_image.faces
    assert face.dominant == "happiness"
    assert by_image.faces == by_path.faces
    assert (by_image.width, by_image.height) == (by_path.width, by_path.height)


def test_the_annotated_picture_and_its_id(real):
    drawn = real.annotated(PHOTO, media_type="image/jpeg", pipeline="single_shot")
    assert drawn.data.startswith(b"\xff\xd8\xff")
    assert drawn.media_type == "image/jpeg"
    assert real.image(drawn.image_id).detector == "single_shot"
    assert real.annotated(PHOTO, store=False).image_id is None
    assert real.delete_matching(file_name="astronaut.jpg") >= 1


def test_what_the_service_refuses_is_said_in_its_words(real):
    with pytest.raises(emotions.BadPicture, match="not an image"):
        real.analyse(b"no picture")
    with pytest.raises(emotions.InvalidRequest, match="unknown model"):
        real.analyse(picture(), model="none")
    with pytest.raises(emotions.InvalidRequest) as refused:
        real.analyse(picture(), threshold=2)
    assert refused.value.errors[0]["field"] == "threshold"
    with pytest.raises(emotions.NotFound):
        real.picture(10**9)


def test_its_models(real):
    models = {model.name: model for model in real.models()}
    assert models["custom_net_8"].default
    assert "happiness" in models["custom_net_8"].card["labels"]


def test_the_same_key_is_kept_once(real):
    ids = {real.analyse(PHOTO, idempotency_key="once").id for _ in range(3)}
    assert len(ids) == 1
    with pytest.raises(emotions.Conflict):
        real.analyse(picture(), idempotency_key="once")


def test_a_face_shows_what_the_service_shows(real):
    found = real.analyse(PHOTO)
    for threshold in (0.0, 0.004, 0.005, 0.01, 0.5, 0.99, 0.995, 1.0):
        document = requests.get(
            f"{real._transport.base_url}/v1/images/{found.id}",
            params={"threshold": threshold},
            timeout=10,
        ).json()
        for face, shown in zip(found.faces, document["faces"], strict=True):
            emotions_shown = {key: shown[key] for key in shown.keys() - {"face_id", "bbox"}}
            assert face.shown(threshold) == emotions_shown
    real.delete(found.id)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a%22b.jpg", "a%22b.jpg"), ('a"b.jpg', 'a"b.jpg'), ("x\ny.jpg", "x\ufffdy.jpg"),
        ("x%0Ay.jpg", "x%0Ay.jpg"), ("a\\b.jpg", "a\ufffdb.jpg"),
        ("\x7f\x85.jpg", "\ufffd\ufffd.jpg"),
        ("100%.jpg", "100%.jpg"), ("a;b='c'*.jpg", "a;b='c'*.jpg"), ("\u00e4 \U0001f600.jpg",) * 2,
        ("\ud800.jpg", "\ufffd.jpg"), ("\U0001f600" * 255, "\U0001f600" * 255),
    ],
)  # fmt: skip
def test_a_file_name_is_stored_as_it_is_and_found_again(real, name, stored):
    found = real.analyse(picture(), file_name=name)
    assert found.file_name == stored
    for asked in {name, stored}:
        assert found.id in {image.id for image in real.images(file_name=asked)}
        assert sum(span.images for span in real.summary("day", file_name=asked)) >= 1
    assert real.delete_matching(file_name=name) >= 1
    assert list(real.images(file_name=stored)) == []
