"""One process of the plugin, as far as there can be one in the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from .._link import Link
from .._plugin import Plugin
from .._wire import plugin_pb2 as pb
from ._store import Store

PATIENCE = 30.0  # seconds that each wait for the plugin may last


class RefusedError(Exception):
    """The plugin did not start. The text says why."""


class Instance:
    def __init__(self, plugin: Plugin[Any], store: Store, config: bytes, transports: Sequence[str]) -> None:
        if problem := plugin._problem():
            raise RefusedError(f"plugin {plugin.name} can't run: {problem}")
        self._store = store
        self._link = Link(plugin)
        self._frames: SimpleQueue[bytes | None] = SimpleQueue()
        self._lock = threading.Lock()  # guards what follows
        self._last = 0
        self._out: dict[int, SimpleQueue[pb.Result | None]] = {}  # deliveries without a result
        self._closed = False
        self._drained = threading.Event()
        self._link.describe(pb.DescribeRequest(host_version="testing", capabilities=["offsets", "metrics"]))
        self._hearing = threading.Thread(
            target=self._hear, args=(self._link.session(self._read()),), daemon=True
        )
        self._hearing.start()
        request = pb.ConfigureRequest(config=config, sessions=store.sessions, transports=transports)
        reply = self._link.configure(request)
        if reply.error:
            self.cut()
            raise RefusedError(reply.error)

    def run(self) -> None:
        """Lets the plugin's run begin."""
        self.give(pb.HostFrame(run=True))

    def give(self, frame: pb.HostFrame) -> None:
        """Gives the plugin a frame."""
        self._frames.put(frame.SerializeToString())

    def deliver(self, d: pb.Delivery, seconds: float) -> tuple[pb.Result | None, bool]:
        """Gives the plugin an event, and waits for the result.

        None: the instance has ended. False: there was no result in that time.
        """
        result: SimpleQueue[pb.Result | None] = SimpleQueue()
        with self._lock:
            if self._closed:
                return None, True
            self._last += 1
            numbered = pb.Delivery()
            numbered.CopyFrom(d)
            numbered.delivery = self._last
            self._out[self._last] = result
        self.give(pb.HostFrame(deliver=[numbered]))
        try:
            return result.get(timeout=seconds), True
        except Empty:
            with self._lock:
                self._out.pop(numbered.delivery, None)
            return None, False

    def metrics(self) -> str:
        """What a scrape of the host gets of the plugin's own metrics."""
        answers: SimpleQueue[bytes | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._link.metrics())
            except Exception as e:
                answers.put(e)

        threading.Thread(target=ask, daemon=True).start()
        try:
            answer = answers.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError(f"metrics has not returned within {PATIENCE:g} s, and a host waits 1 s")
        if isinstance(answer, Exception):
            raise answer
        return answer.decode()

    def drain(self) -> None:
        """Stops the plugin, and waits for its handlers."""
        self.give(pb.HostFrame(drain=pb.Drain(reason="testing", timeout_ms=int(PATIENCE * 1000))))
        drained = self._drained.wait(PATIENCE + 5)
        self.cut()
        assert drained, f"the plugin has not drained within {PATIENCE:g} s"

    def cut(self) -> None:
        """Ends the connection at once. What the plugin does from now on is lost."""
        with self._lock:
            self._closed = True
            waiting = list(self._out.values())
            self._out.clear()
        for result in waiting:
            result.put(None)
        self._frames.put(None)

    def _read(self) -> Iterator[pb.HostFrame]:
        while (frame := self._frames.get()) is not None:
            yield pb.HostFrame.FromString(frame)

    def _hear(self, parts: Iterator[bytes]) -> None:
        for part in parts:
            frame = pb.PluginFrame.FromString(part)
            for number in frame.done:
                self._finish(pb.Result(delivery=number, code=pb.Result.DONE))
            for result in frame.result:
                self._finish(result)
            for call in frame.call:
                if not self._closed:
                    self.give(pb.HostFrame(reply=[self._store.answer(call)]))
            if frame.drained:
                self._drained.set()

    def _finish(self, result: pb.Result) -> None:
        with self._lock:
            waiting = self._out.pop(result.delivery, None)
        if waiting:
            waiting.put(result)
