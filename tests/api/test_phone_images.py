"""HEIC and AVIF over HTTP, and the reasons for the rejection of other files."""

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tests.conftest import image_file, upload

PIXELS = Image.open(io.BytesIO(image_file(64, 48, gray=250))).convert("RGB")


def encoded(kind):
    data = io.BytesIO()
    if kind == "avif":
        PIXELS.save(data, "AVIF")
    else:
        pillow_heif.from_pillow(PIXELS).save(data)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_heic_and_avif_are_analysed_and_drawn(client, kind):
    data = encoded(kind)
    response = client.post("/v1/images?view=full", data={"image": upload(data, f"a.{kind}")})
    assert response.status_code == 201
    assert (response.json["width"], response.json["height"]) == (64, 48)
    raw = client.post("/v1/images", data=data, content_type=f"image/{kind}")
    assert raw.status_code == 201
    drawn = client.post(
        "/v1/images?store=false", data=data, content_type=f"image/{kind}",
        headers={"Accept": "image/png"},
    )  # fmt: skip
    assert drawn.status_code == 200, drawn.json
    assert np.asarray(Image.open(io.BytesIO(drawn.data))).shape == (48, 64, 3)


def test_stored_file_has_its_own_media_type(make_app, tmp_path):
    client = make_app(keep_pictures=True, pictures_dir=tmp_path).test_client()
    for kind, media_type in (("heic", "image/heif"), ("avif", "image/avif")):
        data = encoded(kind)
        stored = client.post("/v1/images", data=data, content_type="image/heic").json
        file = client.get(f"/v1/images/{stored['id']}/picture")
        assert (file.content_type, file.data) == (media_type, data)


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", 415, "video or another ISO media file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 415, "no still image"),
        (encoded("heic")[:-40], 422, "damaged or truncated"),
        (encoded("avif")[:-40], 422, "data of the image is incomplete"),
        (image_file(64, 64, kind="JPEG")[:-60], 422, "image data is incomplete"),
        (b"%PDF-1.7", 415, "HEIF, AVIF"),
    ],
)
def test_rejection_gives_reason(client, data, status, reason):
    response = client.post("/v1/images", data=data, content_type="image/heic")
    assert response.status_code == status
    assert reason in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []
