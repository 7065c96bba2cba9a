"""File names: normalization, filters, truncation and removal of paths."""

import base64
import unicodedata

import pytest

from app.store.tables import ImageRow, db
from tests.conftest import image_file, upload

IMAGE = image_file(50)
REPLACED = "\N{REPLACEMENT CHARACTER}"
REAL_NAMES = [
    "Screenshot 2026-01-02 at 4.42.48\u202fPM.png",  # macOS writes a narrow no-break space
    "photo\u00a01.png",
    "می\u200cخواهم.png",  # Persian, zero width non-joiner
    "क्\u200dष.png",  # Hindi, zero width joiner
    "👨\u200d👩\u200d👧.png",
    "写真\u3000一.png",
    "  leading and trailing  ",
    "\u200fעברית.png",
    "soft\u00adhyphen\ufeff.png",
    "a:b.png",
    "100%25.png",
    "a;b=c.png",
]


def post_json(client, name):
    document = {"image": base64.b64encode(IMAGE).decode(), "file_name": name}
    response = client.post("/v1/images", json=document)
    assert response.status_code == 201
    return response.json["file_name"]


def post_part(client, disposition):
    """Return the stored name of a part. `disposition` is the end of its Content-Disposition."""
    head = f'--x\r\nContent-Disposition: form-data; name="image"{disposition}\r\n\r\n'.encode()
    response = client.post(
        "/v1/images",
        data=head + IMAGE + b"\r\n--x--\r\n",
        content_type="multipart/form-data; boundary=x",
    )
    assert response.status_code == 201, response.json
    return response.json["file_name"]


def names_found(client, name):
    response = client.get("/v1/images", query_string={"file_name": name})
    assert response.status_code == 200, response.json
    return [image["file_name"] for image in response.json["images"]]


@pytest.mark.parametrize("name", REAL_NAMES)
def test_image_is_found_and_erased_by_file_name(client, name):
    assert post_json(client, name) == name
    assert post_part(client, f'; filename="{name}"') == name
    assert client.post("/v1/images", data={"image": upload(IMAGE, name)}).status_code == 201
    raw = client.post(
        "/v1/images", data=IMAGE, content_type="image/png", query_string={"file_name": name}
    )
    assert raw.json["file_name"] == name
    assert names_found(client, name) == [name] * 4
    erased = client.delete("/v1/images", query_string={"file_name": name})
    assert erased.json == {"erased": 4}


@pytest.mark.parametrize("sent", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_filter_matches_composed_and_decomposed_names(client, sent, typed):
    name = "un été à l'Ångström \N{ANGSTROM SIGN} 각.png"
    sent, typed = (unicodedata.normalize(form, name) for form in (sent, typed))
    assert post_json(client, sent) == unicodedata.normalize("NFC", name)
    assert len(names_found(client, typed)) == 1
    summary = client.get("/v1/summary", query_string={"file_name": typed}).json
    assert sum(span["images"] for span in summary["spans"]) == 1
    assert client.delete("/v1/images", query_string={"file_name": typed}).json == {"erased": 1}


@pytest.mark.parametrize(
    "old",
    [
        unicodedata.normalize("NFD", "été.png"),
        "été.png",
        "Angstro\u0308m \N{ANGSTROM SIGN}.png",
        f"4.42{REPLACED}PM.png",
    ],
)
def test_filter_finds_names_of_earlier_versions(app, client, old):
    post_json(client, "new.png")
    with app.app_context():
        db.session.query(ImageRow).update({"file_name": old})
        db.session.commit()
    assert names_found(client, old) == [old]
    if REPLACED not in old and "\N{ANGSTROM SIGN}" not in old:
        assert names_found(client, "été.png") == [old]
    assert client.delete("/v1/images", query_string={"file_name": old}).json == {"erased": 1}


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a\0b.png", f"a{REPLACED}b.png"),
        ("a\r\nb\x85\x9f\x7f.png", f"a{REPLACED * 2}b{REPLACED * 3}.png"),
        ("a\u2028b\u2029.png", f"a{REPLACED}b{REPLACED}.png"),
        ("a\u202egpj.png", f"a{REPLACED}gpj.png"),
        ("a\ud800b\udfff.png", f"a{REPLACED}b{REPLACED}.png"),
        ("", "unnamed"),
        (" \u3000 ", "unnamed"),
        ("..", "unnamed"),
        ("photos/", "unnamed"),
        ("C:\\Users\\me\\", "unnamed"),
        ("\\\\server\\share\\me\\photo.jpg", "photo.jpg"),
        ("C:\\Users\\me/new\\photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
    ],
)
def test_stored_name_has_no_unsafe_characters_and_no_path(client, sent, stored):
    assert post_json(client, sent) == stored
    visible = sent.translate(dict.fromkeys((55296, 57343), REPLACED))
    if not any(unicodedata.category(char) == "Cc" for char in sent) and stored == visible:
        assert names_found(client, visible) == [stored]


