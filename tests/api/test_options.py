"""How options are read: one value each, and numbers in one spelling only."""

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
from tests.conftest import picture, upload

GOOD = picture(50, gray=250)
# What `float` or `int` read and no request may hold.
NO_NUMBERS = (
    "1_0e-1", "1_000", "٣", "٠.٥", "０.5", " 5 ", "5 ", "\t5", "5\n", "+5", "0x10", "1e400",
    "-1e400", "nan", "NaN", "-nan", "inf", "Infinity", "True", "1,5", "1e", "5.", ".", "1__0", "",
)  # fmt: skip


def images_stored(app):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(ImageRow))


def refused(answer, field):
    assert answer.status_code == 422, answer.json
    assert answer.content_type == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert field in answer.json["detail"]
    return answer.json["errors"][0]["message"]


def raw(client, query):
    return client.post(f"/v1/images{query}", data=GOOD, content_type="image/png")


@pytest.mark.parametrize(
    "query",
    ["threshold=0.2&threshold=0.9", "threshold=0.5&threshold=0.5", "store=true&store=false"],
)
def test_an_option_given_twice_in_the_query_is_refused(app, client, query):
    message = refused(raw(client, f"?{query}"), query.split("=")[0])
    assert message == "was sent 2 times: send it once"
    assert images_stored(app) == 0


def test_an_option_given_twice_in_a_form_is_refused(app, client):
    body = {"image": upload(GOOD), "max_faces": ["1", "2", "3"]}
    message = refused(client.post("/v1/images", data=body), "max_faces")
    assert message == "was sent 3 times: send it once"
    assert images_stored(app) == 0


@pytest.mark.parametrize("path", ["/v1/images", "/index"])
@pytest.mark.parametrize("field", ["threshold", "image", "file_name"])
def test_a_name_that_comes_twice_in_json_is_refused(app, client, path, field):
    values = {"image": f'"{b64()}"', "threshold": "0.5", "file_name": '"a.png"'}
    pairs = [*values.items(), (field, values[field])]
    body = "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"
    refused(client.post(path, **json_body(body)), field)
    assert images_stored(app) == 0


def test_an_escaped_name_is_the_same_name(client):
    body = f'{{"image": "{b64()}", "threshold": 0.5, "thre\\u0073hold": 0.9}}'
    refused(client.post("/v1/images", **json_body(body)), "threshold")


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
def test_no_other_request_takes_the_first_of_two_values(client, method, path, field):
    refused(client.open(path, method=method), field)


def test_fields_win_over_the_query(client):
    body = {"image": upload(GOOD), "threshold": "0.25"}
    assert client.post("/v1/images?threshold=0.75", data=body).json["threshold"] == 0.25
    document = {"image": b64(), "threshold": 0.125}
    assert client.post("/v1/images?threshold=0.75", json=document).json["threshold"] == 0.125


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("field", ["threshold", "min_confidence", "min_face_px", "max_faces"])
def test_only_plain_numbers_are_numbers_of_a_request(app, client, field, text):
    body = {"image": upload(GOOD), field: text}
    refused(client.post("/v1/images", data=body), field)
    refused(client.post("/v1/images", json={"image": b64(), field: text}), field)
    query = {field: text}
    answer = client.post("/v1/images", query_string=query, data=GOOD, content_type="image/png")
    refused(answer, field)
    assert images_stored(app) == 0


def numeric_options():
    for name, schema in vars(arguments).items():
        if inspect.isclass(schema) and issubclass(schema, marshmallow.Schema):
            for field in schema._declared_fields.values():
                if isinstance(field, marshmallow.fields.Number):
                    yield name, field


def test_every_numeric_option_is_read_that_way():
    fields = list(numeric_options())
    assert len(fields) > 10
    for schema, field in fields:
        assert isinstance(field, DecimalNumber | WholeNumber), schema


@pytest.mark.parametrize("text", [*"01", "0.5", ".5", "1e-1", "2.5E-01", "0.50000000000000000000"])
def test_decimal_numbers_are_read(client, text):
    assert raw(client, f"?threshold={text}").json["threshold"] == float(text)


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0e5"])
def test_minus_zero_is_zero(client, text):
    assert '"threshold":0.0' in raw(client, f"?threshold={text}").text.replace(" ", "")
    answer = client.post("/v1/images", json={"image": b64(), "threshold": -0.0})
    assert '"threshold":0.0' in answer.text.replace(" ", "")


@pytest.mark.parametrize(
    "scheme", ["data:image/png;base64,", "DATA:image/png;BASE64,", "Data:;base64,"]
)
def test_the_scheme_of_a_data_uri_has_any_case(client, scheme):
    assert client.post("/v1/images", json={"image": scheme + b64()}).status_code == 201


@pytest.mark.parametrize("start", ["DATA:image/png,", "Data:image/png;base64"])
def test_a_data_uri_without_base64_is_refused_in_any_case(client, start):
    answer = client.post("/v1/images", json={"image": start})
    assert answer.status_code == 400
    assert "data URI" in answer.json["detail"]


@pytest.mark.parametrize("value", ["3", 3, 3.0, "003"])
def test_whole_numbers_are_read(client, value):
    body = json.dumps({"image": b64(), "max_faces": value})
    assert client.post("/v1/images", **json_body(body)).status_code == 201


@pytest.mark.parametrize("value", [3.5, 2.999999, "3.0", "3.5", True, None, [3], {"a": 3}])
def test_no_fraction_is_cut_to_a_whole_number(client, value):
    refused(client.post("/v1/images", json={"image": b64(), "max_faces": value}), "max_faces")


@pytest.mark.parametrize("text", ["٣", "1_0", "+1", "1.0", " 1", "0x1"])
def test_only_ascii_digits_are_an_id(client, text):
    assert client.get(f"/v1/images/{text}").status_code == 404
    assert client.delete(f"/v1/images/{text}").status_code == 404
    assert client.get(f"/v1/images/{text}/mood").status_code == 404


def test_an_arabic_digit_erases_nothing(app, client):
    for _ in range(3):
        raw(client, "")
    assert client.delete("/v1/images/٣").status_code == 404
    assert images_stored(app) == 3


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("name", ["PORT", "EMOTION_MAX_FACES", "EMOTION_REQUEST_SECONDS"])
def test_only_plain_numbers_are_numbers_of_a_setting(name, text):
    with pytest.raises(SettingError, match=name):
        Settings.from_environment({name: text})


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_the_readers_refuse_what_is_not_plain(text):
    if "400" not in text:
        with pytest.raises(ValueError):
            parse_decimal(text)
    with pytest.raises(ValueError):
        parse_whole(text)


# An empty file part, as browsers send where no file was chosen.

EMPTY = b'Content-Disposition: form-data; name="image"; filename=""\r\n'
EMPTY += b"Content-Type: application/octet-stream\r\n\r\n"
FULL = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + GOOD
NAMED = b'Content-Disposition: form-data; name="image"; filename="b.png"\r\n\r\n'
BARE = b'Content-Disposition: form-data; name="image"; filename=""\r\n\r\n' + GOOD
TEXT = b'Content-Disposition: form-data; name="image"\r\n\r\n'


def parts(*its):
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in its) + b"--x--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize("its", [(FULL, EMPTY), (EMPTY, FULL), (EMPTY, FULL, EMPTY), (FULL, TEXT)])
def test_an_empty_part_without_a_name_is_not_there(app, client, its):
    answer = client.post("/v1/images", **parts(*its))
    assert answer.status_code == 201
    assert answer.json["file_name"] == "a.png"
    assert answer.headers["Location"]
    assert images_stored(app) == 1


def test_it_does_not_count_in_a_batch(client):
    answer = client.post("/v1/images", **parts(FULL, EMPTY, NAMED, EMPTY, FULL))
    assert answer.status_code == 201
    assert [image["file_name"] for image in answer.json["images"]] == ["a.png", "a.png"]
    (error,) = answer.json["errors"]
    assert (error["index"], error["file_name"], error["status"]) == (1, "b.png", 400)


def test_sixteen_pictures_and_an_empty_part_are_sixteen(make_app):
    client = make_app(max_images=2).test_client()
    answer = client.post("/v1/images", **parts(FULL, EMPTY, FULL, EMPTY))
    assert len(answer.json["images"]) == 2


@pytest.mark.parametrize("its", [(EMPTY,), (EMPTY, EMPTY)])
def test_nothing_but_empty_parts_is_no_image(app, client, its):
    answer = client.post("/v1/images", **parts(*its))
    assert answer.status_code == 400
    assert "no file" in answer.json["detail"]
    assert images_stored(app) == 0


def test_a_picture_without_a_name_is_read(client):
    answer = client.post("/v1/images", **parts(BARE, EMPTY))
    assert (answer.status_code, answer.json["file_name"]) == (201, "unnamed")


def test_a_text_beside_the_file_is_not_lost(app, client):
    answer = client.post("/v1/images", **parts(FULL, TEXT + b"photo.jpg"))
    assert answer.status_code == 400
    assert "file part" in answer.json["detail"]
    assert images_stored(app) == 0
