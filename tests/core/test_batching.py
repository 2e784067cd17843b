"""Calls that arrive while a batch runs are answered by the next one, all of them and each with its own result."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wildsat_core.batching import Batcher


class Number:
    """Can't be compared, like anything that holds arrays."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        raise ValueError("not comparable")

    __hash__ = None


class Recorder:
    """Squares numbers; holds the first batch until it is let go."""

    def __init__(self):
        self.batches, self.started, self.go = [], threading.Event(), threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.started.set()
        assert self.go.wait(10)
        return [item.value**2 for item in items]


def queued(batcher):
    return len(batcher._waiting)


def wait_until(condition):
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("never came true")


def test_a_lone_call_runs_at_once():
    recorder = Recorder()
    recorder.go.set()
    assert Batcher(recorder, most=4)(Number(3)) == 9
    assert len(recorder.batches) == 1


def test_calls_that_wait_share_the_next_batches():
    recorder = Recorder()
    batcher = Batcher(recorder, most=4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, Number(0))
        assert recorder.started.wait(10)
        others = [pool.submit(batcher, Number(n)) for n in range(1, 8)]
        wait_until(lambda: queued(batcher) == 7)
        recorder.go.set()
        assert first.result(10) == 0
        assert [other.result(10) for other in others] == [n * n for n in range(1, 8)]
    assert [len(batch) for batch in recorder.batches] == [1, 4, 3]
    assert sorted(n.value for batch in recorder.batches for n in batch) == list(range(8))


def test_a_failure_reaches_the_call_that_is_to_blame_and_no_other():
    recorder = Recorder()

    def run(items):
        if any(item.value < 0 for item in items):
            raise ValueError("negative")
        return recorder(items)

    batcher = Batcher(run, most=8)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, Number(0))
        assert recorder.started.wait(10)
        others = [pool.submit(batcher, Number(n)) for n in (1, -1, 2)]
        wait_until(lambda: queued(batcher) == 3)
        recorder.go.set()
        assert [first.result(10), others[0].result(10), others[2].result(10)] == [0, 1, 4]
        with pytest.raises(ValueError, match="negative"):
            others[1].result(10)
    assert batcher(Number(5)) == 25


def test_too_few_results_are_an_error_and_not_a_wait_without_end():
    with pytest.raises(ValueError, match="0 results came for a batch of 1"):
        Batcher(lambda items: [], most=8)(1)


def test_many_threads_get_their_own_results():
    batcher = Batcher(lambda items: [item + 1 for item in items], most=3)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(batcher, range(2000))) == list(range(1, 2001))
