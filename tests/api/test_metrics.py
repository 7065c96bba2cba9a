"""/metrics and the log: what is counted and written, and what is not."""

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
from tests.conftest import picture, upload

ONE_FACE, TWO_FACES, BAD = picture(50), picture(100), b"no picture"


def numbers(text):
    """{name{labels}: value} of Prometheus' text."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def scrape(client):
    return numbers(client.get("/metrics").text)


def post(client, *datas, **more):
    return client.post("/v1/images", data={"image": [upload(data) for data in datas]}, **more)


@pytest.fixture
def grown(client):
    """How much each number grew since, leaving out what did not."""
    before = scrape(client)

    def difference():
        after = scrape(client)
        return {
            name: value - before.get(name, 0)
            for name, value in after.items()
            if value != before.get(name, 0) and "_created" not in name
        }

    return difference


def test_requests_pictures_and_faces_are_counted(client, grown):
    post(client, TWO_FACES)
    post(client, ONE_FACE, BAD)
    client.get("/v1/images/77")
    client.get("/nope/somebody")
    said = grown()
    route = 'route="/v1/images",status="201"'
    assert said[f'emotion_requests_total{{method="POST",{route}}}'] == 2
    assert said['emotion_requests_total{method="none",route="none",status="404"}'] == 1
    assert said['emotion_request_duration_seconds_count{route="/v1/images"}'] == 2
    names = 'detector="stub",model="stub_8"'
    assert said[f"emotion_images_total{{{names}}}"] == 2
    assert said[f"emotion_faces_total{{{names}}}"] == 3
    for stage in ("decode", "detect", "classify", "store"):
        assert said[f'emotion_stage_duration_seconds_count{{stage="{stage}"}}'] == 2
    assert said['emotion_refused_total{reason="UnsupportedImageType"}'] == 1
    assert said['emotion_refused_total{reason="NotFound"}'] == 2
    assert not any("somebody" in name for name in said)


def test_a_retry_is_no_other_picture(client, grown):
    for _ in range(3):
        post(client, ONE_FACE, headers={"Idempotency-Key": "a"})
    assert grown()['emotion_images_total{detector="stub",model="stub_8"}'] == 1


def test_what_runs_is_said(client):
    said = scrape(client)
    assert said[f'emotion_build_info{{version="{VERSION}"}}'] == 1
    assert any(re.match(r'emotion_model_info{model="stub_8",', name) for name in said)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_in_flight_ends_with_the_request_however_it_ends(client, app, monkeypatch):
    monkeypatch.setattr(app.extensions["engine"], "analyse", lambda *_, **__: 1 / 0)
    assert post(client, ONE_FACE).status_code == 500
    assert post(client, BAD).status_code in (415, 500)
    assert client.get("/v1/images", headers={"Authorization": "x"}).status_code == 401
    assert scrape(client)["emotion_requests_in_flight"] == 1  # the scrape itself


@pytest.fixture
def log(caplog):
    """What is logged, as the log of the service has it."""
    caplog.set_level(logging.DEBUG, logger="app")
    context = RequestContext()
    caplog.handler.addFilter(context)
    yield caplog
    caplog.handler.removeFilter(context)


def make_key(app, *rights):
    with app.app_context():
        key = issue("a test", rights)
    return key.split("_")[1], {"Authorization": f"Bearer {key}"}


def test_every_record_of_a_request_names_the_request_and_the_key(app, client, log):
    key_id, shown = make_key(app, Right.ANALYSE, Right.ERASE)
    log.clear()
    image_id = post(client, ONE_FACE, headers=shown).json["id"]
    client.delete(f"/v1/images/{image_id}", headers={**shown, "X-Request-ID": "erasure"})
    client.get("/v1/images", headers=shown)
    stored, post_line, erased, erase_line, refused = log.records
    assert {record.key_id for record in log.records} == {key_id}
    assert (stored.event, stored.image_id) == ("image_stored", image_id)
    assert {record.levelname for record in log.records} == {"INFO"}
    assert stored.request_id == post_line.request_id
    assert erased.name == "app.store.erasure_log"
    assert str(image_id) in erased.getMessage()
    assert erased.request_id == erase_line.request_id == "erasure"
    assert refused.status == 403


def test_without_a_key_that_holds_none_is_logged(app, client, log):
    post(client, ONE_FACE)
    client.delete("/v1/images?min_faces=0")
    key_id, shown = make_key(app, Right.READ)
    log.clear()
    client.get("/v1/models", headers=shown)  # is not looked at
    client.get("/v1/images", headers={"Authorization": shown["Authorization"] + "x"})
    client.get("/nope", headers=shown)
    assert [record.key_id for record in log.records] == [None] * 3
    assert key_id not in "".join(str(vars(record)) for record in log.records)


def test_what_was_kept_before_is_not_logged_as_stored_again(client, log):
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
    ("level", "own", "of_others"),
    [
        ("debug", "DEBUG", "INFO"),
        ("info", "INFO", "INFO"),
        ("warning", "WARNING", "WARNING"),
        ("error", "ERROR", "ERROR"),
    ],
)
def test_at_debug_libraries_say_no_more_than_at_info(level, own, of_others):
    """Pillow would log values of EXIF tags, and gunicorn the targets of requests."""
    config = log_config(level)
    assert config["loggers"]["app"]["level"] == own
    assert config["root"]["level"] == config["loggers"]["gunicorn.error"]["level"] == of_others


def test_the_log_says_what_was_asked_and_nothing_of_whom(client, log):
    name = "somebodys-secret.png"
    answer = client.post(
        "/v1/images",
        data={"image": upload(TWO_FACES, name)},
        headers={"X-Request-ID": "mine-1", "Authorization": "Bearer emo_a_secret"},
    )
    assert answer.status_code == 401
    answer = client.post(
        f"/v1/images?file_name={name}",
        data={"image": upload(TWO_FACES, name)},
        headers={"X-Request-ID": "mine-2"},
    )
    refused, done = [each for each in log.records if each.message == "request"]
    assert (refused.request_id, refused.status, refused.faces) == ("mine-1", 401, None)
    assert (done.request_id, done.route, done.method) == ("mine-2", "/v1/images", "POST")
    assert (done.status, done.faces) == (201, 2)
    assert done.milliseconds > 0
    assert "secret" not in "".join(str(vars(each)) for each in log.records)


@pytest.mark.weights
def test_several_workers_count_together_and_log_json(tmp_path):
    photo = (ROOT / "docs" / "astronaut.jpg").read_bytes()
    with running_service(tmp_path, EMOTION_WORKERS="2") as url:
        for _ in range(6):
            answer = requests.post(
                f"{url}/v1/images", files={"image": ("secret.jpg", photo)}, timeout=30
            )
            assert answer.status_code == 201
        said = [numbers(requests.get(f"{url}/metrics", timeout=10).text) for _ in range(4)]
    for each in said:
        assert each['emotion_images_total{detector="haar",model="custom_net_8"}'] == 6
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
def test_dashboard_and_alerts_ask_for_numbers_that_there_are(client, file):
    post(client, TWO_FACES, BAD)
    there = {re.split(r"[{ ]", name)[0] for name in scrape(client)}
    asked = set(NAMES.findall((ROOT / "docker" / file).read_text()))
    assert len(asked) >= 3
    assert asked <= there


def test_the_dashboards_labels_are_those_of_its_numbers(client):
    post(client, TWO_FACES, BAD)
    said = scrape(client)
    dashboard = json.loads((ROOT / "docker" / "grafana-dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(targets) > 8
    for target in targets:
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        names = NAMES.findall(target["expr"])
        assert any(
            labels <= set(re.findall(r'(\w+)="', each))
            for each in said
            if each.startswith(names[0])
        ), target


def test_the_alerts_name_reasons_and_routes_that_there_are(app):
    rules = (ROOT / "docker" / "prometheus-alerts.yaml").read_text()
    reasons = {
        name for part in re.findall(r'reason=~?"([^"]+)"', rules) for name in part.split("|")
    }
    assert len(reasons) > 3
    assert reasons <= {error.__name__ for error in STATUS}
    routes = set(re.findall(r'route="([^"]+)"', rules))
    assert routes <= {rule.rule for rule in app.url_map.iter_rules()}
