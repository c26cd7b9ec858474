"""A host for tests that read and write frames themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from balhost import Plugin
from balhost._link import Link
from balhost._wire import plugin_pb2 as pb

PATIENCE = 30.0


class Frames:
    """Gives a plugin frames, and keeps all that comes back."""

    def __init__(self, plugin: Plugin[Any], configure: bool = True, **request: Any) -> None:
        self.link = Link(plugin)
        self._to: SimpleQueue[Any] = SimpleQueue()
        self._came = threading.Condition(threading.RLock())
        self.frames: list[pb.PluginFrame] = []
        self.ended = threading.Event()
        self._last = 0
        threading.Thread(target=self._hear, args=(self.link.session(self._give()),), daemon=True).start()
        if configure:
            reply = self.link.configure(pb.ConfigureRequest(sessions=["main"], transports=["ccs"], **request))
            assert not reply.error, reply.error

    def give(self, **frame: Any) -> None:
        self._to.put(pb.HostFrame(**frame))

    def upstream(self, *names: str, timeout_ms: int = 0) -> list[int]:
        """Delivers upstreams with these ids in one frame, and returns their numbers."""
        all = []
        for name in names:
            self._last += 1
            u = pb.Upstream(
                id=name, session="main", device="d", raw=b'{"data":{"k":"v"}}', data_start=8, data_end=17
            )
            all.append(pb.Delivery(delivery=self._last, attempt=1, timeout_ms=timeout_ms, upstream=u))
        self.give(deliver=all)
        return [d.delivery for d in all]

    def close(self, error: Exception | None = None) -> None:
        """Ends the host's half, or breaks the stream."""
        self._to.put(error)

    def all(self, field: str) -> list[Any]:
        """All items of a list that have come so far."""
        with self._came:
            return [item for f in self.frames for item in getattr(f, field)]

    def results(self) -> dict[int, pb.Result]:
        done = {n: pb.Result(delivery=n, code=pb.Result.DONE) for n in self.all("done")}
        return done | {r.delivery: r for r in self.all("result")}

    def wait(self, what: Callable[[], Any]) -> Any:
        """Waits until what is true, and returns it."""
        with self._came:
            assert self._came.wait_for(what, PATIENCE), f"waited {PATIENCE} s in vain; came: {self.frames}"
            return what()

    def result(self, number: int) -> pb.Result:
        found: pb.Result = self.wait(lambda: self.results().get(number))
        return found

    def reply(self, **reply: Any) -> pb.Call:
        """Answers the next call that has no answer, and returns it."""
        calls = self.wait(lambda: self.all("call")[self._answered() :])
        self._answers.append(calls[0].id)
        self.give(reply=[pb.Reply(id=calls[0].id, **reply)])
        found: pb.Call = calls[0]
        return found

    @property
    def _answers(self) -> list[int]:
        return self.__dict__.setdefault("answers", [])

    def _answered(self) -> int:
        return len(self._answers)

    def _give(self) -> Iterator[pb.HostFrame]:
        while (frame := self._to.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield pb.HostFrame.FromString(frame.SerializeToString())

    def _hear(self, parts: Iterator[bytes]) -> None:
        for part in parts:
            with self._came:
                self.frames.append(pb.PluginFrame.FromString(part))
                self._came.notify_all()
        self.ended.set()
        with self._came:
            self._came.notify_all()
