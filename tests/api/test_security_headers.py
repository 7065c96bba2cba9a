"""Security headers of all responses, and the files of /docs."""

import pytest


def test_docs_page_loads_only_local_files(client):
    page = client.get("/docs").get_data(as_text=True)
    assert "http" not in page
    assert "<script>" not in page  # the content security policy blocks inline scripts
    with client.get("/docs/start.js") as script:
        assert script.content_type.startswith("text/javascript")
        assert '"../openapi.json"' in script.get_data(as_text=True)
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert f'"docs/assets/{asset}"' in page
        with client.get(f"/docs/assets/{asset}") as response:
            assert response.status_code == 200
    assert client.get("/docs/assets/../__init__.py").status_code == 404


@pytest.mark.parametrize("path", ["/v1/images", "/nope", "/docs", "/healthz", "/openapi.json"])
def test_each_response_has_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert not {"Access-Control-Allow-Origin", "Set-Cookie"} & set(headers.keys())


def test_assets_can_be_cached(client):
    with client.get("/docs/assets/swagger-ui.css") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["ETag"]
