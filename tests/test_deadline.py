import math
import time

import pytest

from app.deadline import NEVER, Deadline
from app.errors import DeadlineExceeded


def test_a_deadline_in_the_future_lets_work_go_on():
    deadline = Deadline.after(60)
    deadline.check()
    assert 59 < deadline.remaining() <= 60


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
def test_a_deadline_that_has_passed_stops_work(seconds):
    deadline = Deadline(time.perf_counter() + seconds)
    assert deadline.remaining() <= 0
    with pytest.raises(DeadlineExceeded, match="in time"):
        deadline.check()


def test_never_does_not_pass():
    NEVER.check()
    assert NEVER.remaining() == math.inf
