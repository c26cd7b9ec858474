"""Tx collects what a handler does, so that it is committed together with the event's end."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _check, _json
from ._calls import TIMED_OUT, Steps, checked, drive, drive_async
from ._errors import CanceledError, InvalidError
from ._message import Downstream
from ._wire import plugin_pb2 as pb

if TYPE_CHECKING:
    import asyncio

    from ._link import Link

__all__ = ["AsyncTx", "Item", "Lane", "Tx", "in_lane", "in_lane_of"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A ULID: it never comes twice, and later ones are greater."""
    number = (time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


class Item(NamedTuple):
    """A key of the plugin's state, with its value."""

    key: str
    value: Any


class Lane(NamedTuple):
    """In which lane a timer comes. Make one with in_lane_of or in_lane."""

    name: str = ""
    session: str = ""
    device: str = ""


def in_lane_of(session: str, device: str) -> Lane:
    """The lane of a device's upstreams.

    The empty session means that of the event; outside of a handler, the host's only one.
    """
    return Lane("", session, device)


def in_lane(name: str) -> Lane:
    """A lane of the plugin's own, for timers that should come one after the other."""
    return Lane(name)


def _size(s: pb.Schedule) -> int:
    texts = s.key, s.named, s.device.session, s.device.device
    return 64 + len(s.data) + sum(len(text.encode()) for text in texts)


class BaseTx:
    """What Tx and AsyncTx have in common."""

    # Most handlers never change these, so an instance has none of its own before.
    _frame: pb.PluginFrame | None = None  # with the result, made at the first change
    _changes: pb.Changes | None = None  # of the result, or of an update
    _count = 0
    _size = 0
    _ended = False
    _task: asyncio.Task[None] | None = None
    # The handler's time: see Scope.
    _cause = ""
    _deadline: float | None = None
    # Of the delivery: Link sets them.
    _kind = ""
    _traceparent = ""
    _event_pb: Any = None
    _handler: Callable[..., Any]
    _attempt = 1

    def __init__(self, link: Link, number: int = 0, event: str = "", session: str = "") -> None:
        self._link = link
        self._number = number  # of the delivery; 0: none
        self._event = event
        self._session = session
        self._writes: dict[str, bytes | None] = {}  # None: deleted
        self._timers: dict[str, pb.Schedule] = {}
        self._reads: dict[str, pb.Reply] = {}  # the first reply for each key
        self._ranges: list[pb.Range] = []
        self._waiting: list[SimpleQueue[pb.Reply | None]] = []

    @property
    def canceled(self) -> bool:
        """The handler's time is over, or the plugin stops: return soon."""
        return bool(self._cause) or self.time_left == 0

    @property
    def time_left(self) -> float | None:
        """Seconds until the handler times out. None: it has no limit."""
        return None if self._deadline is None else max(self._deadline - monotonic(), 0.0)

    @property
    def traceparent(self) -> str:
        """The span of this attempt, as W3C's Trace Context writes it: the parent of the handler's spans.

        A host without traces gives "", and outside of a handler there is none.
        """
        return self._traceparent

    def send(self, d: Downstream) -> str:
        """Adds a downstream, and returns the id that it will have.

        The id is the same at every attempt of the event. Nothing leaves the host before
        the commit. InvalidError: it can never be committed, or the session's transport
        cannot carry it. The Tx stays as it was.
        """
        if not isinstance(d, Downstream):
            raise InvalidError(f"send: {type(d).__name__} given: use Downstream(to, data, ...)")
        changes = self._made()
        message_id = d.message_id or (f"{self._event}-{len(changes.send) + 1}" if self._event else new_id())
        session = d.session or self._session
        p = changes.send.add()
        try:
            size = _check.downstream(d, p, message_id, session, self._link.sessions.transport(session))
            self._grow(1, size)
        except InvalidError as e:
            del changes.send[-1]
            raise InvalidError(f"send: {e}") from None
        return message_id

    def cancel_send(self, message_id: str) -> None:
        """Cancels the plugin's downstream with this id if it has not gone out by the commit.

        It then ends as "canceled". An id that there is not is no error.
        """
        if problem := _check.identifier("message_id", message_id):
            raise InvalidError(f"cancel {message_id[:64]!r}: {problem}")
        self._grow(1, len(message_id.encode()), "cancel")
        self._made().cancel.append(message_id)

    def put(self, key: str, value: Any) -> None:
        """Sets a key of the plugin's state to a value, as JSON.

        None is stored as null, and the key exists: use delete to remove a key.
        """
        try:
            text = _json.dump(value)
        except InvalidError as e:
            raise InvalidError(f"put {key!r}: {e}") from None
        if len(text) > self._link.limits.value_bytes:
            raise InvalidError(
                f"put {key!r}: the value has {len(text)} bytes as JSON, at most {self._link.limits.value_bytes} are possible:"
                " split it over several keys, or keep it elsewhere"
            )
        self._write("put", key, text)

    def delete(self, key: str) -> None:
        """Removes a key of the plugin's state. A key that does not exist is no error."""
        self._write("delete", key, None)

    def schedule(self, key: str, at: datetime, data: Any = None, lane: Lane | None = None) -> None:
        """Sets a timer, as a part of the commit. When it is due, the timer handler gets it.

        It survives restarts, and never comes before at, by the host's clock. A time that
        has passed is due at once. A timer of this plugin that has the same key is replaced,
        even if it is due already. It comes in the lane of the event that sets it, or in
        lane; outside of a handler in a lane named as the key. at must have a time zone.
        data is any JSON; None is none.
        """
        s = pb.Schedule(key="", at_ms=_check.millis(at, f"schedule {key!r}: the time"))
        most = self._link.limits.key_bytes
        if not self._link.plugin.has("timer"):
            raise InvalidError(
                f"schedule {key!r}: the plugin has no timer handler: give it one with @plugin.timer"
            )
        if at >= _check.LATEST:
            raise InvalidError(f"schedule {key!r}: the time is {at}, after the year 2199")
        if lane is not None and lane.device:
            s.device.session = lane.session
            s.device.device = _check.key("the device of the lane", lane.device, 4096).decode()
        elif lane is not None:
            s.named = _check.key("lane", lane.name, most).decode()
        if data is not None:
            try:
                s.data = _json.dump(data)
            except InvalidError as e:
                raise InvalidError(f"schedule {key!r}: the data {e}") from None
            if len(s.data) > self._link.limits.value_bytes:
                raise InvalidError(
                    f"schedule {key!r}: the data has {len(s.data)} bytes as JSON: keep it in the state"
                )
        self._timer("schedule", key, s)

    def cancel(self, key: str) -> None:
        """Ends the timer of this plugin that has the key, even if it is due already.

        It is no error if there is no such timer.
        """
        self._timer("cancel", key, pb.Schedule(cancel=True))

    def _made(self) -> pb.Changes:
        if self._changes is None and not self._number:
            self._changes = pb.Changes()
        elif self._changes is None:
            self._frame = pb.PluginFrame()
            result = self._frame.result.add()
            result.delivery, result.code = self._number, pb.Result.DONE
            self._changes = result.changes
        return self._changes

    def _grow(self, count: int, size: int, verb: str = "") -> None:
        """Adds to what the Tx holds, or says why it doesn't fit."""
        limits = self._link.limits
        wrong = ""
        if self._ended:
            wrong = "this Tx has ended: its handler has returned"
        elif self._count + count > limits.changes:
            wrong = (
                f"{self._count + count} downstreams, timers and keys at once, at most {limits.changes} are possible:"
                " send fewer, or split the work over several events"
            )
        elif self._size + size > limits.change_bytes:
            wrong = (
                f"changes of {self._size + size} bytes at once, at most {limits.change_bytes} are possible:"
                " split the work, or keep large values elsewhere"
            )
        if wrong:
            raise InvalidError(f"{verb}: {wrong}" if verb else wrong)
        self._count += count
        self._size += size

    def _write(self, verb: str, key: str, value: bytes | None) -> None:
        size = len(_check.key(f"{verb}: state key", key, self._link.limits.key_bytes))
        if key in self._writes:
            self._grow(0, len(value or b"") - len(self._writes[key] or b""), f"{verb} {key!r}")
        else:
            self._grow(1, size + len(value or b""), f"{verb} {key!r}")
        self._writes[key] = value

    def _timer(self, verb: str, key: str, s: pb.Schedule) -> None:
        s.key = _check.key(f"{verb}: timer", key, self._link.limits.key_bytes).decode()
        old = self._timers.get(key)
        self._grow(0 if old else 1, _size(s) - (_size(old) if old else 0), f"{verb} {key!r}")
        self._timers.pop(key, None)
        self._timers[key] = s

    def _get(self, key: str, default: Any) -> Steps:
        size = len(_check.key("get: state key", key, self._link.limits.key_bytes))
        if key in self._writes:
            value = self._writes[key]
            return default if value is None else _json.load(value)
        reply = self._reads.get(key)
        if reply is None:
            self._grow(1, size, f"get {key!r}")
            fresh = checked((yield pb.Call(get=key, delivery=self._number)), f"get {key!r}")
            reply = self._reads.setdefault(key, fresh)
        return _json.load(reply.value) if reply.value else default

    def _list(self, prefix: str, after: str, max: int) -> Steps:
        verb = f"list {prefix!r}"
        for text in prefix, after:
            if text:
                _check.key("list: prefix or after", text, self._link.limits.key_bytes)
        while True:
            self._grow(2, 0, verb)  # the list, and a key at the least
            self._count -= 2
            room = self._link.limits.changes - self._count - 1
            ask = pb.List(prefix=prefix, after=after, max=min(max, room) if max > 0 else room)
            page = checked((yield pb.Call(list=ask, delivery=self._number)), verb).list
            last = page.item[-1].key if page.more and page.item else ""
            part = pb.Range(prefix=prefix, after=after, last=last, digest=page.digest)
            keys = (prefix, after, last)
            self._grow(1 + len(page.item), 12 + sum(len(k.encode()) for k in keys), verb)
            self._ranges.append(part)
            items = self._merged(part, page)
            if 0 < max < len(items):
                return items[:max], True
            if items or not page.more:
                return items, page.more
            after = last  # this Tx has deleted all of the page

    def _merged(self, part: pb.Range, page: pb.ListReply) -> list[Item]:
        """What is stored in a part, with what this Tx has put and deleted there."""
        items = {it.key: it.value for it in page.item if it.key not in self._writes}
        first, last = part.after.encode(), part.last.encode()
        for key, value in self._writes.items():
            b = key.encode()
            if value is not None and key.startswith(part.prefix) and b > first and (not last or b <= last):
                items[key] = value
        return [Item(key, _json.load(items[key])) for key in sorted(items, key=str.encode)]

    def _end(self) -> pb.Changes | None:
        """Ends the Tx, and returns what is to be committed. None: nothing."""
        self._ended = True
        if not self._count:
            return None
        changes = self._made()
        for key, value in self._writes.items():
            changes.write.add(key=key, value=value or b"", remove=value is None)
        if self._timers:
            changes.schedule.extend(self._timers.values())
        if self._reads or self._ranges:
            self._note_reads(changes)
        return changes

    def _note_reads(self, changes: pb.Changes) -> None:
        for key, reply in self._reads.items():
            changes.read.add(key=key, version=reply.version)
        changes.range.extend(self._ranges)

    def _cancel(self, cause: str) -> None:
        """Cancels the handler. The first cause counts."""
        self._cause = self._cause or cause
        for replies in list(self._waiting):
            replies.put(None)


class Tx(BaseTx):
    """Collects what a handler does: what it sends, the state that it changes, its timers.

    If the handler returns, all of it is committed together with the end of the event, all
    or nothing. If it raises, nothing is. A Tx ends when its handler returns. If a key
    that the handler has read changes before the commit, the handler runs again from its
    start, and this counts as no attempt.
    """

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of the plugin's state, or default if the key does not exist.

        It is what this Tx has put, and otherwise the same value each time. It may wait for
        another handler that uses the key.
        """
        return drive(self._get(key, default), self._ask)

    def list(self, prefix: str = "", after: str = "", max: int = 0) -> tuple[list[Item], bool]:
        """Keys of the state that begin with prefix and are greater than after, in order.

        At most max, or as many as fit if max is 0. The bool says that there are others
        behind the last: pass its key as after to go on. It sees what this Tx has put and
        deleted. A list is checked at the commit, as a get is.
        """
        found: tuple[list[Item], bool] = drive(self._list(prefix, after, max), self._ask)
        return found

    def sleep(self, seconds: float) -> None:
        """Waits. CanceledError: the handler shall end."""
        wake: SimpleQueue[pb.Reply | None] = SimpleQueue()
        self._waiting.append(wake)
        left = self.time_left
        try:
            if not self._cause:
                wake.get(timeout=seconds if left is None else min(seconds, left))
        except Empty:
            if left is None or seconds < left:
                return
        finally:
            self._waiting.remove(wake)
        raise CanceledError(self._cause or TIMED_OUT)

    def _ask(self, call: pb.Call) -> pb.Reply:
        return self._link.calls.ask(call, self)


class AsyncTx(BaseTx):
    """Tx for async handlers: get and list are awaited. When its time is over, the task of
    the handler is canceled, as asyncio does it."""

    async def get(self, key: str, default: Any = None) -> Any:
        """As Tx.get."""
        return await drive_async(self._get(key, default), self._link.calls)

    async def list(self, prefix: str = "", after: str = "", max: int = 0) -> tuple[list[Item], bool]:
        """As Tx.list."""
        found: tuple[list[Item], bool] = await drive_async(self._list(prefix, after, max), self._link.calls)
        return found

    def _cancel(self, cause: str) -> None:
        """Cancels the handler's task."""
        super()._cancel(cause)
        if self._task:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
