"""Bombs are refused, or give their first frame, for little time and memory."""

import sys

import pytest

from fuzzing.bombs import BOMBS, MOST_MEGABYTES, MOST_MILLISECONDS, cost, jpeg_scans

SLOW_MACHINE = 20  # times as slow as those that the limit of time is for


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(name):
    its = cost(BOMBS[name]())
    assert its.megabytes < MOST_MEGABYTES
    assert its.milliseconds < MOST_MILLISECONDS * SLOW_MACHINE
    if "x" in its.came:  # of several frames the first, of a picture with odd tables the picture
        width, height = map(int, its.came.removesuffix(" read").split("x"))
        assert width * height <= 10_000
    else:
        assert its.came in ("ImageTooLarge", "UndecodableImage", "UnsupportedImageType")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
def test_what_is_measured_is_what_it_takes():
    """Ten million grey pixels and a copy: a measure that saw nothing would pass all the above."""
    its = cost(jpeg_scans(1, side=3200), color=False)
    assert its.came == "3200x3200 read"
    assert 10 < its.megabytes < 100
