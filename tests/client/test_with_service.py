"""The client with the real service."""

from datetime import UTC, datetime, timedelta

import emotions
import pytest
import requests
from emotions import EmotionClient
from PIL import ExifTags, Image

from tests.client.conftest import PHOTO
from tests.conftest import image_file

pytestmark = pytest.mark.weights


@pytest.fixture
def service_client(service):
    with EmotionClient(service) as client:
        yield client


def test_image_can_be_analysed_found_and_deleted(service_client):
    found = service_client.analyse(PHOTO, threshold=0.3)
    (face,) = found.faces
    assert face.dominant == "happiness"
    assert sum(face.emotions.values()) == pytest.approx(1)
    x1, y1, x2, y2 = face.box_xyxy
    assert 0 <= x1 < x2 <= found.width
    assert 0 <= y1 < y2 <= found.height

    again = service_client.image(found.id, threshold=0.9)
    assert (again.faces, again.threshold) == (found.faces, 0.9)
    since = datetime.now(UTC) - timedelta(hours=1)
    assert found.id in {
        image.id for image in service_client.images(file_name="astronaut.jpg", since=since)
    }
    assert found.id in {
        face.image_id for face in service_client.faces(emotion="happiness", page_size=1)
    }
    (span,) = service_client.summary("model", file_name="astronaut.jpg")
    assert span.emotions["happiness"].faces >= 1

    service_client.delete(found.id)
    with pytest.raises(emotions.NotFound):
        service_client.image(found.id)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pil_image_with_orientation_has_same_faces_as_its_file(
    service_client, tmp_path, orientation
):
    rotation = {1: None, 3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation]
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    with Image.open(PHOTO) as photo:
        stored = photo if rotation is None else photo.transpose(rotation)
        # PNG is lossless, so only the orientation can cause differences.
        stored.save(tmp_path / "portrait.png", exif=tags)
    by_path = service_client.analyse(tmp_path / "portrait.png", store=False)
    with Image.open(tmp_path / "portrait.png") as image:
        by_image = service_client.analyse(image, store=False)
    (face,) = by_image.faces
    assert face.dominant == "happiness"
    assert by_image.faces == by_path.faces
    assert (by_image.width, by_image.height) == (by_path.width, by_path.height)


def test_annotated_returns_image_and_id(service_client):
    drawn = service_client.annotated(PHOTO, media_type="image/jpeg", pipeline="single_shot")
    assert drawn.data.startswith(b"\xff\xd8\xff")
    assert drawn.media_type == "image/jpeg"
    assert service_client.image(drawn.image_id).detector == "single_shot"
    assert service_client.annotated(PHOTO, store=False).image_id is None
    assert service_client.delete_matching(file_name="astronaut.jpg") >= 1


def test_exceptions_have_messages_of_service(service_client):
    with pytest.raises(emotions.BadImage, match="not an image"):
        service_client.analyse(b"no image")
    with pytest.raises(emotions.InvalidRequest, match="unknown model"):
        service_client.analyse(image_file(), model="none")
    with pytest.raises(emotions.InvalidRequest) as raised:
        service_client.analyse(image_file(), threshold=2)
    assert raised.value.errors[0]["field"] == "threshold"
    with pytest.raises(emotions.NotFound):
        service_client.image_file(10**9)


def test_models_have_default_and_labels(service_client):
    models = {model.name: model for model in service_client.models()}
    assert models["custom_net_8_int8"].default
    assert "happiness" in models["custom_net_8_int8"].card["labels"]


def test_same_idempotency_key_stores_image_once(service_client):
    ids = {service_client.analyse(PHOTO, idempotency_key="once").id for _ in range(3)}
    assert len(ids) == 1
    with pytest.raises(emotions.Conflict):
        service_client.analyse(image_file(), idempotency_key="once")


def test_shown_equals_json_of_service(service_client):
    found = service_client.analyse(PHOTO)
    for threshold in (0.0, 0.004, 0.005, 0.01, 0.5, 0.99, 0.995, 1.0):
        document = requests.get(
            f"{service_client._transport.base_url}/v1/images/{found.id}",
            params={"threshold": threshold},
            timeout=10,
        ).json()
        for face, shown in zip(found.faces, document["faces"], strict=True):
            emotions_shown = {key: shown[key] for key in shown.keys() - {"face_id", "bbox"}}
            assert face.shown(threshold) == emotions_shown
    service_client.delete(found.id)


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
def test_file_name_is_stored_and_found_by_filter(service_client, name, stored):
    found = service_client.analyse(image_file(), file_name=name)
    assert found.file_name == stored
    for asked in {name, stored}:
        assert found.id in {image.id for image in service_client.images(file_name=asked)}
        assert sum(span.images for span in service_client.summary("day", file_name=asked)) >= 1
    assert service_client.delete_matching(file_name=name) >= 1
    assert list(service_client.images(file_name=stored)) == []
