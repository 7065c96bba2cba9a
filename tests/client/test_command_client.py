"""The commands use the detector that the service recommends, unless the user chooses one."""

import csv
import io
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from emotions import EmotionClient
from emotions.cli import main

from app.vision.detectors import DEFAULT, RECOMMENDED
from tests.client.conftest import Response, problem
from tests.client.test_with_service import PHOTO
from tests.conftest import image_file

WEIGHTS = pytest.mark.weights
PIPELINES = [
    {"name": name, "default": name == "a", "description": "d", "models": "m"} | extra
    for name, extra in (("a", {}), ("b", {"takes_detector": False}), ("c", {}))
]


def detector(name, **members):
    return {"name": name, "ready": True, "default": False, "description": "d"} | members


@pytest.fixture
def recommending(scripted):
    """The stub server, which recommends the detector `best`."""
    detectors = [detector("usual", default=True), detector("best", recommended=True)]
    scripted.listings = {
        "/v1/detectors": Response(200, {"detectors": detectors}),
        "/v1/pipelines": Response(200, {"pipelines": PIPELINES}),
    }
    return scripted


@pytest.fixture
def run_stub(recommending):
    return lambda *arguments: CliRunner().invoke(
        main, ["--server", recommending.url, *map(str, arguments)]
    )


def sent_detectors(server):
    """The option `detector` of each request with an image; None if it is absent."""
    found = [
        re.search(rb'name="detector"\r\n\r\n(\w+)', request.body) for request in server.requests
    ]
    return [each and each[1].decode() for each in found]


@WEIGHTS
def test_commands_use_recommended_detector_and_client_uses_default(run, service, tmp_path):
    assert RECOMMENDED != DEFAULT

    def analysed(*options):
        done = run("analyse", PHOTO, "--no-store", "--format", "json", *options)
        return json.loads(done.stdout)

    assert analysed()["detector"] == RECOMMENDED
    assert analysed("--detector", DEFAULT)["detector"] == DEFAULT
    alone = analysed("--pipeline", "single_shot")
    assert (alone["model"], alone["detector"]) == ("single_shot", "single_shot")
    (tmp_path / "a.jpg").write_bytes(PHOTO.read_bytes())
    watched = run("watch", tmp_path, "--once", "--json", "--interval", "0.05")
    assert json.loads(watched.stdout)["detector"] == RECOMMENDED
    with EmotionClient(service) as client:
        assert client.analyse(PHOTO, store=False).detector == DEFAULT


@WEIGHTS
def test_detectors_lists_recommended_and_default(run):
    rows = list(csv.DictReader(io.StringIO(run("detectors", "--format", "csv").stdout)))
    states = {row["name"]: row["state"] for row in rows}
    assert (states[DEFAULT], states[RECOMMENDED]) == ("default", "recommended")
    assert list(states.values()).count("recommended") == 1


def test_recommendation_is_requested_once_for_all_images(run_stub, recommending, tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    done = run_stub("analyse", tmp_path, "--save-annotated", tmp_path / "out", "--workers", 4)
    assert done.exit_code == 0
    assert sent_detectors(recommending) == ["best"] * 16
    assert recommending.listed == ["/v1/detectors", "/v1/pipelines"]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ([], "best"),
        (["--detector", "usual"], "usual"),
        (["--pipeline", "b"], None),
        (["--pipeline", "c"], "best"),
        (["--pipeline", "unknown"], None),
    ],
)
def test_options_of_command_decide_about_recommended_detector(
    run_stub, recommending, options, sent
):
    assert run_stub("analyse", PHOTO, *options).exit_code == 0
    assert sent_detectors(recommending) == [sent]


@pytest.mark.parametrize(
    "detectors",
    [
        [detector("usual", default=True, recommended=True), detector("best")],
        [detector("usual", default=True), detector("best", recommended=True, ready=False)],
        [detector("usual", default=True), detector("best")],  # an older service
    ],
    ids=["operator's choice", "not ready", "no recommendation"],
)
def test_service_decides_without_usable_recommendation(run_stub, recommending, detectors):
    recommending.listings["/v1/detectors"] = Response(200, {"detectors": detectors})
    assert run_stub("analyse", PHOTO).exit_code == 0
    assert sent_detectors(recommending) == [None]


def test_default_pipeline_that_takes_no_detector_gets_none(run_stub, recommending):
    pipelines = [{**each, "default": each["name"] == "b"} for each in PIPELINES]
    recommending.listings["/v1/pipelines"] = Response(200, {"pipelines": pipelines})
    assert run_stub("mood", PHOTO, "--by", "vote").exit_code == 1  # the stub sends no mood
    assert run_stub("mood", PHOTO, "--by", "vote", "--pipeline", "a").exit_code == 1
    assert sent_detectors(recommending) == [None, "best"]


def test_next_image_asks_again_after_error(run_stub, recommending, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    working = recommending.listings["/v1/detectors"]
    broken = problem(500, "internal", "it broke")
    broken.before = lambda: recommending.listings.update({"/v1/detectors": working})
    recommending.listings["/v1/detectors"] = broken
    done = run_stub("analyse", tmp_path, "--workers", 1)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"{tmp_path / '0.png'}: it broke", "1 of 3 images failed",
    ]  # fmt: skip
    assert sent_detectors(recommending) == ["best", "best"]


@pytest.mark.parametrize(("options", "sent"), [([], "best"), (["--detector", "usual"], "usual")])
def test_live_uses_recommended_or_chosen_detector(
    run_stub, recommending, monkeypatch, options, sent
):
    cv2 = pytest.importorskip("cv2")

    class Camera:
        def __init__(self, _number):
            pass

        def isOpened(self):
            return True

        def read(self):
            return True, np.zeros((48, 48, 3), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(cv2, "imshow", lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q"))
    assert run_stub("live", *options).exit_code == 0
    assert sent_detectors(recommending) == [sent]
