"""The configuration of docs/behind-nginx.md in a real nginx: headers, paths, temporary files."""

import re
from urllib.parse import urljoin

import pytest
import requests
import trustme

from app import create_app
from app.keys import issue
from app.settings import ROOT, Settings
from app.store.keys import Right
from testbed.nginx import Nginx, find_nginx
from testbed.ports import free_port
from testbed.service import Service
from tests.conftest import require
from tests.upstream import Server, http_response

PAGE = (ROOT / "docs" / "behind-nginx.md").read_text("utf-8")
(SITE,) = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PHOTO = (ROOT / "docs" / "astronaut.jpg").read_bytes()


class Site(Nginx):
    """nginx with a configuration of the page, in front of `upstream`, on free ports."""

    def __init__(self, folder, upstream, changes, site):
        binary = find_nginx()
        require(binary, "no nginx: .ci/services installs it")
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "emotion.example")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(folder / "cert.pem", append=True)
        secure, plain = free_port(), free_port()
        self.url, self.plain = f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}"
        self.session = requests.Session()
        self.session.verify = str(folder / "ca.pem")
        self.session.trust_env = False  # the environment may define a CA bundle and proxies
        here = {"listen 80;": f"listen 127.0.0.1:{plain};", "http://127.0.0.1:5000": upstream}
        if site == SITE:
            here |= {
                "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
                "/etc/ssl/emotion/fullchain.pem": f"{folder}/cert.pem",
                "/etc/ssl/emotion/privkey.pem": f"{folder}/key.pem",
            }
        # The changes of a test come first: their text may contain text that is replaced afterwards.
        for old, new in {**changes, **here}.items():
            assert site.count(old) == 1
            site = site.replace(old, new)
        super().__init__(binary, folder, site)


@pytest.fixture
def upstream():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def nginx(tmp_path):
    started = []

    def start(upstream, changes=None, site=SITE):
        (folder := tmp_path / f"nginx{len(started)}").mkdir()
        nginx = Site(folder, upstream, changes or {}, site)
        started.append(nginx)
        nginx.start()
        return nginx

    yield start
    for nginx in started:
        nginx.stop()


def test_nginx_replaces_the_forwarding_headers_of_clients(nginx, upstream):
    upstream.responses["/v1/images"] = http_response(b"{}")
    site = nginx(f"http://127.0.0.1:{upstream.port}")
    claims = {
        "Host": "emotion.example",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=10.0.0.1",
        "X-Request-ID": "mine",
    }
    response = site.session.get(f"{site.url}/v1/images", headers=claims, timeout=10)
    assert response.status_code == 200
    assert response.headers["Strict-Transport-Security"]
    head = {
        name.lower(): text
        for name, text in re.findall(r"^([\w-]+): (.*?)\r?$", upstream.heads[0], re.M)
    }
    assert head["host"] == head["x-forwarded-host"] == "emotion.example"
    assert head["x-forwarded-for"] == "127.0.0.1"
    assert head["x-forwarded-proto"] == "https"
    assert re.fullmatch(r"[0-9a-f]{32}", head["x-request-id"])
    assert "x-forwarded-prefix" not in head
    assert "forwarded" not in head


def test_nginx_redirects_http_to_https(nginx, upstream):
    site = nginx(f"http://127.0.0.1:{upstream.port}")
    response = site.session.get(
        f"{site.plain}/v1/images?a=b",
        headers={"Host": "emotion.example"},
        allow_redirects=False,
        timeout=10,
    )
    assert response.status_code == 301
    assert response.headers["Location"] == "https://emotion.example/v1/images?a=b"
    assert upstream.heads == []


@pytest.mark.weights
def test_nginx_passes_images_on_without_temporary_files(nginx, tmp_path):
    service = Service(tmp_path, EMOTION_PROXIES="1")
    service.start()
    try:
        site = nginx(service.url)

        def post(**arguments):
            files = [("image", ("a.jpg", PHOTO + bytes(9_000_000))) for _ in range(3)]
            return site.session.post(f"{site.url}/v1/images", files=files, timeout=60, **arguments)

        # The service listens on the loopback address, but clients of a proxy are not local.
        assert post().status_code == 401
        with create_app(
            Settings(database_url=f"sqlite:///{tmp_path / 'service.db'}")
        ).app_context():
            key = issue("nginx", [Right.ANALYSE, Right.READ])
        headers = {"Authorization": f"Bearer {key}"}
        response = post(headers=headers)
        assert response.status_code == 201
        assert len(response.json()["images"]) == 3
        drawn = site.session.post(
            f"{site.url}/v1/images?store=false",
            data=PHOTO,
            headers={**headers, "Content-Type": "image/jpeg", "Accept": "image/png"},
            timeout=60,
        )
        assert drawn.content.startswith(b"\x89PNG")
        pages = site.session.get(f"{site.url}/v1/images?page_size=1", headers=headers, timeout=10)
        assert pages.links["next"]["url"].startswith(("/", "https://"))
        too_large = site.session.post(
            f"{site.url}/v1/images",
            data=bytes(33_000_000),
            headers={**headers, "Content-Type": "image/jpeg"},
            timeout=60,
        )
        assert too_large.status_code == 413
        assert "temporary file" not in site.log
    finally:
        service.stop()


LOCATION, ADDRESS = (
    re.search(r"^```nginx-location\n(.*?)\n *proxy_pass (.*?);", PAGE, re.MULTILINE | re.DOTALL)
).groups()
# Browsers send the port in the Host header. Here it is not 443.
PORT = {f"{name} $host;": f"{name} $host:$server_port;" for name in ("_header Host", "-Host")}
KEPT = PORT | {"location / {": LOCATION}
REMOVED = KEPT | {f"proxy_pass {ADDRESS};": f"proxy_pass {ADDRESS}/;"}
NAMED = REMOVED | {'X-Forwarded-Prefix "";': "X-Forwarded-Prefix /emotion;"}
BELOW = {  # the rows of the page's table for which all links start with the prefix
    "keeps the prefix": (KEPT, {"EMOTION_ROOT_PATH": "/emotion"}),
    "removes the prefix": (REMOVED, {"EMOTION_ROOT_PATH": "/emotion"}),
    "removes the prefix and sends `X-Forwarded-Prefix: /emotion`": (NAMED, {}),
}


@pytest.fixture
def below_a_path(nginx, tmp_path):
    """A function that starts nginx and the service as in a row of the table."""
    started = []

    def start(changes, settings):
        service = Service(tmp_path, EMOTION_PROXIES="1", EMOTION_ALLOW_ANONYMOUS="true", **settings)
        started.append(service)
        service.start()
        return nginx(service.url, changes)

    yield start
    for service in started:
        service.stop()


@pytest.mark.weights
@pytest.mark.parametrize("proxy", BELOW)
def test_api_works_below_a_path_of_a_larger_site(below_a_path, proxy):
    assert f"| {proxy} |" in PAGE
    site = below_a_path(*BELOW[proxy])
    posted = [
        site.session.post(
            f"{site.url}/emotion/v1/images",
            data=PHOTO,
            headers={"Content-Type": "image/jpeg"},
            timeout=60,
        )
        for _ in range(2)
    ]
    assert posted[0].headers["Location"] == "/emotion/v1/images/1"
    located = site.session.get(urljoin(posted[0].url, posted[0].headers["Location"]), timeout=10)
    assert located.json()["id"] == 1
    page = site.session.get(f"{site.url}/emotion/v1/images?page_size=1", timeout=10)
    following = urljoin(page.url, page.links["next"]["url"])
    assert site.session.get(following, timeout=10).json()["images"][0]["id"] == 1
    document = site.session.get(f"{site.url}/emotion/openapi.json", timeout=10).json()
    assert document["servers"] == [{"url": "/emotion"}]
    assert site.session.get(f"{site.url}/v1/images", timeout=10).status_code == 404


@pytest.mark.weights
@pytest.mark.browser
@pytest.mark.parametrize("proxy", BELOW)
def test_pages_work_below_a_path_and_send_no_requests_outside_it(browser, below_a_path, proxy):
    site = below_a_path(*BELOW[proxy])
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    urls, problems = [], []
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda it: it.type in ("error", "warning") and problems.append(it.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{site.url}/emotion/")
    page.locator("#file").set_input_files(ROOT / "docs" / "astronaut.jpg")
    page.locator("#faces .card").wait_for()
    page.locator("nav a[href='#history']").click()
    page.locator("#rows tr", has_text="astronaut.jpg").first.wait_for()
    page.locator("#summary-moods [data-label=happiness]").first.wait_for()
    page.get_by_role("link", name="API").click()
    page.wait_for_selector(".opblock-summary")
    assert page.url == f"{site.url}/emotion/docs"
    page.locator(".opblock-get", has_text="/v1/detectors").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    response = page.locator(".live-responses-table .highlight-code").first
    response.wait_for()
    assert '"haar"' in response.inner_text()
    page.goto(f"{site.url}/emotion")  # nginx adds the slash
    page.locator("#pipeline option").first.wait_for(state="attached")
    context.close()
    assert problems == []
    assert len(urls) > 20
    below = (f"{site.url}/emotion/", f"blob:{site.url}/", "data:")
    assert [url for url in urls if not url.startswith(below)] == [f"{site.url}/emotion"]


@pytest.mark.weights
@pytest.mark.browser
def test_page_works_if_the_proxy_sends_no_prefix(browser, below_a_path):
    assert "| removes the prefix and sends no header |" in PAGE
    site = below_a_path(REMOVED, {})
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{site.url}/emotion/")
    page.locator("#file").set_input_files(ROOT / "docs" / "astronaut.jpg")
    page.locator("#faces .card").wait_for()
    context.close()


BARE = """
server {
    listen 80;
    location / {
        proxy_pass http://127.0.0.1:5000;
        # more
    }
}
"""
# Directives that are common in the configurations of the web. The text is the sign by which the
# service detects the proxy.
DIRECTIVES = {
    "nothing": ("", "HTTP/1.0"),
    "the address": ("proxy_set_header X-Real-IP $remote_addr;", "header X-Real-IP"),
    "a persistent connection": (
        'proxy_http_version 1.1; proxy_set_header Connection "";'
        "proxy_set_header X-Real-IP $remote_addr;",
        "header X-Real-IP",
    ),
    "the list of addresses": (
        "proxy_http_version 1.1;proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "header X-Forwarded-For",
    ),
    "the host": (
        "proxy_http_version 1.1; proxy_set_header Host $http_host;",
        "the Host header is not 127.0.0.1",
    ),
    "an empty address": (
        'proxy_set_header X-Real-IP ""; proxy_set_header X-Forwarded-For "";',
        "HTTP/1.0",
    ),
}


@pytest.fixture(scope="module")
def service_without_key(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"))
    service.start()
    yield service
    service.stop()


@pytest.mark.weights
@pytest.mark.parametrize("name", DIRECTIVES)
def test_service_without_a_key_rejects_clients_of_nginx(nginx, service_without_key, name):
    directives, sign = DIRECTIVES[name]
    site = nginx(service_without_key.url, {"# more": directives}, site=BARE)
    calls = [
        ("GET", "/v1/images", {}),
        ("POST", "/v1/images?store=false", {"files": {"image": ("a.jpg", PHOTO)}}),
        ("DELETE", "/v1/images?min_faces=0", {}),
        ("GET", "/metrics", {}),
    ]
    for method, path, arguments in calls:
        response = site.session.request(method, site.plain + path, timeout=30, **arguments)
        assert response.status_code == 401
        assert sign in response.json()["detail"]
        assert "keys create" in response.json()["detail"]
    assert site.session.get(f"{site.plain}/v1/models", timeout=10).status_code == 200
    direct = site.session.get(f"{service_without_key.url}/v1/images", timeout=10)
    assert direct.status_code == 200


@pytest.mark.weights
def test_local_clients_cannot_set_the_scheme_or_the_path(service_without_key):
    """By default gunicorn trusts headers for both from 127.0.0.1."""
    response = requests.post(
        f"{service_without_key.url}/evil/v1/images",
        data=PHOTO,
        headers={"Content-Type": "image/jpeg", "SCRIPT_NAME": "/evil"},
        timeout=30,
    )
    assert response.status_code == 404
