"""Error responses: status, fields and form of each problem. A failed request stores nothing."""

import base64
import copy
import json
import re
import struct
import zlib

import pytest
from sqlalchemy import func, select

from app import errors
from app.api.problems import STATUS
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.vision.engine import Engine
from tests.conftest import image_file, multipart_body, upload

GOOD = image_file(50, gray=250)
JPEG = image_file(64, 64, kind="JPEG")


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def form(data=GOOD, name="a.png", **fields):
    return {"data": {"image": upload(data, name), **fields}}


def b64(data=GOOD):
    return base64.b64encode(data).decode()


def json_body(text):
    return {"data": text, "content_type": "application/json"}


def image_body(data):
    return {"data": data, "content_type": "image/png"}


NO_FILE = {"data": {"threshold": "0.5"}, "content_type": "multipart/form-data"}
TEXT_FIELD = {"data": {"image": "photo.jpg"}, "content_type": "multipart/form-data"}
URL_ENCODED = {"data": "a=b", "content_type": "application/x-www-form-urlencoded"}
NAN = json_body(f'{{"image": "{b64()}", "threshold": NaN}}')
ACCEPT_PNG, ACCEPT_HTML, ACCEPT_XML = (
    {"headers": {"Accept": kind}} for kind in ("image/png", "text/html", "text/xml")
)


def form_with_images(count):
    return {"data": {"image": [upload(GOOD) for _ in range(count)]}}


