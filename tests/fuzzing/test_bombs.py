"""Bombs are refused, or give their first frame, for little time and memory."""

import sys

import pytest

from fuzzing.bombs import BOMBS, MOST_MEGABYTES, MOST_MILLISECONDS
from fuzzing.bombs.long_work import jpeg_scans
from fuzzing.reading_cost import Meter

SLOW_MACHINE = 20  # times as slow as those that the limit of time is for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")


@pytest.fixture(scope="module")
def meter():
    with Meter() as meter:
        yield meter


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(meter, name):
    its = meter.cost(BOMBS[name]())
    assert its.megabytes < MOST_MEGABYTES
    assert its.milliseconds < MOST_MILLISECONDS * SLOW_MACHINE
    if "x" in its.came:  # of several frames the first, of a picture with odd tables the picture
        width, height = map(int, its.came.removesuffix(" read").split("x"))
        assert width * height <= 10_000
    else:
        assert its.came in ("ImageTooLarge", "UndecodableImage", "UnsupportedImageType")


def test_the_measured_cost_is_the_cost_of_the_image(meter):
    """Ten million grey pixels and a copy: a measure that saw nothing would pass all the above."""
    for _ in range(2):  # the second is no cheaper for what the first has used
        its = meter.cost(jpeg_scans(1, side=3200), color=False)
        assert its.came == "3200x3200 read"
        assert 10 < its.megabytes < 100


def test_a_process_that_dies_is_an_error():
    with Meter() as meter:
        assert meter.cost(b"").came == "NoImage"
        meter.process.kill()
        with pytest.raises(RuntimeError, match="ended the process"):
            meter.cost(b"")
