import math
import time

import pytest

from app.deadline import NEVER, Deadline
from app.errors import DeadlineExceeded


def test_check_passes_before_the_deadline():
    deadline = Deadline.after(60)
    deadline.check()
    assert 59 < deadline.remaining() <= 60


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
def test_check_raises_deadline_exceeded_after_the_deadline(seconds):
    deadline = Deadline(time.perf_counter() + seconds)
    assert deadline.remaining() <= 0
    with pytest.raises(DeadlineExceeded, match="in time"):
        deadline.check()


def test_check_of_never_passes():
    NEVER.check()
    assert NEVER.remaining() == math.inf
