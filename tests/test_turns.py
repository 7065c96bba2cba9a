"""Places and turns."""

import threading
import time

import pytest

from app.errors import Busy, TookTooLong
from app.turns import Turns


def soon(seconds=10.0):
    return time.perf_counter() + seconds


def test_work_returns_and_raises_as_if_it_were_done_here():
    turns = Turns(at_once=1, places=1)
    assert turns.do(lambda: 42, until=soon()) == 42
    with pytest.raises(ZeroDivisionError):
        turns.do(lambda: 1 / 0, until=soon())

    def late():
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        turns.do(late, until=soon())


def test_who_finds_no_place_is_sent_away_at_once():
    turns = Turns(at_once=1, places=2)
    with turns.place():
        with turns.place(), pytest.raises(Busy), turns.place():
            pytest.fail("there was a third place")
        with turns.place():
            pass  # it is free again
    with pytest.raises(ZeroDivisionError), turns.place():
        raise ZeroDivisionError
    with turns.place(), turns.place():
        pass  # also after an error


def test_so_many_are_at_work_and_the_others_wait():
    turns = Turns(at_once=2, places=9)
    both, go = threading.Barrier(3), threading.Event()
    begun = []

    def work(number):
        begun.append(number)
        if len(begun) <= 2:
            both.wait(10)
        go.wait(10)
        return number

    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(turns.do(lambda: work(n), until=soon())))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    both.wait(10)
    assert len(begun) == 2
    go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(answers) == [0, 1, 2, 3]


def test_what_still_waits_when_its_time_is_over_is_never_done():
    turns = Turns(at_once=1, places=9)
    started, go = threading.Event(), threading.Event()
    done = []

    def long():
        started.set()
        go.wait(10)
        done.append("long")

    with pytest.raises(TookTooLong):
        turns.do(long, until=soon(0.05))
    assert started.is_set()
    with pytest.raises(TookTooLong):
        turns.do(lambda: done.append("waits"), until=soon(0.05))
    go.set()
    turns.do(lambda: done.append("next"), until=soon())
    assert done == ["long", "next"]
