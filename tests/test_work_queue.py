"""The bounded queue for CPU-heavy work."""

import threading

import pytest

from app.budget import Budget
from app.deadline import Deadline
from app.errors import Busy, DeadlineExceeded
from app.work_queue import WorkQueue


def soon(seconds=10.0):
    return Deadline.after(seconds)


def test_work_requeue_and_raises_as_if_it_were_done_here():
    queue = WorkQueue(concurrency=1, capacity=1)
    assert queue.run(lambda: 42, deadline=soon()) == 42
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0, deadline=soon())

    def late():
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        queue.run(late, deadline=soon())


def test_who_finds_no_place_is_sent_away_at_once():
    queue = WorkQueue(concurrency=1, capacity=2)
    with queue.slot():
        with queue.slot(), pytest.raises(Busy), queue.slot():
            pytest.fail("there was a third place")
        with queue.slot():
            pass  # it is free again
    with pytest.raises(ZeroDivisionError), queue.slot():
        raise ZeroDivisionError
    with queue.slot(), queue.slot():
        pass  # also after an error


def test_so_many_are_at_work_and_the_others_wait():
    queue = WorkQueue(concurrency=2, capacity=9)
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
        threading.Thread(
            target=lambda n=n: answers.append(queue.run(lambda: work(n), deadline=soon()))
        )
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
    queue = WorkQueue(concurrency=1, capacity=9)
    started, go = threading.Event(), threading.Event()
    done = []

    def long():
        started.set()
        go.wait(10)
        done.append("long")

    with pytest.raises(DeadlineExceeded):
        queue.run(long, deadline=soon(0.05))
    assert started.is_set()
    with pytest.raises(DeadlineExceeded):
        queue.run(lambda: done.append("waits"), deadline=soon(0.05))
    go.set()
    queue.run(lambda: done.append("next"), deadline=soon())
    assert done == ["long", "next"]


def test_work_that_ends_just_after_the_wait_counts(monkeypatch):
    """Between the end of the wait and the look at the work."""

    def wait_until_just_before(futures, timeout):
        for future in futures:
            future.exception()
        return set(), set(futures)

    monkeypatch.setattr("app.work_queue.wait", wait_until_just_before)
    queue = WorkQueue(concurrency=1, capacity=1)
    assert queue.run(lambda: 42, deadline=soon()) == 42
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0, deadline=soon())


def test_what_is_late_before_it_begins_is_not_begun():
    queue = WorkQueue(concurrency=1, capacity=1)
    with pytest.raises(DeadlineExceeded):
        queue.run(lambda: pytest.fail("it was begun"), deadline=soon(0))


def test_a_budget_is_shared_by_jobs_of_different_sizes():
    budget = Budget(10)
    parts = [budget.acquire(amount, deadline=soon()) for amount in (4, 6)]
    with pytest.raises(DeadlineExceeded):
        budget.acquire(1, deadline=soon(0.01))
    for part in parts:
        budget.release(part)
    with pytest.raises(ZeroDivisionError), budget.reserve(10, deadline=soon()):
        raise ZeroDivisionError
    with budget.reserve(1_000, deadline=soon()), pytest.raises(DeadlineExceeded):
        budget.acquire(1, deadline=soon(0.01))  # a job above the limit runs alone
    budget.release(budget.acquire(10, deadline=soon()))


def test_who_waits_for_a_budget_gets_it_when_it_is_free():
    budget = Budget(10)
    taken = budget.acquire(10, deadline=soon())
    waiting, got = threading.Event(), threading.Event()

    def wait():
        waiting.set()
        with budget.reserve(5, deadline=soon()):
            got.set()

    threading.Thread(target=wait).start()
    assert waiting.wait(10)
    assert not got.wait(0.05)
    budget.release(taken)
    assert got.wait(10)
