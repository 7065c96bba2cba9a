"""/metrics, the request log, and the dashboard and alerts that use the metrics."""

import json
import logging
import re
import tomllib

import pytest
import requests

from app.api.problems import STATUS
from app.keys import issue
from app.logs import RequestContext, log_config
from app.settings import ROOT, VERSION
from app.store import queries
from app.store.keys import Right
from testbed.service import running_service
from tests.conftest import image_file, upload

ONE_FACE, TWO_FACES, BAD = image_file(50), image_file(100), b"no image"


def parse_metrics(text):
    """Parse the Prometheus text format into a dict of `name{labels}` to value."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def scrape(client):
    return parse_metrics(client.get("/metrics").text)


def post(client, *images, **options):
    return client.post("/v1/images", data={"image": [upload(data) for data in images]}, **options)


@pytest.fixture
def changes(client):
    """A function that returns the metrics that have changed since the start of the test."""
    before = scrape(client)

    def difference():
        after = scrape(client)
        return {
            name: value - before.get(name, 0)
            for name, value in after.items()
            if value != before.get(name, 0) and "_created" not in name
        }

    return difference


def test_requests_images_and_faces_are_counted(client, changes):
    post(client, TWO_FACES)
    post(client, ONE_FACE, BAD)
    client.get("/v1/images/77")
    client.get("/nope/somebody")
    metrics = changes()
    route = 'route="/v1/images",status="201"'
    assert metrics[f'emotion_requests_total{{method="POST",{route}}}'] == 2
    assert metrics['emotion_requests_total{method="none",route="none",status="404"}'] == 1
    assert metrics['emotion_request_duration_seconds_count{route="/v1/images"}'] == 2
    names = 'detector="stub",model="stub_8"'
    assert metrics[f"emotion_images_total{{{names}}}"] == 2
    assert metrics[f"emotion_faces_total{{{names}}}"] == 3
    for stage in ("decode", "detect", "classify", "store"):
        assert metrics[f'emotion_stage_duration_seconds_count{{stage="{stage}"}}'] == 2
    assert metrics['emotion_refused_total{reason="UnsupportedImageType"}'] == 1
    assert metrics['emotion_refused_total{reason="NotFound"}'] == 2
    assert not any("somebody" in name for name in metrics)


def test_replay_is_not_counted_as_image(client, changes):
    for _ in range(3):
        post(client, ONE_FACE, headers={"Idempotency-Key": "a"})
    assert changes()['emotion_images_total{detector="stub",model="stub_8"}'] == 1


def test_versions_are_exported(client):
    metrics = scrape(client)
    assert metrics[f'emotion_build_info{{version="{VERSION}"}}'] == 1
    assert any(re.match(r'emotion_model_info{model="stub_8",', name) for name in metrics)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_in_flight_gauge_falls_after_errors(client, app, monkeypatch):
    monkeypatch.setattr(app.extensions["engine"], "analyse", lambda *_, **__: 1 / 0)
    assert post(client, ONE_FACE).status_code == 500
    assert post(client, BAD).status_code in (415, 500)
    assert client.get("/v1/images", headers={"Authorization": "x"}).status_code == 401
    assert scrape(client)["emotion_requests_in_flight"] == 1  # the scrape itself


@pytest.fixture
def log(caplog):
    """The log records, with the request id and the key id that the service adds."""
    caplog.set_level(logging.DEBUG, logger="app")
    context = RequestContext()
    caplog.handler.addFilter(context)
    yield caplog
    caplog.handler.removeFilter(context)


def make_key(app, *rights):
    with app.app_context():
        key = issue("a test", rights)
    return key.split("_")[1], {"Authorization": f"Bearer {key}"}


def test_log_records_have_request_id_and_key_id(app, client, log):
    key_id, key_headers = make_key(app, Right.ANALYSE, Right.ERASE)
    log.clear()
    image_id = post(client, ONE_FACE, headers=key_headers).json["id"]
    client.delete(f"/v1/images/{image_id}", headers={**key_headers, "X-Request-ID": "erasure"})
    client.get("/v1/images", headers=key_headers)
    stored, post_line, erased, erase_line, rejected = log.records
    assert {record.key_id for record in log.records} == {key_id}
    assert (stored.event, stored.image_id) == ("image_stored", image_id)
    assert {record.levelname for record in log.records} == {"INFO"}
    assert stored.request_id == post_line.request_id
    assert erased.name == "app.store.erasure_log"
    assert str(image_id) in erased.getMessage()
    assert erased.request_id == erase_line.request_id == "erasure"
    assert rejected.status == 403


def test_key_id_is_logged_for_verified_key_only(app, client, log):
    post(client, ONE_FACE)
    client.delete("/v1/images?min_faces=0")
    key_id, key_headers = make_key(app, Right.READ)
    log.clear()
    client.get("/v1/models", headers=key_headers)  # a public route does not check the key
    client.get("/v1/images", headers={"Authorization": key_headers["Authorization"] + "x"})
    client.get("/nope", headers=key_headers)
    assert [record.key_id for record in log.records] == [None] * 3
    assert key_id not in "".join(str(vars(record)) for record in log.records)


def test_replay_is_not_logged_as_stored(client, log):
    for _ in range(2):
        post(client, ONE_FACE, headers={"Idempotency-Key": "a"})
    post(client, ONE_FACE, query_string={"store": "false"})
    events = [record.event for record in log.records if hasattr(record, "event")]
    assert events == ["image_stored"]


def test_probes_are_logged_at_debug_unless_they_fail(app, client, log, monkeypatch):
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models"):
        client.get(path)
    assert [record.levelname for record in log.records] == ["DEBUG"] * 3 + ["INFO"]
    log.clear()
    monkeypatch.setattr(queries, "revision_problem", lambda: "it is not migrated")
    assert client.get("/readyz").status_code == 503
    assert [record.levelname for record in log.records] == ["INFO"]


@pytest.mark.parametrize(
    ("level", "service_level", "library_level"),
    [
        ("debug", "DEBUG", "INFO"),
        ("info", "INFO", "INFO"),
        ("warning", "WARNING", "WARNING"),
        ("error", "ERROR", "ERROR"),
    ],
)
def test_libraries_never_log_below_info(level, service_level, library_level):
    """At level DEBUG, Pillow logs values of EXIF tags, and gunicorn logs request targets."""
    config = log_config(level)
    assert config["loggers"]["app"]["level"] == service_level
    assert config["root"]["level"] == library_level
    assert config["loggers"]["gunicorn.error"]["level"] == library_level


def test_request_record_has_no_client_data(client, log):
    name = "somebodys-secret.png"
    response = client.post(
        "/v1/images",
        data={"image": upload(TWO_FACES, name)},
        headers={"X-Request-ID": "mine-1", "Authorization": "Bearer emo_a_secret"},
    )
    assert response.status_code == 401
    response = client.post(
        f"/v1/images?file_name={name}",
        data={"image": upload(TWO_FACES, name)},
        headers={"X-Request-ID": "mine-2"},
    )
    rejected, accepted = [each for each in log.records if each.message == "request"]
    assert (rejected.request_id, rejected.status, rejected.faces) == ("mine-1", 401, None)
    assert (accepted.request_id, accepted.route, accepted.method) == (
        *("mine-2", "/v1/images", "POST"),
    )
    assert (accepted.status, accepted.faces) == (201, 2)
    assert accepted.milliseconds > 0
    assert "secret" not in "".join(str(vars(each)) for each in log.records)


@pytest.mark.weights
def test_several_workers_count_together_and_log_json(tmp_path):
    photo = (ROOT / "docs" / "astronaut.jpg").read_bytes()
    with running_service(tmp_path, EMOTION_WORKERS="2") as url:
        for _ in range(6):
            response = requests.post(
                f"{url}/v1/images", files={"image": ("secret.jpg", photo)}, timeout=30
            )
            assert response.status_code == 201
        scrapes = [parse_metrics(requests.get(f"{url}/metrics", timeout=10).text) for _ in range(4)]
    for each in scrapes:
        assert each['emotion_images_total{detector="haar",model="custom_net_8_int8"}'] == 6
        assert each["emotion_requests_in_flight"] == 1
        assert each['emotion_stage_duration_seconds_count{stage="store"}'] == 6
    lines = [json.loads(line) for line in (tmp_path / "service.log").read_text().splitlines()]
    posts = [line for line in lines if line["message"] == "request" and line["method"] == "POST"]
    assert [line["faces"] for line in posts] == [1] * 6
    assert posts[0].keys() >= {
        "time",
        "level",
        "request_id",
        "route",
        "status",
        "problem",
        "milliseconds",
    }
    assert "secret" not in (tmp_path / "service.log").read_text()


NAMES = re.compile(r"\bemotion_\w+")


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "prometheus-alerts.yaml"])
def test_dashboard_and_alerts_use_existing_metrics(client, file):
    post(client, TWO_FACES, BAD)
    existing = {re.split(r"[{ ]", name)[0] for name in scrape(client)}
    used = set(NAMES.findall((ROOT / "docker" / file).read_text()))
    assert len(used) >= 3
    assert used <= existing


def test_dashboard_labels_exist_in_metrics(client):
    post(client, TWO_FACES, BAD)
    metrics = scrape(client)
    dashboard = json.loads((ROOT / "docker" / "grafana-dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(targets) > 8
    for target in targets:
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        names = NAMES.findall(target["expr"])
        assert any(
            labels <= set(re.findall(r'(\w+)="', each))
            for each in metrics
            if each.startswith(names[0])
        ), target


def test_alerts_use_existing_reasons_and_routes(app):
    rules = (ROOT / "docker" / "prometheus-alerts.yaml").read_text()
    reasons = {
        name for part in re.findall(r'reason=~?"([^"]+)"', rules) for name in part.split("|")
    }
    assert len(reasons) > 3
    assert reasons <= {error.__name__ for error in STATUS}
    routes = set(re.findall(r'route="([^"]+)"', rules))
    assert routes <= {rule.rule for rule in app.url_map.iter_rules()}
