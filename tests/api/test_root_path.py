"""EMOTION_ROOT_PATH: the service below a path prefix that a proxy forwards or removes."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from app.settings import SettingError
from tests.conftest import image_file, upload

ROOT = "/emotion"


@pytest.fixture
def client(make_app):
    return make_app(root_path=ROOT).test_client()


def post(client, path, **options):
    return client.post(path, data={"image": upload(image_file())}, **options)


class LinkParser(HTMLParser):
    """Collects the links of a page in `links`."""

    def __init__(self, text):
        super().__init__()
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.links += [text for name, text in attributes if name in ("src", "href")]


@pytest.mark.parametrize("prefix", [ROOT, ""], ids=["forwarded", "removed"])
def test_links_begin_with_root_path(client, prefix):
    for _ in range(2):
        response = post(client, f"{prefix}/v1/images")
        assert response.location == f"{ROOT}/v1/images/{response.json['id']}"
    link = client.get(f"{prefix}/v1/images?page_size=1").headers["Link"]
    assert link.startswith(f"<{ROOT}/v1/images?page_size=1&cursor=")
    assert client.get(f"{prefix}/openapi.json").json["servers"] == [{"url": ROOT}]
    assert client.get(f"{prefix}/healthz").status_code == 200


@pytest.mark.parametrize("prefix", [ROOT, ""], ids=["forwarded", "removed"])
@pytest.mark.parametrize("page", ["/", "/docs"])
def test_files_of_page_are_below_root_path(client, prefix, page):
    parser = LinkParser(client.get(prefix + page).get_data(as_text=True))
    files = [link for link in parser.links if not link.startswith("#")]
    assert len(files) >= 4
    for file in files:
        assert file.startswith(f"{ROOT}/")
        with client.get(file) as response:
            assert response.status_code == 200


def test_root_path_without_slash_returns_page(client):
    assert "<title>" in client.get(ROOT).get_data(as_text=True)
    assert client.get(f"{ROOT}/").status_code == 200


def test_page_returns_304_for_matching_etag(client):
    first = client.get(f"{ROOT}/")
    second = client.get(f"{ROOT}/", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.get_data()) == (304, b"")
    assert second.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_links_are_relative_without_root_path(make_app, page):
    """The page works behind a proxy that removes a path prefix without a header."""
    client = make_app().test_client()
    for link in LinkParser(client.get(page).get_data(as_text=True)).links:
        url = urljoin(f"https://example.org/some/where{page}", link)
        assert url.startswith("https://example.org/some/where/")


@pytest.mark.parametrize(
    "path", ["/emotionhealthz", "/emotionv1/models", "/Emotion/healthz", "/x/emotion"]
)
def test_similar_paths_return_404(client, path):
    assert client.get(path).status_code == 404


def test_only_one_root_path_is_removed(client):
    assert client.get(f"{ROOT}{ROOT}/healthz").status_code == 404


def test_root_path_can_have_several_segments(make_app):
    client = make_app(root_path="/apps/face.emotion/").test_client()
    response = post(client, "/apps/face.emotion/v1/images")
    assert response.location == "/apps/face.emotion/v1/images/1"
    assert client.get("/apps/healthz").status_code == 404


def test_forwarded_prefix_replaces_root_path_in_links(make_app):
    client = make_app(root_path=ROOT, proxies=1, allow_anonymous=True).test_client()
    forwarded = {"X-Forwarded-Prefix": "/outer"}
    for prefix in ("", ROOT):
        response = post(client, f"{prefix}/v1/images", headers=forwarded)
        assert response.location == f"/outer/v1/images/{response.json['id']}"
        servers = client.get(f"{prefix}/openapi.json", headers=forwarded).json["servers"]
        assert servers == [{"url": "/outer"}]
    assert post(client, "/v1/images", headers={"X-Forwarded-Prefix": ""}).location == (
        f"{ROOT}/v1/images/3"
    )


def test_prefix_of_client_is_ignored(client):
    for header in ("X-Forwarded-Prefix", "X-Script-Name", "Script-Name"):
        page = client.get("/", headers={header: "/evil"}).get_data(as_text=True)
        assert "evil" not in page


def test_rights_are_required_below_root_path(make_app):
    client = make_app(root_path=ROOT, host="0.0.0.0").test_client()
    for path in ("/v1/images", "/v1/images/1", "/metrics"):
        assert client.get(ROOT + path).status_code == client.get(path).status_code == 401


def test_redirect_stays_below_root_path(client):
    response = client.get(f"{ROOT}//v1//models")
    assert (response.status_code, response.location) == (308, f"http://localhost{ROOT}/v1/models")


@pytest.mark.parametrize("text", ["", "/"])
def test_slash_is_same_as_no_root_path(make_app, text):
    client = make_app(root_path=text).test_client()
    assert client.get("/openapi.json").json["servers"] == [{"url": "/"}]
    assert post(client, "/v1/images").location == "/v1/images/1"


@pytest.mark.parametrize(
    "text",
    [
        *("emotion", "//emotion", "/a//b", "/a/../b", "/.", "/a b", "/é", "/a?b", "/a#b", "/a%2fb"),
        *("https://example.org/emotion", "/a\\b", "/<script>", "/a\n"),
    ],
)
def test_invalid_root_path_fails_startup(make_app, text):
    with pytest.raises(SettingError, match="EMOTION_ROOT_PATH"):
        make_app(root_path=text)


@pytest.mark.parametrize("text", ["/v1", "/v1/images", "/docs", "/assets/x", "/index", "/metrics"])
def test_root_path_equal_to_a_route_fails_startup(make_app, text):
    with pytest.raises(SettingError, match=r"path \S+ of the service"):
        make_app(root_path=text)
