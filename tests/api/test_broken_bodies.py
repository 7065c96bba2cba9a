"""Malformed bodies are rejected with a specific reason, and nothing is stored."""

import gzip

import pytest

from tests.conftest import image_file

IMAGE = image_file(50)
LARGE = IMAGE + bytes(2_000_000)


def part(data=IMAGE, head=b'Content-Disposition: form-data; name="image"; filename="a.png"'):
    return b"--x\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


WHOLE = part() + b"--x--\r\n"
LATIN = b'Content-Disposition: form-data; name="image"; filename="\xe9t\xe9.png"'
NAMELESS = b'Content-Disposition: form-data; filename="a.png"'
FORM = "multipart/form-data; boundary=x"


def form_with(name, headers=b""):
    """Return the body of a form with an unnamed image and a field file_name with value `name`."""
    head = b'Content-Disposition: form-data; name="file_name"' + headers
    image = part(head=b'Content-Disposition: form-data; name="image"; filename=""')
    return part(name, head) + image + b"--x--\r\n"


# case: (body, content type, text in the detail)
BROKEN = {
    "no boundary": (WHOLE, "multipart/form-data", "has no boundary"),
    "empty boundary": (WHOLE, "multipart/form-data; boundary=", "has no boundary"),
    "wrong boundary": (
        WHOLE,
        "multipart/form-data; boundary=y",
        "does not begin with the boundary",
    ),
    "wrong boundary, large": (
        part(LARGE) + b"--x--\r\n",
        "multipart/form-data; boundary=y",
        "does not begin with the boundary",
    ),
    "boundary not ASCII": (WHOLE, "multipart/form-data; boundary=\xe9", "is not ASCII"),
    "boundary not ASCII, quoted": (WHOLE, 'multipart/form-data; boundary="x\xe9"', "is not ASCII"),
    "beginning of a boundary": (
        WHOLE.replace(b"--x", b"--xx"),
        FORM,
        "does not begin with the boundary",
    ),
    "cut in the boundary's line": (b"--x", FORM, "before the closing boundary"),
    "raw image as form": (IMAGE, FORM, "does not begin with the boundary"),
    "Latin-1 name": (part(head=LATIN) + b"--x--\r\n", FORM, "not UTF-8"),
    "no end": (part(), FORM, "before the closing boundary"),
    "cut in the image": (WHOLE[:-40], FORM, "before the closing boundary"),
    "cut in a large image": (part(LARGE)[:-9], FORM, "before the closing boundary"),
    "cut in the head": (WHOLE[:30], FORM, "before the closing boundary"),
    "empty": (b"", FORM, "no file part named image"),
    "no disposition": (part(head=b"X: y") + b"--x--\r\n", FORM, "no Content-Disposition"),
    "no name": (part(head=NAMELESS) + b"--x--\r\n", FORM, "has no name"),
    "empty name": (
        part(head=NAMELESS.replace(b"; ", b'; name=""; ', 1)) + b"--x--\r\n",
        FORM,
        "has no name",
    ),
    "field without a name": (
        part() + part(b"0.5", b"Content-Disposition: form-data") + b"--x--\r\n",
        FORM,
        "has no name",
    ),
    "Latin-1 field": (form_with(b"\xe9t\xe9.jpg"), FORM, "is not UTF-8"),
    "UTF-8 field, cut": (form_with("é".encode()[:1]), FORM, "is not UTF-8"),
    "no name, and another file part": (
        part(head=NAMELESS) + part(head=NAMELESS.replace(b"; ", b'; name="b"; ', 1)) + b"--x--\r\n",
        FORM,
        "has no name",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_form_returns_400_with_reason(client, case):
    data, content_type, reason = BROKEN[case]
    response = client.post("/v1/images", data=data, content_type=content_type)
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert reason in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []


@pytest.mark.parametrize("preamble", [b"", b"\r\n"])
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"\r\nrest"])
def test_complete_form_is_accepted(client, preamble, epilogue):
    data = preamble + part() + b"--x--" + epilogue
    assert client.post("/v1/images", data=data, content_type=FORM).status_code == 201


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "deflate, gzip"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/images", FORM),
        ("/v1/images", "image/png"),
        ("/v1/images", "application/json"),
        ("/index", "application/json"),
    ],
)
def test_compressed_body_returns_415(client, coding, path, content_type):
    response = client.post(
        path,
        data=gzip.compress(WHOLE),
        content_type=content_type,
        headers={"Content-Encoding": coding},
    )
    assert response.status_code == 415
    assert "Content-Encoding" in response.json["detail"]
    assert coding.lower()[:20] in response.json["detail"]


def test_identity_encoding_is_accepted(client):
    headers = {"Content-Encoding": "identity"}
    response = client.post("/v1/images", data=IMAGE, content_type="image/png", headers=headers)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "header",
    [
        "Content-Transfer-Encoding: base64",
        "content-transfer-encoding: Quoted-Printable",
        "Content-Encoding: gzip",
    ],
)
@pytest.mark.parametrize("name", ["image", "file_name"])
def test_encoded_part_returns_415(client, header, name):
    head = b"\r\n" + header.encode()
    if name == "image":
        disposition = b'Content-Disposition: form-data; name="image"; filename="a.png"'
        data = part(head=disposition + head) + b"--x--\r\n"
    else:
        data = form_with(b"a.png", head)
    response = client.post("/v1/images", data=data, content_type=FORM)
    assert response.status_code == 415
    assert response.content_type == "application/problem+json"
    assert header.split(": ")[1].lower() in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []


@pytest.mark.parametrize(
    "header",
    [
        "Content-Transfer-Encoding: binary",
        "Content-Transfer-Encoding: 8BIT",
        "Content-Transfer-Encoding: 7bit",
        "Content-Encoding: identity",
    ],
)
def test_unencoded_part_is_accepted(client, header):
    disposition = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n'
    data = part(head=disposition + header.encode()) + b"--x--\r\n"
    assert client.post("/v1/images", data=data, content_type=FORM).status_code == 201


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("été\ufffd.png".encode(), b""),
        ("été\ufffd.png".encode(), b"\r\nContent-Type: text/plain; charset=UTF-8"),
        (b"\xe9t\xe9.png", b"\r\nContent-Type: text/plain; charset=iso-8859-1"),
    ],
)
def test_field_is_decoded_with_its_charset(client, name, headers):
    response = client.post("/v1/images", data=form_with(name, headers), content_type=FORM)
    assert response.status_code == 201
    assert response.json["file_name"].startswith("été")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/images?file_name=%E9t%E9.jpg"),
        ("GET", "/v1/images?file_name=%E9t%E9.jpg"),
        ("DELETE", "/v1/images?file_name=%C3"),
        ("GET", "/v1/summary?%E9=1"),
    ],
)
def test_query_that_is_not_utf_8_returns_400(client, method, path):
    response = client.open(path, method=method, data=IMAGE, content_type="image/png")
    assert response.status_code == 400
    assert "not UTF-8" in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []
