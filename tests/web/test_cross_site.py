"""Cross-site requests of a real browser to a service that allows anonymous access."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from app.settings import ROOT
from testbed.service import running_service

pytestmark = [pytest.mark.weights, pytest.mark.browser]
PHOTO = (ROOT / "docs" / "astronaut.jpg").read_bytes()
PAGE = b"<!doctype html><title>another site</title>"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("a"), EMOTION_ALLOW_ANONYMOUS="true") as url:
        yield url


@pytest.fixture(scope="module")
def other_site():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


ATTACKS = {
    "post without CORS": """url => fetch(url + '/v1/images', {method: 'POST', mode: 'no-cors',
        body: new Blob([Uint8Array.from(atob(photo), c => c.charCodeAt(0))])})""",
    "post of a form without CORS": """url => {
        const form = new FormData();
        const bytes = Uint8Array.from(atob(photo), c => c.charCodeAt(0));
        form.append('image', new Blob([bytes]), 'a.jpg');
        return fetch(url + '/v1/images', {method: 'POST', mode: 'no-cors', body: form})}""",
    "delete": "url => fetch(url + '/v1/images?min_faces=0', {method: 'DELETE'})",
    "read": "url => fetch(url + '/v1/images')",
    "read without CORS": "url => fetch(url + '/v1/images', {mode: 'no-cors'})",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_other_site_cannot_post_delete_or_read(browser, service, other_site, attack):
    stored_id = requests.post(
        f"{service}/v1/images", data=PHOTO, headers={"Content-Type": "image/jpeg"}, timeout=30
    ).json()["id"]
    before = [image["id"] for image in images(service)]
    context = browser.new_context()
    page = context.new_page()
    statuses = []

    def record_status(response):
        if response.url.startswith(service):
            statuses.append(response.status)

    page.on("response", record_status)
    page.goto(other_site)
    page.evaluate("data => { window.photo = data }", encoded())
    read = page.evaluate(
        f"""async url => {{ try {{ return await (await ({ATTACKS[attack]})(url)).text() }}
                            catch (error) {{ return '' }} }}""",
        service,
    )
    context.close()
    assert read == ""
    assert [image["id"] for image in images(service)] == before
    assert stored_id in before
    assert 201 not in statuses


def test_page_of_service_can_post_and_delete(browser, service):
    context = browser.new_context()
    page = context.new_page()
    page.goto(service)
    page.evaluate("data => { window.photo = data }", encoded())
    statuses = page.evaluate(
        """async () => {
            const form = new FormData();
            const bytes = Uint8Array.from(atob(photo), c => c.charCodeAt(0));
            form.append('image', new Blob([bytes]), 'a.jpg');
            const posted = await fetch('/v1/images', {method: 'POST', body: form});
            const erased = await fetch('/v1/images?min_faces=0', {method: 'DELETE'});
            return [posted.status, erased.status];
        }"""
    )
    context.close()
    assert statuses == [201, 200]


def images(service):
    return requests.get(f"{service}/v1/images", timeout=10).json()["images"]


def encoded():
    return base64.b64encode(PHOTO).decode()
