"""Bombs are rejected or decoded to the first frame, with little time and memory."""

import sys

import pytest

from app.settings import ROOT
from fuzzing.bombs import BOMBS, HEAD, LARGEST, MAX_MEGABYTES, MAX_MILLISECONDS
from fuzzing.bombs.long_work import jpeg_scans
from fuzzing.reading_cost import Meter

SLOW_MACHINE = 20  # factor for machines that are slower than the reference machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured with /proc")


@pytest.fixture(scope="module")
def meter():
    with Meter() as meter:
        yield meter


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_needs_little_time_and_memory(meter, name):
    cost = meter.cost(BOMBS[name]())
    assert cost.megabytes < MAX_MEGABYTES
    assert cost.milliseconds < MAX_MILLISECONDS * SLOW_MACHINE
    if "x" in cost.result:  # the first frame, or an image with unusual tables
        width, height = map(int, cost.result.removesuffix(" read").split("x"))
        assert width * height <= 10_000
    else:
        assert cost.result in ("ImageTooLarge", "UndecodableImage", "UnsupportedImageType")


def test_meter_measures_the_memory_of_an_image(meter):
    """Ten million grey pixels and a copy. Without this test, a meter that returns 0 would pass."""
    for _ in range(2):  # the second run does not reuse memory of the first
        cost = meter.cost(jpeg_scans(1, side=3200), color=False)
        assert cost.result == "3200x3200 read"
        assert 10 < cost.megabytes < 100


def test_meter_raises_if_the_process_ends():
    with Meter() as meter:
        assert meter.cost(b"").result == "NoImage"
        meter.process.kill()
        with pytest.raises(RuntimeError, match="ended the process"):
            meter.cost(b"")


def test_page_has_the_tables_of_the_bombs():
    page = (ROOT / "docs" / "hostile-input.md").read_text("utf-8")
    head = f"| {' | '.join(HEAD)} |\n"
    assert page.count(head) == 2
    names = [
        line.split(" | ")[0].removeprefix("| ")
        for part in page.split(head)[1:]
        for line in part.split("\n\n")[0].splitlines()[1:]
    ]
    assert names == [*BOMBS, *LARGEST]
