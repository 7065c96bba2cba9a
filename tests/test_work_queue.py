"""The bounded queue for CPU-heavy work, and budgets."""

import threading

import pytest

from app.budget import Budget
from app.deadline import Deadline
from app.errors import Busy, DeadlineExceeded
from app.work_queue import WorkQueue


def soon(seconds=10.0):
    return Deadline.after(seconds)


def test_run_returns_the_result_and_raises_the_error_of_the_work():
    queue = WorkQueue(concurrency=1, capacity=1)
    assert queue.run(lambda: 42, deadline=soon()) == 42
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0, deadline=soon())

    def fail():
        raise TimeoutError("raised by the work")

    with pytest.raises(TimeoutError, match="raised by the work"):
        queue.run(fail, deadline=soon())


def test_slot_raises_busy_when_all_slots_are_in_use():
    queue = WorkQueue(concurrency=1, capacity=2)
    with queue.slot():
        with queue.slot(), pytest.raises(Busy), queue.slot():
            pytest.fail("there was a third slot")
        with queue.slot():
            pass  # the second slot is free again
    with pytest.raises(ZeroDivisionError), queue.slot():
        raise ZeroDivisionError
    with queue.slot(), queue.slot():
        pass  # both slots are free after an error too


def test_run_runs_at_most_concurrency_jobs_at_a_time():
    queue = WorkQueue(concurrency=2, capacity=9)
    both_started, resume = threading.Barrier(3), threading.Event()
    started = []

    def work(number):
        started.append(number)
        if len(started) <= 2:
            both_started.wait(10)
        resume.wait(10)
        return number

    results = []
    threads = [
        threading.Thread(
            target=lambda n=n: results.append(queue.run(lambda: work(n), deadline=soon()))
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    both_started.wait(10)
    assert len(started) == 2
    resume.set()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == [0, 1, 2, 3]


def test_run_cancels_waiting_work_at_its_deadline():
    queue = WorkQueue(concurrency=1, capacity=9)
    started, resume = threading.Event(), threading.Event()
    done = []

    def work_long():
        started.set()
        resume.wait(10)
        done.append("long")

    with pytest.raises(DeadlineExceeded):
        queue.run(work_long, deadline=soon(0.05))
    assert started.is_set()
    with pytest.raises(DeadlineExceeded):
        queue.run(lambda: done.append("waits"), deadline=soon(0.05))
    resume.set()
    queue.run(lambda: done.append("next"), deadline=soon())
    assert done == ["long", "next"]


def test_run_returns_the_result_of_work_that_ends_just_after_the_wait(monkeypatch):
    """The work ends after the wait has timed out, but before `run` checks the future."""

    def time_out_and_then_end(futures, timeout):
        for future in futures:
            future.exception()
        return set(), set(futures)

    monkeypatch.setattr("app.work_queue.wait", time_out_and_then_end)
    queue = WorkQueue(concurrency=1, capacity=1)
    assert queue.run(lambda: 42, deadline=soon()) == 42
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0, deadline=soon())


def test_run_does_not_start_work_after_the_deadline():
    queue = WorkQueue(concurrency=1, capacity=1)
    with pytest.raises(DeadlineExceeded):
        queue.run(lambda: pytest.fail("the work was started"), deadline=soon(0))


def test_budget_is_shared_by_jobs_of_different_sizes():
    budget = Budget(10)
    amounts = [budget.acquire(amount, deadline=soon()) for amount in (4, 6)]
    with pytest.raises(DeadlineExceeded):
        budget.acquire(1, deadline=soon(0.01))
    for amount in amounts:
        budget.release(amount)
    with pytest.raises(ZeroDivisionError), budget.reserve(10, deadline=soon()):
        raise ZeroDivisionError
    with budget.reserve(1_000, deadline=soon()), pytest.raises(DeadlineExceeded):
        budget.acquire(1, deadline=soon(0.01))  # a job above the limit runs alone
    budget.release(budget.acquire(10, deadline=soon()))


def test_reserve_waits_until_the_amount_is_free():
    budget = Budget(10)
    amount = budget.acquire(10, deadline=soon())
    waiting, reserved = threading.Event(), threading.Event()

    def reserve():
        waiting.set()
        with budget.reserve(5, deadline=soon()):
            reserved.set()

    threading.Thread(target=reserve).start()
    assert waiting.wait(10)
    assert not reserved.wait(0.05)
    budget.release(amount)
    assert reserved.wait(10)
