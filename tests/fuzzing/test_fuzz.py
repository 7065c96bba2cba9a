"""A short version of `make fuzz` with a fixed seed. Findings have their own tests elsewhere."""

import random
import re

import pytest
from schemathesis.core.failures import FailureGroup

from app.errors import UndecodableImage
from fuzzing import contract, decoder, http
from fuzzing.calls import Call, call_number, check_response
from fuzzing.file_pieces import pieces
from fuzzing.report import Finding, Report
from fuzzing.valid_images import valid_images

# pytest turns warnings of Pillow into errors; the service ignores them.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture
def small_app(make_app):
    return make_app(**http.LIMITS)


def test_good_images_are_valid_and_have_pieces():
    for data in valid_images():
        assert decoder.read(data, scale=1.0, color=True) == "read"
        assert all(length > 0 and at + length <= len(data) for at, length in pieces(data))


def test_damaged_images_are_decoded_or_rejected():
    report = decoder.run(2000, seed=0)
    assert report.results.total() == 2000
    # The damage is neither trivial nor rejected by the first check.
    assert min(report.results["read"], report.results["UndecodableImage"]) > 200


def test_equal_seeds_give_equal_inputs():
    assert decoder.image_number(1, 5) == decoder.image_number(1, 5)
    assert decoder.image_number(1, 5) != decoder.image_number(2, 5)
    assert call_number(1, 5) == call_number(1, 5)
    state = random.getstate()
    call_number(1, 6)
    assert random.getstate() == state


def test_hostile_requests_get_documented_responses(small_app):
    report = http.run(
        1000,
        seed=0,
        send=http.in_process(small_app.test_client()),
        name="in process",
        memory=lambda: 0.0,
    )
    expected = {"200", "201", "400", "401", "404", "405", "406", "413", "415", "422"}
    assert expected <= report.results.keys()


def test_application_fulfils_the_openapi_document(small_app, capsys):
    contract.run(small_app, examples=20, seed=0)
    output = capsys.readouterr().out
    for pattern in (
        r"GET /v1/images: 20 requests: \d+ × 200",
        r"POST /v1/images: 20 requests: \d+ × 201",
        r"DELETE /v1/images/{image_id}: \d+ requests: [1-9]\d* × 204",
        r"GET /metrics: \d+ requests: \d+ × 200, \d+ × 401",
    ):
        assert re.search(pattern, output), output


def test_undocumented_error_is_a_finding(monkeypatch):
    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(decoder, "ImageFile", fail)
    with pytest.raises(Finding, match="input 7 of seed 3: MemoryError"):
        decoder.run(5, seed=3, first=7)


def test_slow_input_is_a_finding(monkeypatch):
    def fail(*_args, **_options):
        raise UndecodableImage("slowly")

    monkeypatch.setattr(decoder, "ImageFile", fail)
    monkeypatch.setattr(decoder, "MAX_SECONDS", -1)
    with pytest.raises(Finding, match="input 0 of seed 1: took"):
        decoder.run(1, seed=1)


CALL = Call("GET", "/v1/images", {}, b"")
PROBLEM = b'{"type":"a:b","title":"t","status":404,"detail":"d","request_id":"r"}'
PROBLEM_HEADERS = {"X-Request-ID": "r", "Content-Type": "application/problem+json"}


def test_check_response_accepts_valid_responses():
    check_response(CALL, 404, PROBLEM_HEADERS, PROBLEM)
    check_response(CALL, 200, {"X-Request-ID": "r"}, b"{}")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (500, PROBLEM_HEADERS, PROBLEM.replace(b"404", b"500")),
        (503, PROBLEM_HEADERS, PROBLEM.replace(b"404", b"503")),
        (404, PROBLEM_HEADERS | {"Content-Type": "text/html"}, PROBLEM),
        (404, {"Content-Type": "application/problem+json"}, PROBLEM),
        (404, PROBLEM_HEADERS | {"X-Request-ID": "other"}, PROBLEM),
        (400, PROBLEM_HEADERS, PROBLEM),
        (404, PROBLEM_HEADERS, b"{}"),
        (404, PROBLEM_HEADERS, PROBLEM.replace(b'"d"', b'"Traceback"')),
        (404, PROBLEM_HEADERS, PROBLEM.replace(b'"d"', b'"%s"' % (b"d" * 70_000))),
        (200, PROBLEM_HEADERS, bytes(2_000_001)),
    ],
)
def test_check_response_finds_invalid_responses(status, headers, body):
    with pytest.raises(Finding):
        check_response(CALL, status, headers, body)


def test_contract_finds_response_with_wrong_schema(small_app, monkeypatch):
    monkeypatch.setattr("app.api.documents.time_text", lambda _analysis: 5)
    with pytest.raises(FailureGroup) as failure:
        contract.run(small_app, examples=20, seed=0)
    assert "violates schema" in str(failure.value.exceptions[0])


def test_report_measures_growth_from_middle_to_end():
    memory = iter([10.0, 20.0, 25.0])
    report = Report("what", 4, lambda: next(memory))
    for index in range(4):
        report.note(index, "read", 0.1 * index, "bytes")
    assert report.memory_mb == [10.0, 20.0, 25.0]
    assert report.growth == 0.25
    assert report.slowest_seconds == pytest.approx(0.3)
    assert "slowest: 300.0 ms, number 3" in str(report)
