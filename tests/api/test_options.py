"""Parsing of options: repetitions, number formats, data URIs and empty file parts."""

import inspect
import json

import marshmallow
import pytest
from sqlalchemy import func, select

from app.api import arguments
from app.api.numbers import DecimalNumber, WholeNumber
from app.plain_numbers import parse_decimal, parse_whole
from app.settings import SettingError, Settings
from app.store.tables import ImageRow, db
from tests.api.test_errors import b64, json_body
from tests.conftest import image_file, upload

GOOD = image_file(50, gray=250)
# Spellings that Python's `float` or `int` accepts, or that look like numbers.
INVALID_NUMBERS = (
    "1_0e-1", "1_000", "٣", "٠.٥", "０.5", " 5 ", "5 ", "\t5", "5\n", "+5", "0x10", "1e400",
    "-1e400", "nan", "NaN", "-nan", "inf", "Infinity", "True", "1,5", "1e", "5.", ".", "1__0", "",
)  # fmt: skip


def count_images(app):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(ImageRow))


def message_of_rejection(response, field):
    """Check that a response is a 422 for `field`, and return the message."""
    assert response.status_code == 422, response.json
    assert response.content_type == "application/problem+json"
    assert [error["field"] for error in response.json["errors"]] == [field]
    assert field in response.json["detail"]
    return response.json["errors"][0]["message"]


def post_raw(client, query):
    return client.post(f"/v1/images{query}", data=GOOD, content_type="image/png")


@pytest.mark.parametrize(
    "query",
    ["threshold=0.2&threshold=0.9", "threshold=0.5&threshold=0.5", "store=true&store=false"],
)
def test_repeated_option_in_query_returns_422(app, client, query):
    message = message_of_rejection(post_raw(client, f"?{query}"), query.split("=")[0])
    assert message == "was sent 2 times: send it once"
    assert count_images(app) == 0


def test_repeated_option_in_form_returns_422(app, client):
    body = {"image": upload(GOOD), "max_faces": ["1", "2", "3"]}
    message = message_of_rejection(client.post("/v1/images", data=body), "max_faces")
    assert message == "was sent 3 times: send it once"
    assert count_images(app) == 0


@pytest.mark.parametrize("path", ["/v1/images", "/index"])
@pytest.mark.parametrize("field", ["threshold", "image", "file_name"])
def test_repeated_name_in_json_returns_422(app, client, path, field):
    values = {"image": f'"{b64()}"', "threshold": "0.5", "file_name": '"a.png"'}
    pairs = [*values.items(), (field, values[field])]
    body = "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"
    message_of_rejection(client.post(path, **json_body(body)), field)
    assert count_images(app) == 0


def test_escaped_name_counts_as_repetition(client):
    body = f'{{"image": "{b64()}", "threshold": 0.5, "thre\\u0073hold": 0.9}}'
    message_of_rejection(client.post("/v1/images", **json_body(body)), "threshold")


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", "/v1/images?emotion=anger&emotion=fear", "emotion"),
        ("GET", "/v1/images?page_size=1&page_size=1", "page_size"),
        ("GET", "/v1/faces?min_faces=1&min_faces=2", "min_faces"),
        ("GET", "/v1/summary?by=day&by=hour", "by"),
        ("GET", "/v1/images/1?view=full&view=full", "view"),
        ("GET", "/v1/images/1/mood?aggregator=max&aggregator=mean", "aggregator"),
        ("DELETE", "/v1/images?min_faces=9&min_faces=0", "min_faces"),
    ],
)
def test_repeated_filter_returns_422(client, method, path, field):
    message_of_rejection(client.open(path, method=method), field)


def test_body_fields_override_query(client):
    body = {"image": upload(GOOD), "threshold": "0.25"}
    assert client.post("/v1/images?threshold=0.75", data=body).json["threshold"] == 0.25
    document = {"image": b64(), "threshold": 0.125}
    assert client.post("/v1/images?threshold=0.75", json=document).json["threshold"] == 0.125


@pytest.mark.parametrize("text", INVALID_NUMBERS)
@pytest.mark.parametrize("field", ["threshold", "min_confidence", "min_face_px", "max_faces"])
def test_request_rejects_unusual_number_spellings(app, client, field, text):
    body = {"image": upload(GOOD), field: text}
    message_of_rejection(client.post("/v1/images", data=body), field)
    message_of_rejection(client.post("/v1/images", json={"image": b64(), field: text}), field)
    query = {field: text}
    response = client.post("/v1/images", query_string=query, data=GOOD, content_type="image/png")
    message_of_rejection(response, field)
    assert count_images(app) == 0


def numeric_options():
    for name, schema in vars(arguments).items():
        if inspect.isclass(schema) and issubclass(schema, marshmallow.Schema):
            for field in schema._declared_fields.values():
                if isinstance(field, marshmallow.fields.Number):
                    yield name, field


def test_each_numeric_option_uses_strict_fields():
    fields = list(numeric_options())
    assert len(fields) > 10
    for schema, field in fields:
        assert isinstance(field, DecimalNumber | WholeNumber), schema


@pytest.mark.parametrize("text", [*"01", "0.5", ".5", "1e-1", "2.5E-01", "0.50000000000000000000"])
def test_decimal_numbers_are_accepted(client, text):
    assert post_raw(client, f"?threshold={text}").json["threshold"] == float(text)


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0e5"])
def test_minus_zero_is_zero(client, text):
    assert '"threshold":0.0' in post_raw(client, f"?threshold={text}").text.replace(" ", "")
    response = client.post("/v1/images", json={"image": b64(), "threshold": -0.0})
    assert '"threshold":0.0' in response.text.replace(" ", "")


@pytest.mark.parametrize(
    "scheme", ["data:image/png;base64,", "DATA:image/png;BASE64,", "Data:;base64,"]
)
def test_data_uri_scheme_is_case_insensitive(client, scheme):
    assert client.post("/v1/images", json={"image": scheme + b64()}).status_code == 201


@pytest.mark.parametrize("start", ["DATA:image/png,", "Data:image/png;base64"])
def test_data_uri_without_base64_returns_400(client, start):
    response = client.post("/v1/images", json={"image": start})
    assert response.status_code == 400
    assert "data URI" in response.json["detail"]


@pytest.mark.parametrize("value", ["3", 3, 3.0, "003"])
def test_whole_numbers_are_accepted(client, value):
    body = json.dumps({"image": b64(), "max_faces": value})
    assert client.post("/v1/images", **json_body(body)).status_code == 201


@pytest.mark.parametrize("value", [3.5, 2.999999, "3.0", "3.5", True, None, [3], {"a": 3}])
def test_fraction_is_not_truncated(client, value):
    message_of_rejection(
        client.post("/v1/images", json={"image": b64(), "max_faces": value}), "max_faces"
    )


@pytest.mark.parametrize("text", ["٣", "1_0", "+1", "1.0", " 1", "0x1"])
def test_id_with_other_characters_returns_404(client, text):
    assert client.get(f"/v1/images/{text}").status_code == 404
    assert client.delete(f"/v1/images/{text}").status_code == 404
    assert client.get(f"/v1/images/{text}/mood").status_code == 404


def test_arabic_digit_as_id_erases_nothing(app, client):
    for _ in range(3):
        post_raw(client, "")
    assert client.delete("/v1/images/٣").status_code == 404
    assert count_images(app) == 3


@pytest.mark.parametrize("text", INVALID_NUMBERS)
@pytest.mark.parametrize("name", ["PORT", "EMOTION_MAX_FACES", "EMOTION_REQUEST_SECONDS"])
def test_setting_rejects_unusual_number_spellings(name, text):
    with pytest.raises(SettingError, match=name):
        Settings.from_environment({name: text})


@pytest.mark.parametrize("text", INVALID_NUMBERS)
def test_parsers_reject_unusual_number_spellings(text):
    if "400" not in text:
        with pytest.raises(ValueError):
            parse_decimal(text)
    with pytest.raises(ValueError):
        parse_whole(text)


# Browsers send an empty file part without a name if the user chose no file.

EMPTY = b'Content-Disposition: form-data; name="image"; filename=""\r\n'
EMPTY += b"Content-Type: application/octet-stream\r\n\r\n"
FULL = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + GOOD
NAMED = b'Content-Disposition: form-data; name="image"; filename="b.png"\r\n\r\n'
BARE = b'Content-Disposition: form-data; name="image"; filename=""\r\n\r\n' + GOOD
TEXT = b'Content-Disposition: form-data; name="image"\r\n\r\n'


def form_of(*parts):
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    "parts", [(FULL, EMPTY), (EMPTY, FULL), (EMPTY, FULL, EMPTY), (FULL, TEXT)]
)
def test_empty_unnamed_part_is_ignored(app, client, parts):
    response = client.post("/v1/images", **form_of(*parts))
    assert response.status_code == 201
    assert response.json["file_name"] == "a.png"
    assert response.headers["Location"]
    assert count_images(app) == 1


def test_empty_unnamed_part_has_no_index_in_batch(client):
    response = client.post("/v1/images", **form_of(FULL, EMPTY, NAMED, EMPTY, FULL))
    assert response.status_code == 201
    assert [image["file_name"] for image in response.json["images"]] == ["a.png", "a.png"]
    (error,) = response.json["errors"]
    assert (error["index"], error["file_name"], error["status"]) == (1, "b.png", 400)


def test_empty_unnamed_part_does_not_count_for_max_images(make_app):
    client = make_app(max_images=2).test_client()
    response = client.post("/v1/images", **form_of(FULL, EMPTY, FULL, EMPTY))
    assert len(response.json["images"]) == 2


@pytest.mark.parametrize("parts", [(EMPTY,), (EMPTY, EMPTY)])
def test_only_empty_parts_return_400(app, client, parts):
    response = client.post("/v1/images", **form_of(*parts))
    assert response.status_code == 400
    assert "all file parts are empty" in response.json["detail"]
    assert count_images(app) == 0


def test_image_without_file_name_is_accepted(client):
    response = client.post("/v1/images", **form_of(BARE, EMPTY))
    assert (response.status_code, response.json["file_name"]) == (201, "unnamed")


def test_text_field_named_image_returns_400(app, client):
    response = client.post("/v1/images", **form_of(FULL, TEXT + b"photo.jpg"))
    assert response.status_code == 400
    assert "file part" in response.json["detail"]
    assert count_images(app) == 0
