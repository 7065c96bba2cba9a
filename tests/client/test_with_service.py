"""The client at the real service."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import emotions
import pytest
from emotions import EmotionClient

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


def test_the_annotated_picture_and_its_id(real):
    drawn = real.annotated(PHOTO, media_type="image/jpeg", pipeline="single_shot")
    assert drawn.data.startswith(b"\xff\xd8\xff")
    assert drawn.media_type == "image/jpeg"
    assert real.image(drawn.image_id).detector == "single_shot"
    assert real.annotated(PHOTO, store=False).image_id is None
    assert real.delete_matching(file_name="astronaut.jpg") >= 1


def test_what_the_service_refuses_is_said_in_its_words(real):
    with pytest.raises(emotions.BadPicture, match="not a picture"):
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
