"""The quick version of `make fuzz`, the same each time; findings of the long one have tests of
their own where they belong."""

import random
import re

import pytest
from schemathesis.core.failures import FailureGroup

from app.errors import UndecodableImage
from fuzzing import contract, decoder, http
from fuzzing.calls import Call, call_number, check_answer
from fuzzing.file_pieces import pieces
from fuzzing.good_images import good_images
from fuzzing.report import Finding, Report

# Pillow's remarks, which pytest would make errors; the service leaves them out.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture
def small_app(make_app):
    return make_app(**http.LIMITS)


def test_what_is_damaged_was_good():
    for data in good_images():
        assert decoder.read(data, scale=1.0, color=True) == "read"
        assert all(length > 0 and at + length <= len(data) for at, length in pieces(data))


def test_damaged_pictures_are_read_or_refused():
    report = decoder.run(2000, seed=0)
    assert report.came.total() == 2000
    # Neither is all refused at the door, nor does the damage do nothing.
    assert min(report.came["read"], report.came["UndecodableImage"]) > 200


def test_the_same_seed_gives_the_same_input():
    assert decoder.picture_number(1, 5) == decoder.picture_number(1, 5)
    assert decoder.picture_number(1, 5) != decoder.picture_number(2, 5)
    assert call_number(1, 5) == call_number(1, 5)
    state = random.getstate()
    call_number(1, 6)
    assert random.getstate() == state


def test_hostile_requests_get_proper_answers(small_app):
    report = http.run(
        1000,
        seed=0,
        send=http.in_process(small_app.test_client()),
        what="in process",
        memory=lambda: 0.0,
    )
    seen = {"200", "201", "400", "401", "404", "405", "406", "413", "415", "422"}
    assert seen <= report.came.keys()


def test_the_document_is_kept_to(small_app, capsys):
    contract.run(small_app, examples=20, seed=0)
    said = capsys.readouterr().out
    for what in (
        r"GET /v1/images: 20 requests: \d+ × 200",
        r"POST /v1/images: 20 requests: \d+ × 201",
        r"DELETE /v1/images/{image_id}: \d+ requests: [1-9]\d* × 204",
        r"GET /metrics: \d+ requests: \d+ × 200, \d+ × 401",
    ):
        assert re.search(what, said), said


# ---------------------------------------------------------------- what would be found is found


def test_an_error_that_is_not_documented_is_a_finding(monkeypatch):
    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(decoder, "ImageFile", fail)
    with pytest.raises(Finding, match="input 7 of seed 3: MemoryError"):
        decoder.run(5, seed=3, first=7)


def test_an_input_that_takes_long_is_a_finding(monkeypatch):
    def fail(*_args, **_options):
        raise UndecodableImage("slowly")

    monkeypatch.setattr(decoder, "ImageFile", fail)
    monkeypatch.setattr(decoder, "MOST_SECONDS", -1)
    with pytest.raises(Finding, match="input 0 of seed 1: took"):
        decoder.run(1, seed=1)


CALL = Call("GET", "/v1/images", {}, b"")
PROBLEM = b'{"type":"a:b","title":"t","status":404,"detail":"d","request_id":"r"}'
OF_PROBLEM = {"X-Request-ID": "r", "Content-Type": "application/problem+json"}


def test_a_proper_answer_is_none():
    check_answer(CALL, 404, OF_PROBLEM, PROBLEM)
    check_answer(CALL, 200, {"X-Request-ID": "r"}, b"{}")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (500, OF_PROBLEM, PROBLEM.replace(b"404", b"500")),
        (503, OF_PROBLEM, PROBLEM.replace(b"404", b"503")),
        (404, OF_PROBLEM | {"Content-Type": "text/html"}, PROBLEM),
        (404, {"Content-Type": "application/problem+json"}, PROBLEM),
        (404, OF_PROBLEM | {"X-Request-ID": "other"}, PROBLEM),
        (400, OF_PROBLEM, PROBLEM),
        (404, OF_PROBLEM, b"{}"),
        (404, OF_PROBLEM, PROBLEM.replace(b'"d"', b'"Traceback"')),
        (404, OF_PROBLEM, PROBLEM.replace(b'"d"', b'"%s"' % (b"d" * 70_000))),
        (200, OF_PROBLEM, bytes(2_000_001)),
    ],
)
def test_an_improper_answer_is_a_finding(status, headers, body):
    with pytest.raises(Finding):
        check_answer(CALL, status, headers, body)


def test_an_answer_that_the_document_does_not_know_is_a_finding(small_app, monkeypatch):
    monkeypatch.setattr("app.api.documents.time_text", lambda _analysis: 5)
    with pytest.raises(FailureGroup) as found:
        contract.run(small_app, examples=20, seed=0)
    assert "violates schema" in str(found.value.exceptions[0])


def test_a_report_compares_the_middle_with_the_end():
    memory = iter([10.0, 20.0, 25.0])
    report = Report("what", 4, lambda: next(memory))
    for index in range(4):
        report.note(index, "read", 0.1 * index, "bytes")
    assert report.memory_mb == [10.0, 20.0, 25.0]
    assert report.growth == 0.25
    assert report.slowest_seconds == pytest.approx(0.3)
    assert "slowest: 300.0 ms, number 3" in str(report)
