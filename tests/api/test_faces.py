"""/v1/faces and /v1/summary."""

import csv
import io

import pytest

from tests.conftest import image_file, upload

HAPPY = image_file(50, gray=250)
TWO_FACES = image_file(100, gray=250)
DARK = image_file(50, gray=0)


def post(client, data=HAPPY, name="photo.png", **fields):
    return client.post("/v1/images", data={"image": upload(data, name), **fields}).json


def test_faces_lists_faces_of_all_images(client):
    first, second = post(client, TWO_FACES, "two.png"), post(client, DARK)
    response = client.get("/v1/faces").json
    assert response["next_cursor"] is None
    assert [face["image_id"] for face in response["faces"]] == [
        second["id"],
        first["id"],
        first["id"],
    ]
    listed = response["faces"][1]
    assert listed["file_name"] == "two.png"
    assert listed["created_at"] == first["created_at"]
    assert listed["face"] == first["faces"][0]


def test_faces_accepts_filters_threshold_view_and_pages(client):
    post(client, TWO_FACES)
    post(client, DARK)
    happy = client.get("/v1/faces?emotion=happiness&page_size=1").json
    assert len(happy["faces"]) == 1
    rest = client.get(f"/v1/faces?emotion=happiness&cursor={happy['next_cursor']}").json
    assert [face["face"]["face_id"] for face in rest["faces"]] == [2]
    full = client.get("/v1/faces?view=full").json["faces"][0]["face"]
    assert full["dominant"] == "neutral"
    assert len(client.get("/v1/faces?threshold=0").json["faces"][0]["face"]) == 10


def test_faces_returns_csv(client):
    image = client.post(
        "/v1/images",
        query_string={"file_name": '=cmd|"x"!A1'},
        data=TWO_FACES,
        content_type="image/png",
    ).json
    post(client, DARK, model="stub_5")
    response = client.get("/v1/faces", headers={"Accept": "text/csv"})
    assert response.content_type == "text/csv; charset=utf-8"
    dark, one, two = csv.DictReader(io.StringIO(response.get_data(as_text=True)))
    assert one["image_id"] == str(image["id"])
    assert one["file_name"] == '\'=cmd|"x"!A1'
    assert [float(one[key]) for key in ("x1", "y1", "x2", "y2")] == [5, 5, 45, 45]
    assert (one["face_id"], two["face_id"]) == ("1", "2")
    assert one["created_at"] == image["created_at"]
    assert one["dominant"] == "happiness"
    assert float(one["happiness"]) > 0.9
    assert dark["contempt"] == ""  # not a label of stub_5
    assert float(dark["anger"]) < 0.5


def test_csv_without_faces_is_header_only(client):
    lines = client.get("/v1/faces", headers={"Accept": "text/csv"}).get_data(as_text=True)
    assert lines.startswith("image_id,file_name,")
    assert len(lines.splitlines()) == 1


@pytest.mark.parametrize("by", ["hour", "day", "model"])
def test_summary_counts_images_and_faces(client, by):
    post(client, TWO_FACES)
    post(client, DARK)
    response = client.get(f"/v1/summary?by={by}").json
    assert response["by"] == by
    (span,) = response["spans"]
    assert (span["images"], span["faces"]) == (2, 3)
    assert span["emotions"]["happiness"]["faces"] == 2
    assert 0.5 < span["emotions"]["happiness"]["mean_probability"] < 0.7
    assert span["emotions"]["contempt"]["faces"] == 0


def test_summary_without_images_has_no_spans(client):
    assert client.get("/v1/summary").json == {"by": "day", "spans": []}
