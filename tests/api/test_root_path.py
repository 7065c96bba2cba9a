"""EMOTION_ROOT_PATH: below a path of a larger site, whether a proxy removes it or not."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from app.settings import SettingError
from tests.conftest import picture, upload

ROOT = "/emotion"


@pytest.fixture
def client(make_app):
    return make_app(root_path=ROOT).test_client()


def post(client, path, **named):
    return client.post(path, data={"image": upload(picture())}, **named)


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [text for name, text in attributes if name in ("src", "href")]


@pytest.mark.parametrize("sent", [ROOT, ""], ids=["kept", "removed"])
def test_every_link_begins_with_the_root_path(client, sent):
    for _ in range(2):
        answer = post(client, f"{sent}/v1/images")
        assert answer.location == f"{ROOT}/v1/images/{answer.json['id']}"
    link = client.get(f"{sent}/v1/images?page_size=1").headers["Link"]
    assert link.startswith(f"<{ROOT}/v1/images?page_size=1&cursor=")
    assert client.get(f"{sent}/openapi.json").json["servers"] == [{"url": ROOT}]
    assert client.get(f"{sent}/healthz").status_code == 200


@pytest.mark.parametrize("sent", [ROOT, ""], ids=["kept", "removed"])
@pytest.mark.parametrize("page", ["/", "/docs"])
def test_all_that_a_page_names_is_below_the_root_path(client, sent, page):
    links = Links(client.get(sent + page).get_data(as_text=True)).found
    files = [link for link in links if not link.startswith("#")]
    assert len(files) >= 4
    for file in files:
        assert file.startswith(f"{ROOT}/")
        with client.get(file) as answer:
            assert answer.status_code == 200


def test_the_root_path_without_a_slash_is_the_page(client):
    assert "<title>" in client.get(ROOT).get_data(as_text=True)
    assert client.get(f"{ROOT}/").status_code == 200


def test_a_browser_that_has_the_page_is_not_sent_it_again(client):
    first = client.get(f"{ROOT}/")
    again = client.get(f"{ROOT}/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.get_data()) == (304, b"")
    assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_without_a_root_path_links_are_relative(make_app, page):
    """A proxy that removes a path and does not say so still gets a page that works."""
    client = make_app().test_client()
    for link in Links(client.get(page).get_data(as_text=True)).found:
        seen = urljoin(f"https://example.org/some/where{page}", link)
        assert seen.startswith("https://example.org/some/where/")


@pytest.mark.parametrize(
    "path", ["/emotionhealthz", "/emotionv1/models", "/Emotion/healthz", "/x/emotion"]
)
def test_other_paths_are_taken_as_they_are(client, path):
    assert client.get(path).status_code == 404


def test_only_one_root_path_is_removed(client):
    assert client.get(f"{ROOT}{ROOT}/healthz").status_code == 404


def test_a_root_path_may_have_several_parts(make_app):
    client = make_app(root_path="/apps/face.emotion/").test_client()
    answer = post(client, "/apps/face.emotion/v1/images")
    assert answer.location == "/apps/face.emotion/v1/images/1"
    assert client.get("/apps/healthz").status_code == 404


def test_a_prefix_that_a_proxy_names_replaces_it_in_links(make_app):
    client = make_app(root_path=ROOT, proxies=1, allow_anonymous=True).test_client()
    named = {"X-Forwarded-Prefix": "/outer"}
    for sent in ("", ROOT):
        answer = post(client, f"{sent}/v1/images", headers=named)
        assert answer.location == f"/outer/v1/images/{answer.json['id']}"
        servers = client.get(f"{sent}/openapi.json", headers=named).json["servers"]
        assert servers == [{"url": "/outer"}]
    assert post(client, "/v1/images", headers={"X-Forwarded-Prefix": ""}).location == (
        f"{ROOT}/v1/images/3"
    )


def test_a_prefix_that_is_not_believed_changes_nothing(client):
    for header in ("X-Forwarded-Prefix", "X-Script-Name", "Script-Name"):
        page = client.get("/", headers={header: "/evil"}).get_data(as_text=True)
        assert "evil" not in page


def test_a_right_is_needed_below_it_as_at_the_root(make_app):
    client = make_app(root_path=ROOT, host="0.0.0.0").test_client()
    for path in ("/v1/images", "/v1/images/1", "/metrics"):
        assert client.get(ROOT + path).status_code == client.get(path).status_code == 401


def test_a_redirect_stays_below_it(client):
    answer = client.get(f"{ROOT}//v1//models")
    assert (answer.status_code, answer.location) == (308, f"http://localhost{ROOT}/v1/models")


@pytest.mark.parametrize("text", ["", "/"])
def test_the_root_is_no_root_path(make_app, text):
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
def test_what_is_no_path_stops_the_start(make_app, text):
    with pytest.raises(SettingError, match="EMOTION_ROOT_PATH"):
        make_app(root_path=text)


@pytest.mark.parametrize("text", ["/v1", "/v1/images", "/docs", "/assets/x", "/index", "/metrics"])
def test_a_path_of_the_service_itself_stops_the_start(make_app, text):
    with pytest.raises(SettingError, match="path .* of the service"):
        make_app(root_path=text)
