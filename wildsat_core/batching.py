"""Calls that arrive together are answered together: for work that costs little more for several than for one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)  # found again by identity: items may have no sensible equality
class _Call(Generic[Item, Result]):
    item: Item
    answer: Future[Result] = field(default_factory=Future)


class Batcher(Generic[Item, Result]):
    """Runs one batch at a time; what is asked for meanwhile waits and makes the next batch.

    Nothing is held back in the hope of company: a call that finds no batch running starts one at once. There is no
    thread of its own either: one of the waiting callers runs the batch for all.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Result]], most: int) -> None:
        """Start idle.

        Args:
            run: gives one result for each item, in their order. When it raises, each item of the batch is run alone,
                and what it raises for one is raised in that one's call.
            most: greatest number of items in a batch.
        """
        self._run, self._most = run, most
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._running = False
        self._changed = threading.Condition()

    def __call__(self, item: Item) -> Result:
        """The item's result, once its batch has run."""
        mine: _Call[Item, Result] = _Call(item)
        with self._changed:
            self._waiting.append(mine)
            self._changed.wait_for(lambda: mine.answer.done() or not self._running)
            if mine.answer.done():
                return mine.answer.result()
            self._waiting.remove(mine)
            self._running = True
            others = [self._waiting.popleft() for _ in range(min(self._most - 1, len(self._waiting)))]
        batch = [mine, *others]
        try:
            self._answer(batch)
        finally:
            for call in batch:  # the interpreter is being stopped: nobody must wait for what never comes
                if not call.answer.done():
                    call.answer.cancel()
            with self._changed:
                self._running = False
                self._changed.notify_all()
        return mine.answer.result()

    def _answer(self, batch: list[_Call[Item, Result]]) -> None:
        try:
            results = list(self._run([call.item for call in batch]))
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results came for a batch of {len(batch)}")
        except Exception as err:  # noqa: BLE001 - raised again in the call that it belongs to
            if len(batch) == 1:
                batch[0].answer.set_exception(err)
            else:  # only the call that is to blame should fail
                for call in batch:
                    self._answer([call])
        else:
            for call, result in zip(batch, results, strict=True):
                call.answer.set_result(result)