def test_filter_replaces_unsafe_characters_like_stored_names(client):
    post_json(client, "a\u202egpj.png")
    assert len(names_found(client, "a\u202egpj.png")) == 1
    assert client.get("/v1/images?file_name=a%00b").status_code == 422


@pytest.mark.parametrize(
    ("disposition", "stored"),
    [
        ('; filename="C:\\Users\\me\\new photo.jpg"', "new photo.jpg"),
        ("; filename=C:\\Users\\me\\new photo.jpg", "new photo.jpg"),
        ('; filename="C:\\\\Users\\\\me\\\\new.jpg"', "new.jpg"),
        ('; filename="\\\\server\\share\\me\\x.jpg"', "x.jpg"),
        ('; FileName="C:\\Users\\me\\x.jpg"; size=3', "x.jpg"),
        ('; filename="C:\\Users\\me/y\\x.jpg"', "x.jpg"),
        ('; filename="C:\\Users\\me\\.."', "unnamed"),
        ('; filename="C:\\Users\\me\\a;b.jpg"', "a;b.jpg"),
        ('; filename="the \\"best\\" photo.jpg"', 'the "best" photo.jpg'),
        ('; filename="the %22best%22 photo.jpg"', 'the "best" photo.jpg'),
        ('; filename="dir/the \\"best\\".jpg"', 'the "best".jpg'),
        ("; filename*=UTF-8''%C3%A9t%C3%A9%20%22a%22.jpg", 'été "a".jpg'),
        ("; filename*=UTF-8''C%3A%5CUsers%5Cme%5Cnew.jpg", "new.jpg"),
        ("; filename=\"C:\\Users\\me\\x.jpg\"; filename*=UTF-8''%C3%A9.jpg", "é.jpg"),
        ("; filename*=UTF-8''%C3%A9.jpg; filename=\"C:\\Users\\me\\x.jpg\"", "é.jpg"),
        ("; filename=\"a.jpg\"; filename*=UTF-8''", "a.jpg"),
        ("; filename*=UTF-8''; filename=a.jpg", "a.jpg"),
        ("; filename=\"a.jpg\"; filename*=utf-8'en'", "a.jpg"),
        ('; filename="a.jpg"; filename*=', "a.jpg"),
        ("; filename*=UTF-8''", "unnamed"),
        ("; filename=\"a.jpg\"; filename*0*=UTF-8''b; filename*1=.jpg", "b.jpg"),
        ('; filename=""', "unnamed"),
        ('; other="; filename=\\"no.jpg\\""; filename="C:\\me\\yes.jpg"', "yes.jpg"),
    ],
)
def test_stored_name_of_part_has_no_path(client, disposition, stored):
    assert post_part(client, disposition) == stored


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("x" * 600, 255),
        ("e\u0301" * 255, 255),  # 510 characters, which are 255 characters in form C
        ("x" * 254 + "q\u0323\u0302", 254),  # has no composed form
        ("x" * 253 + "👨\u200d👩\u200d👧", 253),
        ("x" * 254 + "👍🏽", 254),
        ("x" * 254 + "🇩🇪", 254),
        ("x" * 253 + "🇩🇪🇫🇷", 255),
        ("x" + "\u0300" * 600, 255),
    ],
)
def test_long_name_is_truncated_between_visible_characters(client, name, length):
    stored = post_json(client, name)
    assert len(stored) == length
    assert unicodedata.normalize("NFC", name).startswith(stored)
    assert names_found(client, stored) == [stored]


def test_filter_length_is_checked_after_normalization(client):
    name = "e\u0301" * 255
    assert names_found(client, name) == []
    response = client.get("/v1/images", query_string={"file_name": name + "x"})
    assert response.status_code == 422
    assert "255" in response.json["detail"]
