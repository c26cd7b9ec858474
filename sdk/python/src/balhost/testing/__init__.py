"""A host for the tests of plugin authors: no process, no disk, no devices.

    from balhost.testing import FakeHost
    from echo import plugin

    def test_echo():
        with FakeHost(plugin) as host:
            r = host.upstream(device="ann", data={"say": "hi"})
            assert r.done and r.sent[0].data == {"say": "hi"}

It commits as the real host does: what a handler did is committed when it returns, all or
nothing, and if another commit has changed a key that it read, it runs again. What is rare
in a real host has a call here: before_commit for a conflict, crash and reload, refuse for
a full disk, advance for the time of timers. There are no lanes: each event goes to the
plugin at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import time
from types import TracebackType
from typing import Any

from .. import _json
from .._check import millis, seconds
from .._message import Downstream, Target, Timer
from .._plugin import Plugin
from .._tx import new_id
from .._wire import plugin_pb2 as pb
from ._instance import PATIENCE, Instance, RefusedError
from ._store import GONE_OUT, ConflictError, ReplacedError, Store, to_downstream, to_timers

__all__ = ["FakeHost", "Result", "refusal"]

NOWHERE = Target()
_HUNG = 5.0  # seconds that a handler may go on after its time, as in the host
_STATUS = {
    pb.Result.UNSPECIFIED: "retried",
    pb.Result.DONE: "done",
    pb.Result.RETRY: "retried",
    pb.Result.REJECT: "rejected",
    pb.Result.RELEASE: "released",
}


@dataclass
class Result:
    """How an event ended."""

    status: str
    """"done", "retried", "rejected" or "released"; "canceled" for a timer that was
    canceled or set anew while its handler ran: nothing was committed."""
    reason: str = ""
    """The handler's error."""
    delay: float | None = None
    """Of a Retry, in seconds. None: the host's backoff decides."""
    sent: list[Downstream] = field(default_factory=list)
    """Committed with this event, in order."""
    runs: int = 1
    """How often the handler ran: more than once after conflicts."""

    @property
    def done(self) -> bool:
        """The handler returned, and what it did is committed."""
        return self.status == "done"


def refusal(plugin: Plugin[Any], *, config: Mapping[str, Any] | None = None) -> str:
    """Starts a plugin that should not start, and returns why it did not. Empty: it did."""
    try:
        with FakeHost(plugin, config=config):
            return ""
    except RefusedError as e:
        return str(e)


class FakeHost:
    """Runs one plugin. Use it with "with". Its methods may be called from any thread."""

    def __init__(
        self,
        plugin: Plugin[Any],
        *,
        config: Mapping[str, Any] | None = None,
        sessions: Sequence[str] = ("main",),
        transports: Mapping[str, str] | None = None,
        handler_timeout: float = 30.0,
    ) -> None:
        """Starts the plugin as a host does: its config, start, then run.

        transports are those of the sessions, "ccs" if there is none. handler_timeout is the
        time of a handler, in seconds. An exception says why a plugin did not start.
        """
        self._plugin = plugin
        self._config = _json.dump(dict(config)) if config else b""
        self._transports = [(transports or {}).get(name, "ccs") for name in sessions]
        self._timeout = handler_timeout
        self._store = Store(tuple(sessions))
        self._changing = threading.Lock()  # held by reload, crash and stop
        self._swapped = threading.Condition()  # guards what follows
        self._now: Instance | None = None
        self._before: Callable[[], object] | None = None
        self._swap(self._start(plugin))

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    # Events.

    def upstream(
        self,
        *,
        device: str = "device",
        data: Mapping[str, Any] | None = None,
        id: str = "",
        session: str = "",
        category: str = "",
        message_id: str = "",
        raw: bytes | None = None,
        attempt: int = 1,
        traceparent: str = "",
    ) -> Result:
        """Gives the plugin a device's message, and waits for the result.

        What is left out gets a value: a new id and message_id, the first session, the
        plugin's first category, and a raw payload with the data in it. traceparent is what
        tx.traceparent has, here and in the other events.
        """
        id = id or new_id()
        message_id = message_id or "m-" + id
        if not category and self._plugin.categories and self._plugin.categories[0] != "*":
            category = self._plugin.categories[0]
        u = pb.Upstream(
            id=id,
            session=session or self._store.sessions[0],
            device=device,
            category=category,
            message_id=message_id,
            received_ms=int(time() * 1000),
        )
        if raw is None:
            head = _json.dump({"from": device, "category": category, "message_id": message_id})[:-1]
            text = _json.dump(dict(data)) if data is not None else b""
            u.raw = head + (b',"data":' + text if text else b"") + b"}"
            u.data_start, u.data_end = (len(u.raw) - 1 - len(text), len(u.raw) - 1) if text else (0, 0)
        else:
            u.raw, u.data = raw, _json.dump(dict(data)) if data is not None else b""
        return self._deliver(pb.Delivery(attempt=attempt, upstream=u, traceparent=traceparent))

    def outcome(
        self,
        *,
        to: Target = NOWHERE,
        status: str = "acked",
        code: str = "",
        description: str = "",
        new_token: str = "",
        gone: bool = False,
        context: Any = None,
        id: str = "",
        session: str = "",
        message_id: str = "",
        group: str = "",
        attempts: int = 1,
        attempt: int = 1,
        traceparent: str = "",
    ) -> Result:
        """Tells the plugin how a downstream ended, and waits for the result."""
        o = pb.Outcome(
            id=id or new_id(),
            session=session or self._store.sessions[0],
            message_id=message_id,
            group=group,
            status=status,
            code=code,
            description=description,
            new_token=new_token,
            gone=gone,
            attempts=attempts,
            context=b"" if context is None else _json.dump(context),
        )
        for name, text in to._asdict().items():
            if text:
                setattr(o.to, name, text)
        return self._deliver(pb.Delivery(attempt=attempt, outcome=o, traceparent=traceparent))

    def receipt(
        self,
        *,
        original_message_id: str = "",
        device: str = "device",
        category: str = "",
        status: str = "MESSAGE_SENT_TO_DEVICE",
        id: str = "",
        session: str = "",
        attempt: int = 1,
        traceparent: str = "",
    ) -> Result:
        """Gives the plugin a delivery receipt, and waits for the result."""
        r = pb.Receipt(
            id=id or new_id(),
            session=session or self._store.sessions[0],
            original_message_id=original_message_id,
            device=device,
            category=category,
            status=status,
            sent_ms=int(time() * 1000),
        )
        return self._deliver(pb.Delivery(attempt=attempt, receipt=r, traceparent=traceparent))

    def timer(
        self,
        *,
        key: str,
        data: Any = None,
        device: str = "",
        due: datetime | None = None,
        id: str = "",
        session: str = "",
        attempt: int = 1,
        traceparent: str = "",
    ) -> Result:
        """Gives the plugin a timer, whether it has set one or not, and waits for the result."""
        t = pb.Timer(
            id=id or new_id(),
            session=session or self._store.sessions[0],
            key=key,
            data=b"" if data is None else _json.dump(data),
            due_ms=millis(due, "due") if due else int(time() * 1000),
            device=device,
        )
        return self._deliver(pb.Delivery(attempt=attempt, timer=t, traceparent=traceparent))

    # Timers.

    def timers(self) -> list[Timer]:
        """The timers that the plugin has set, in the order in which they are due."""
        with self._store.changed:
            return to_timers(self._store.sorted_timers())

    def advance(self, by: timedelta | float) -> list[Result]:
        """Lets time pass for the plugin's timers, and gives it those that are due by then.

        They come one after the other, in the order in which they are due; also those
        that handlers set meanwhile. One that was retried comes again in the next advance,
        with another attempt. The plugin's own clock stays as it is.
        """
        past = self._store.past + seconds(by)
        until = time() + past + 0.001  # timers are due at whole milliseconds
        tried: set[str] = set()
        results = []
        while w := self._store.next_timer(until, tried):
            tried.add(w.timer.id)
            r = self._deliver(pb.Delivery(delivery=1, attempt=w.attempt, timer=w.timer))
            with self._store.changed:
                if r.status == "rejected" and self._store.timers.get(w.timer.key) is w:
                    del self._store.timers[w.timer.key]
            results.append(r)
        self._store.past = past
        return results

    # State.

    def state(self, key: str, default: Any = None) -> Any:
        """The value of a key of the plugin's state, or default if there is none."""
        with self._store.changed:
            value = self._store.state.get(key)
        return _json.load(value.text) if value else default

    def set_state(self, key: str, value: Any) -> None:
        """Sets a key of the plugin's state. None deletes it."""
        text = b"" if value is None else _json.dump(value)
        self._store.commit(pb.Changes(write=[pb.Write(key=key, value=text, remove=value is None)]), None)

    def keys(self) -> list[str]:
        """The keys of the plugin's state, in order."""
        with self._store.changed:
            return sorted(self._store.state, key=str.encode)

    # Downstreams.

    def sent(self) -> list[Downstream]:
        """All that the plugin has sent so far."""
        with self._store.changed:
            return [to_downstream(d) for d in self._store.sent.values()]

    def await_sent(self, count: int) -> list[Downstream]:
        """Waits until the plugin has sent so many in all, and returns all that it has sent."""
        with self._store.changed:
            came = self._store.changed.wait_for(lambda: len(self._store.sent) >= count, PATIENCE)
            assert came, f"{len(self._store.sent)} downstreams sent within {PATIENCE:g} s, expected {count}"
        return self.sent()

    def waiting(self) -> list[Downstream]:
        """What the plugin has sent and what has not gone out. Here all waits until go_out."""
        with self._store.changed:
            return [to_downstream(d) for id, d in self._store.sent.items() if id not in self._store.ends]

    def go_out(self, *message_ids: str) -> None:
        """Lets downstreams that wait go out: from now on they are neither canceled nor replaced."""
        with self._store.changed:
            for id in message_ids:
                assert self._store.cancel(id, GONE_OUT), f"{id!r} does not wait, so it can't go out"

    def canceled(self, message_id: str) -> str:
        """Why a downstream does not go out: "CANCELED", "REPLACED", or "" for one that does."""
        with self._store.changed:
            code = self._store.ends.get(message_id, "")
        return "" if code == GONE_OUT else code

    def refuse(self, reason: str) -> None:
        """Makes Host.send, and Host.update with a downstream, fail with UnavailableError.

        So it is when the host's disk fills up. "" ends this.
        """
        self._store.refused = reason

    def before_commit(self, function: Callable[[], object]) -> None:
        """Has function run once: after the next handler has returned, before its commit.

        If the handler has read or listed what function changes, the handler runs again.
        """
        self._before = function

    def metrics(self) -> str:
        """What the plugin's metrics function returns, as a scrape of the host gets it.

        An exception says why the host would get nothing.
        """
        now = self._now
        assert now, "the plugin is stopped and has no metrics"
        return now.metrics()

    # Life.

    def crash(self) -> None:
        """Does what kill -9 does, as far as one process can: the connection is cut.

        What handlers do from then on is lost. A new instance of the plugin starts, and gets
        the events that the old one held.
        """
        with self._changing:
            if self._now:
                self._now.cut()
            self._swap(self._start(self._plugin))

    def reload(self, plugin: Plugin[Any]) -> None:
        """Replaces the plugin, as a new file in the plugins folder does.

        The new one starts, the old one drains, and then the new one's run begins. State and
        downstreams stay. If the new one does not start, the old one goes on.
        """
        with self._changing:
            next = self._start(plugin)
            if self._now:
                self._now.drain()
            self._plugin = plugin
            self._swap(next)

    def stop(self) -> None:
        """Drains the plugin and ends it. The end of "with" does it too."""
        with self._changing:
            old = self._now
            if old:
                self._swap(None)
                old.drain()

    def _start(self, plugin: Plugin[Any]) -> Instance:
        return Instance(plugin, self._store, self._config, self._transports)

    def _swap(self, next: Instance | None) -> None:
        with self._swapped:
            self._now = next
            self._swapped.notify_all()
        if next:
            next.run()

    def _replaced(self, old: Instance) -> bool:
        return self._now is not old

    def _deliver(self, d: pb.Delivery) -> Result:
        """Gives an event to the plugin until it has a result that counts."""
        d.timeout_ms = max(int(self._timeout * 1000), 1)
        runs = 1
        while True:
            now = self._now
            assert now, "the plugin is stopped and can't get this event"
            r, returned = now.deliver(d, self._timeout + _HUNG)
            assert returned, (
                f"a handler has not returned {_HUNG:g} s after its time (handler_timeout is {self._timeout:g} s): in a real"
                " host its lane waits, and when a quarter of max_in_flight hang like this, the host kills the plugin"
            )
            if r is None or r.code == pb.Result.RELEASE:
                with self._swapped:
                    came = self._swapped.wait_for(partial(self._replaced, now), PATIENCE)
                if not came or self._now is None:
                    return Result("released", runs=runs)
                continue
            if before := self._before:
                self._before = None
                before()
            try:
                if r.code == pb.Result.DONE:
                    return Result("done", sent=self._store.commit(r.changes, d), runs=runs)
                if not self._store.stale(r.changes):  # else the error does not count
                    delay = r.delay_ms / 1000 if r.delay_ms >= 0 else None
                    return Result(
                        _STATUS[r.code], r.error, delay if r.code == pb.Result.RETRY else None, runs=runs
                    )
            except ConflictError:
                pass
            except ReplacedError:
                return Result("canceled", "the timer was canceled or set anew", runs=runs)
            runs += 1
