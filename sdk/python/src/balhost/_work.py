"""Where handlers run: sync ones on a pool of threads, async ones on one asyncio loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from ._calls import TIMED_OUT
from ._tx import BaseTx

_TICK = 0.001
_FAST = 8000.0  # handlers a second, with which one more thread helps nobody


class Pool:
    """Runs handlers on at most limit threads, in the order in which they came.

    Threads of Python share one lock, so many of them cost more than they bring while
    handlers are short. So one more is woken only when the others are busy, and it looks on
    for a moment if they are fast: then mostly one thread does all the work. When
    handlers block, the next thread takes over at once.
    """

    def __init__(self, limit: int, handle: Callable[[BaseTx], None]) -> None:
        self._limit = limit
        self._handle = handle
        self._lock = threading.Lock()  # guards what follows
        self._queue: deque[BaseTx] = deque()
        self._idle: list[threading.Lock] = []  # the gates of threads that wait
        self._threads = 0
        self._waking = False  # a thread is on its way to the queue
        self._begun = 0  # handlers so far
        self._mark = (0, 0.0)  # begun, and when

    def put(self, all: Iterable[BaseTx]) -> None:
        """Queues handlers. It never waits."""
        with self._lock:
            self._queue.extend(all)
            self._wake()

    def _wake(self) -> None:
        """Wakes one thread if there is work for it. Called with the lock held."""
        if self._waking or not self._queue:
            return
        if self._idle:
            self._idle.pop().release()
        elif self._threads < self._limit:
            self._threads += 1
            threading.Thread(target=self._work, name=f"handler-{self._threads}", daemon=True).start()
        else:
            return
        self._waking, self._mark = True, (self._begun, monotonic())

    def _others_are_fast(self) -> bool:
        begun, since = self._mark
        self._mark = (self._begun, monotonic())
        many = self._begun - begun
        return many >= 4 and many > (self._mark[1] - since) * _FAST

    def _work(self) -> None:
        gate = threading.Lock()
        gate.acquire()
        woken = True
        while True:
            tx = None
            with self._lock:
                look_on = woken and bool(self._queue) and self._others_are_fast()
                if not look_on:
                    self._waking = self._waking and not woken
                    if self._queue:
                        tx = self._queue.popleft()
                        self._begun += 1
                        if woken:
                            self._wake()
                    else:
                        self._idle.append(gate)
            if look_on:
                gate.acquire(timeout=_TICK)
                continue
            woken = tx is None
            if tx is None:
                gate.acquire()
            else:
                self._handle(tx)


class Loop:
    """Runs async handlers on one asyncio loop, which has a thread of its own."""

    def __init__(self, limit: int, handle: Callable[[BaseTx], Awaitable[None]]) -> None:
        self._limit = limit
        self._handle = handle
        self._running: set[BaseTx] = set()
        self._queue: deque[BaseTx] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="asyncio", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def put(self, all: list[BaseTx]) -> None:
        """Queues handlers. It never waits."""
        self.loop.call_soon_threadsafe(self._add, all)

    def close(self) -> None:
        """Ends the loop. What still runs is given up."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _add(self, all: list[BaseTx]) -> None:
        self._queue.extend(all)
        self._start()

    def _start(self) -> None:
        while self._queue and len(self._running) < self._limit:
            tx = self._queue.popleft()
            self._running.add(tx)
            tx._task = self.loop.create_task(self._guard(tx))
            self._watch(tx._deadline)

    async def _guard(self, tx: BaseTx) -> None:
        try:
            await self._handle(tx)
        finally:
            self._running.discard(tx)
            self._start()

    def _watch(self, deadline: float | None) -> None:
        """Sees to it that the alarm rings at this time at the latest. Mostly it does already."""
        if deadline is None or (self._alarm and self._alarm.when() <= self._at(deadline)):
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm = self.loop.call_at(self._at(deadline), self._ring)

    def _at(self, deadline: float) -> float:
        return self.loop.time() + deadline - monotonic()

    def _ring(self) -> None:
        self._alarm = None
        for tx in list(self._running):
            if tx.time_left == 0 and not tx._cause:
                tx._cancel(TIMED_OUT)
        left = [tx._deadline for tx in self._running if tx._deadline is not None and not tx._cause]
        self._watch(min(left, default=None))