# case: (status, field in the errors, arguments of POST /v1/images)
BAD_IMAGES = {
    "no body": (400, None, {}),
    "no image": (400, None, NO_FILE),
    "misspelt file part": (400, None, {"data": {"image": upload(GOOD), "imgae": upload(GOOD)}}),
    "image as text": (400, None, TEXT_FIELD),
    "empty file": (400, None, form(b"")),
    "empty raw body": (400, None, image_body(b"")),
    "broken JSON": (400, None, json_body("{")),
    "JSON list": (400, None, {"json": []}),
    "deep JSON": (400, None, json_body("[" * 200_000)),
    "a list of lists": (400, None, json_body('{"image": [' + "[]," * 20_000 + "[]]}")),
    "many objects": (400, None, json_body('{"a": [' + "{}," * 20_000 + "{}]}")),
    "much text": (400, None, json_body('{"file_name": "' + "x" * 3_000_000 + '"}')),
    "wide characters": (400, None, {"json": {"image": "\N{GRINNING FACE}" * 1000}}),
    "JSON without image": (400, None, {"json": {"threshold": 0.5}}),
    "image a number": (400, None, {"json": {"image": 5}}),
    "broken base64": (400, None, {"json": {"image": "§§§"}}),
    "truncated base64": (400, None, {"json": {"image": b64()[:-3]}}),
    "URI without base64": (400, None, {"json": {"image": "data:image/png,abc"}}),
    "URL-encoded form": (415, None, URL_ENCODED),
    "text renamed": (415, "image", form(b"I am text", "photo.jpg")),
    "a PDF": (415, "image", image_body(b"%PDF-1.7 ...")),
    "truncated JPEG": (422, "image", form(JPEG[: len(JPEG) // 2])),
    "truncated PNG": (422, "image", form(GOOD[: len(GOOD) // 2])),
    "huge header": (413, "image", form(png_header(30_000, 30_000))),
    "17 images": (413, "image", form_with_images(17)),
    "two annotated": (406, None, form_with_images(2) | ACCEPT_PNG),
    "accept HTML": (406, None, form() | ACCEPT_HTML),
    "threshold NaN": (422, "threshold", form(threshold="NaN")),
    "threshold inf": (422, "threshold", form(threshold="inf")),
    "threshold 1.5": (422, "threshold", form(threshold="1.5")),
    "threshold -0.1": (422, "threshold", form(threshold="-0.1")),
    "threshold empty": (422, "threshold", form(threshold="")),
    "threshold null": (422, "threshold", {"json": {"image": b64(), "threshold": None}}),
    "threshold abc": (422, "threshold", form(threshold="abc")),
    "threshold a list": (422, "threshold", {"json": {"image": b64(), "threshold": [0.5]}}),
    "threshold NaN in JSON": (422, "threshold", NAN),
    "unknown model": (422, "model", form(model="nope")),
    "model as path": (422, "model", form(model="../stub_8")),
    "unknown detector": (422, "detector", form(detector="nope")),
    "unknown view": (422, "view", form(view="half")),
    "unknown option": (422, "thresold", form(thresold="0.5")),
    "min_face_px 0": (422, "min_face_px", form(min_face_px="0")),
    "min_face_px NaN": (422, "min_face_px", form(min_face_px="nan")),
    "min_face_px inf": (422, "min_face_px", form(min_face_px="inf")),
    "min_confidence NaN": (422, "min_confidence", form(min_confidence="NaN")),
    "min_confidence 1.1": (422, "min_confidence", form(min_confidence="1.1")),
    "min_confidence NaN in JSON": (
        422,
        "min_confidence",
        json_body(f'{{"image": "{b64()}", "min_confidence": NaN}}'),
    ),
    "max_faces 0": (422, "max_faces", form(max_faces="0")),
    "max_faces 2.5": (422, "max_faces", form(max_faces="2.5")),
    "store maybe": (422, "store", form(store="maybe")),
}

LEGACY = {"image": b64()}
# A cursor with a face number that is too large.
LARGE_CURSOR = base64.urlsafe_b64encode(f"1.{2**63 - 1}.{2**63 - 1}".encode()).decode().rstrip("=")
YEAR_ONE = "0001-01-01T00:00:00%2B14:00"  # in UTC, this is in the year 0

# case: (status, field in the errors, method, path, arguments)
BAD_REQUESTS = {
    "unknown id": (404, None, "GET", "/v1/images/999", {}),
    "id not a number": (404, None, "GET", "/v1/images/abc", {}),
    "id too large": (404, None, "GET", f"/v1/images/{2**63}", {}),
    "largest id": (404, None, "DELETE", f"/v1/images/{2**63 - 1}", {}),
    "erase without filter": (422, "filters", "DELETE", "/v1/images", {}),
    "erase by a typo": (422, "untill", "DELETE", "/v1/images?untill=2026-01-01T00:00:00Z", {}),
    "unknown route": (404, None, "GET", "/v1/nothing", {}),
    "wrong method": (405, None, "PUT", "/v1/images", {}),
    "cursor": (422, "cursor", "GET", "/v1/images?cursor=%F0%9F%98%80", {}),
    "cursor of faces": (422, "cursor", "GET", "/v1/faces?cursor=abc", {}),
    "cursor too long": (422, "cursor", "GET", f"/v1/images?cursor={'a' * 999}", {}),
    "page size 0": (422, "page_size", "GET", "/v1/images?page_size=0", {}),
    "page size 201": (422, "page_size", "GET", "/v1/faces?page_size=201", {}),
    "since": (422, "since", "GET", "/v1/images?since=yesterday", {}),
    "since without zone": (422, "since", "GET", "/v1/images?since=2026-01-01T00:00:00", {}),
    "min_faces": (422, "min_faces", "GET", "/v1/images?min_faces=-1", {}),
    "min_faces huge": (422, "min_faces", "GET", "/v1/images?min_faces=99999999999", {}),
    "min_probability": (422, "min_probability", "GET", "/v1/faces?min_probability=nan", {}),
    "threshold of GET": (422, "threshold", "GET", "/v1/images?threshold=2", {}),
    "emotion empty": (422, "emotion", "GET", "/v1/images?emotion=", {}),
    "unknown filter": (422, "emotoin", "GET", "/v1/images?emotoin=anger", {}),
    "by week": (422, "by", "GET", "/v1/summary?by=week", {}),
    "faces as XML": (406, None, "GET", "/v1/faces", ACCEPT_XML),
    "large cursor": (422, "cursor", "GET", f"/v1/faces?cursor={LARGE_CURSOR}", {}),
    "legacy without image": (400, None, "POST", "/index", {"json": {"threshold": 0.5}}),
    "legacy null": (400, None, "POST", "/index", json_body("null")),
    "name with NUL": (422, "file_name", "GET", "/v1/images?file_name=a%00b", {}),
    "name with a line break": (422, "file_name", "GET", "/v1/images?file_name=a%0A", {}),
    "emotion with NUL": (422, "emotion", "GET", "/v1/faces?emotion=%00", {}),
    "since out of range": (422, "since", "GET", f"/v1/images?since={YEAR_ONE}", {}),
    "legacy broken JSON": (400, None, "POST", "/index", json_body("{")),
    "legacy JSON list": (400, None, "POST", "/index", {"json": [1]}),
    "legacy base64": (400, None, "POST", "/index", {"json": {"image": "§"}}),
    "legacy threshold": (422, "threshold", "POST", "/index", {"json": LEGACY | {"threshold": 7}}),
    "legacy text": (415, "image", "POST", "/index", {"json": {"image": b64(b"text")}}),
}
CASES = {
    case: (status, field, "POST", "/v1/images", arguments)
    for case, (status, field, arguments) in BAD_IMAGES.items()
} | BAD_REQUESTS


@pytest.mark.parametrize("case", CASES)
def test_bad_input_returns_problem_and_stores_nothing(app, client, case):
    status, field, method, path, arguments = CASES[case]
    response = client.open(path, method=method, **copy.deepcopy(arguments))
    assert_problem(response, status)
    if field:
        assert field in [error["field"] for error in response.json["errors"]]
    with app.app_context():
        for table in (ImageRow, FaceRow, EmotionRow):
            assert db.session.scalar(select(func.count()).select_from(table)) == 0


def assert_problem(response, status):
    """Check that a response is a problem document (RFC 9457) with this status."""
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem = response.json
    assert list(problem)[:5] == ["type", "title", "status", "detail", "request_id"]
    assert set(problem) <= {"type", "title", "status", "detail", "request_id", "errors"}
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert problem["type"] == "about:blank" or re.fullmatch(
        r"urn:emotion:problem:[a-z-]+", problem["type"]
    )
    for error in problem.get("errors", []):
        assert error.keys() == {"field", "message"}
    text = response.get_data(as_text=True)
    assert not re.search(r"Traceback|\.py|/tmp|/work|/home|sqlite|SELECT|INSERT", text)


def test_error_for_unknown_name_lists_known_names(client):
    assert "stub_5, stub_8" in client.post("/v1/images", **form(model="x")).json["detail"]
    assert "haar" in client.post("/v1/images", **form(detector="x")).json["detail"]


def test_problem_document_has_limited_size(client):
    unknown = {f"{'x' * 1000}{number}": 1 for number in range(1000)}
    response = client.post("/v1/images", json={"image": b64(), **unknown})
    assert_problem(response, 422)
    assert len(response.data) < 10_000
    assert len(response.json["errors"]) == 21
    assert response.json["errors"][-1]["message"] == "and 980 more"
    parts = {"image": upload(GOOD), "\N{GRINNING FACE}" * 50_000: upload(GOOD)}
    response = client.post("/v1/images", data=parts)
    assert_problem(response, 400)
    assert len(response.data) < 20_000


def test_405_lists_allowed_methods(client):
    assert "POST" in client.put("/v1/images").headers["Allow"]


@pytest.mark.parametrize(
    "send",
    [
        lambda c: c.post("/v1/images", data=bytes(2_400_000), content_type="image/png"),
        lambda c: c.post("/v1/images", json={"image": "A" * 2_400_000}),
        lambda c: c.post("/index", json={"image": "A" * 2_400_000}),
        lambda c: c.post("/v1/images", **multipart_body(GOOD + bytes(1_100_000))),
        lambda c: c.post("/v1/images", **multipart_body(bytes(8_000_000))),
    ],
    ids=["raw", "json", "legacy", "one file", "whole form"],
)
def test_too_large_body_returns_413(make_app, send):
    client = make_app(max_image_bytes=1_000_000, max_images=4).test_client()
    assert_problem(send(client), 413)


def test_file_at_size_limit_is_accepted(make_app):
    client = make_app(max_image_bytes=len(GOOD)).test_client()
    assert client.post("/v1/images", **form()).status_code == 201
    assert client.post("/v1/images", json={"image": b64()}).status_code == 201
    client = make_app(max_image_bytes=len(GOOD) - 1).test_client()
    assert client.post("/v1/images", **form()).status_code == 413


def test_batch_reports_too_large_image_with_its_index(make_app):
    client = make_app(max_pixels=3000).test_client()
    response = client.post(
        "/v1/images", data={"image": [upload(image_file(99, 99), "big.png"), upload(GOOD)]}
    )
    assert response.status_code == 201
    assert [(e["index"], e["status"]) for e in response.json["errors"]] == [(0, 413)]


@pytest.mark.parametrize("header", ["abc-123", "a" * 128])
def test_valid_request_id_of_client_is_used(client, header):
    response = client.get("/v1/images/5", headers={"X-Request-ID": header})
    assert response.json["request_id"] == header


@pytest.mark.parametrize("header", ["", "a b", "x" * 129, "<script>", "é", "emo_0123456789ab_x"])
def test_invalid_request_id_is_replaced(client, header):
    response = client.get("/v1/images/5", headers={"X-Request-ID": header})
    assert response.json["request_id"] != header
    assert re.fullmatch("[0-9a-f]{32}", response.json["request_id"])


def test_missing_database_returns_503_with_retry_after(make_app, tmp_path):
    client = make_app(database_url=f"sqlite:///{tmp_path / 'new.db'}").test_client()
    for response in (client.post("/v1/images", **form()), client.get("/v1/images")):
        assert_problem(response, 503)
        assert response.headers["Retry-After"] == "5"


def test_missing_default_model_returns_503(make_app, tmp_path):
    (tmp_path / "none").mkdir()
    client = make_app(models_dir=tmp_path / "none").test_client()
    response = client.post("/v1/images", **form())
    assert_problem(response, 503)
    assert "not installed" in response.json["detail"]
    assert client.post("/v1/images", **form(model="other")).status_code == 422


def test_unknown_model_fails_whole_batch(client):
    response = client.post("/v1/images", **form_with_images(2), query_string={"model": "nope"})
    assert_problem(response, 422)
    assert [error["field"] for error in response.json["errors"]] == ["model"]


def test_batch_with_failure_lists_stored_images(client, monkeypatch, caplog):
    real, calls = Engine.analyse, []

    def fail_second(self, *args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return real(self, *args, **options)

    monkeypatch.setattr(Engine, "analyse", fail_second)
    response = client.post("/v1/images", **form_with_images(3))
    assert response.status_code == 201
    assert [(error["index"], error["status"]) for error in response.json["errors"]] == [(1, 500)]
    stored = client.get("/v1/images").json["images"]
    assert stored == response.json["images"][::-1]
    assert "MemoryError" in caplog.text


def test_image_that_cannot_be_drawn_is_not_stored(client):
    wide = image_file(70_000, 10)
    for media_type, status in (("image/jpeg", 406), ("image/png", 201)):
        response = client.post("/v1/images", **form(wide), headers={"Accept": media_type})
        assert response.status_code == status
    assert len(client.get("/v1/images").json["images"]) == 1


def test_missing_weights_return_503_for_that_model_only(client, models_dir):
    (models_dir / "stub_8" / "model.onnx").unlink()
    response = client.post("/v1/images", **form())
    assert_problem(response, 503)
    assert response.headers["Retry-After"] == "5"
    assert client.post("/v1/images", **form(model="stub_5")).status_code == 201


def test_unexpected_error_returns_500_without_details(client, monkeypatch, caplog):
    def fail(*_args, **_kwargs):
        raise RuntimeError("SELECT secret FROM /home/me.py")

    monkeypatch.setattr("app.store.queries.page_of_images", fail)
    response = client.get("/v1/images", headers={"X-Request-ID": "find-me"})
    assert_problem(response, 500)
    assert "secret" in caplog.text
    assert "find-me" in caplog.text


def test_each_domain_error_has_a_status():
    def subclasses(kind):
        for each in kind.__subclasses__():
            yield each
            yield from subclasses(each)

    abstract = {errors.UnknownName}
    assert set(STATUS) == set(subclasses(errors.EmotionError)) - abstract


def test_batch_errors_are_problem_documents(client):
    response = client.post("/v1/images", data={"image": [upload(GOOD), upload(b"")]})
    (error,) = response.json["errors"]
    assert list(error) == [
        "index", "file_name", "type", "title", "status", "detail", "request_id",
    ]  # fmt: skip
    assert json.dumps(error)
