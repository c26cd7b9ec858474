"""What a plugin sees of a host's ledger: its state, its timers, and what it has sent."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from datetime import timedelta
from time import time
from typing import Any, NamedTuple

from .. import _json
from .._errors import InvalidError
from .._message import Downstream, Options, Timer, to_target, to_time, to_timer
from .._tx import new_id
from .._wire import plugin_pb2 as pb

MAX_LIST_BYTES = 1 << 20
GONE_OUT = "gone out"


class ConflictError(Exception):
    """Something that was read has changed."""


class ReplacedError(Exception):
    """The timer was canceled or set anew."""


class Value(NamedTuple):
    text: bytes
    version: int


@dataclass
class Waiting:
    """A timer that was set."""

    timer: pb.Timer
    due: float  # by the host's clock, which is past ahead
    order: int
    attempt: int = 0


class Store:
    def __init__(self, sessions: tuple[str, ...]) -> None:
        self.sessions = sessions
        self.changed = threading.Condition(threading.RLock())  # guards what follows
        self.state: dict[str, Value] = {}
        self.sent: dict[str, pb.Downstream] = {}  # by message id, in order
        self.ends: dict[str, str] = {}  # of those that wait no longer: GONE_OUT, or a code
        self.timers: dict[str, Waiting] = {}
        self.past = 0.0  # seconds that advance has let pass
        self.refused = ""
        self._version = 0

    def commit(self, changes: pb.Changes, by: pb.Delivery | None) -> list[Downstream]:
        """Applies changes, all or nothing. by is the event that they belong to."""
        with self.changed:
            if self.stale(changes):
                raise ConflictError
            fired = by.timer if by and by.HasField("timer") and by.delivery else None
            if fired and not self._is_set(fired):
                raise ReplacedError
            for d in changes.send:
                self._check(d)
            for d in changes.send:
                if d.message_id not in self.sent:
                    self._replace(d)
                    self.sent[d.message_id] = d
            for id in changes.cancel:
                self.cancel(id, "CANCELED")
            if fired:
                del self.timers[fired.key]
            for s in changes.schedule:
                self._schedule(s, by)
            for w in changes.write:
                self._version += 1
                if w.remove:
                    self.state.pop(w.key, None)
                else:
                    self.state[w.key] = Value(w.value, self._version)
            self.changed.notify_all()
            return [to_downstream(d) for d in changes.send]

    def stale(self, changes: pb.Changes) -> bool:
        """Whether something has changed since it was read or listed."""
        with self.changed:
            none = Value(b"", 0)
            return any(self.state.get(r.key, none).version != r.version for r in changes.read) or any(
                self._digest(self._keys_in(r.prefix, r.after, r.last)) != r.digest for r in changes.range
            )

    def answer(self, call: pb.Call) -> pb.Reply:
        """The host's reply to a call."""
        reply = pb.Reply(id=call.id)
        try:
            op = call.WhichOneof("op")
            if op == "get":
                with self.changed:
                    reply.value, reply.version = self.state.get(call.get, Value(b"", 0))
            elif op == "list":
                self._list(call.list, reply.list)
            elif op == "cancel":
                with self.changed:
                    reply.canceled = self.cancel(call.cancel, "CANCELED")
            else:
                changes = call.update if op == "update" else pb.Changes(send=[call.send])
                if changes.send and self.refused:
                    reply.code, reply.error = pb.Reply.UNAVAILABLE, self.refused
                else:
                    self.commit(changes, None)
        except ConflictError:
            reply.code, reply.error = pb.Reply.CONFLICT, "state has changed since it was read"
        except InvalidError as e:
            reply.code, reply.error = pb.Reply.INVALID, str(e)
        return reply

    def cancel(self, message_id: str, code: str) -> bool:
        """Ends a downstream that waits, and says whether it did. Called with the lock held."""
        if message_id not in self.sent or message_id in self.ends:
            return False
        self.ends[message_id] = code
        return True

    def next_timer(self, until: float, tried: set[str]) -> Waiting | None:
        """The next timer that is due by until. The clock goes to its time."""
        with self.changed:
            for w in self.sorted_timers():
                if w.timer.id not in tried and w.due <= until:
                    self.past = max(self.past, w.due - time())
                    w.attempt += 1
                    return w
        return None

    def sorted_timers(self) -> list[Waiting]:
        return sorted(self.timers.values(), key=lambda w: (w.due, w.order))

    def _is_set(self, timer: pb.Timer) -> bool:
        known = self.timers.get(timer.key)
        return known is not None and known.timer.id == timer.id

    def _check(self, d: pb.Downstream) -> None:
        if not d.session and len(self.sessions) > 1:
            raise InvalidError(
                f"the downstream names no session, and there are several: {', '.join(self.sessions)}"
            )
        d.session = d.session or self.sessions[0]
        if d.session not in self.sessions:
            raise InvalidError(f"the host has no session {d.session!r}")
        if not _same(self.sent.get(d.message_id, d), d):
            raise InvalidError(f"message id {d.message_id} was used before for another message")

    def _replace(self, d: pb.Downstream) -> None:
        for id, older in self.sent.items():
            if d.replace and (older.replace, older.session, older.to) == (d.replace, d.session, d.to):
                self.cancel(id, "REPLACED")

    def _schedule(self, s: pb.Schedule, by: pb.Delivery | None) -> None:
        self.timers.pop(s.key, None)
        if s.cancel:
            return
        event = getattr(by, by.WhichOneof("event") or "") if by else None
        session, device = getattr(event, "session", ""), getattr(event, "device", "")
        if s.HasField("device"):
            session, device = s.device.session or session or self.sessions[0], s.device.device
        timer = pb.Timer(id=new_id(), session=session, device=device, key=s.key, data=s.data, due_ms=s.at_ms)
        self._version += 1
        self.timers[s.key] = Waiting(timer, s.at_ms / 1000 + self.past, self._version)

    def _list(self, ask: pb.List, reply: pb.ListReply) -> None:
        with self.changed:
            keys = self._keys_in(ask.prefix, ask.after, "")
            size = 0
            for key in keys:
                value = self.state[key]
                size += len(key.encode()) + len(value.text)
                if len(reply.item) == (ask.max or 999) or (reply.item and size > MAX_LIST_BYTES):
                    reply.more = True
                    break
                reply.item.add(key=key, value=value.text, version=value.version)
            reply.digest = self._digest(keys[: len(reply.item)])

    def _keys_in(self, prefix: str, after: str, last: str) -> list[str]:
        found = [k for k in self.state if k.startswith(prefix) and k.encode() > after.encode()]
        return sorted((k for k in found if not last or k.encode() <= last.encode()), key=str.encode)

    def _digest(self, keys: list[str]) -> bytes:
        return struct.pack(">IQ", len(keys), max((self.state[k].version for k in keys), default=0))


def _same(a: pb.Downstream, b: pb.Downstream) -> bool:
    """Whether two are the same message. Their traces are no part of it."""
    copies = pb.Downstream(), pb.Downstream()
    for copy, d in zip(copies, (a, b)):
        copy.CopyFrom(d)
        copy.traceparent = ""
    return copies[0] == copies[1]


def to_downstream(d: pb.Downstream) -> Downstream:
    """A downstream as the plugin has made it."""
    o = d.options
    raw: dict[str, Any] = {
        name: _json.load(text) if (text := getattr(o, name)) else None
        for name in ("android", "apns", "webpush")
    }
    options = Options(
        ttl=timedelta(seconds=o.ttl_s) if o.HasField("ttl_s") else None,
        priority=o.priority,
        collapse_key=o.collapse_key,
        dry_run=o.dry_run,
        receipt_requested=o.receipt_requested,
        content_available=o.content_available,
        mutable_content=o.mutable_content,
        **raw,
    )
    return Downstream(
        to_target(d.to),
        data=_json.load(d.data) if d.data else None,
        notification=_json.load(d.notification) if d.notification else None,
        options=options if d.HasField("options") else None,
        group=d.group,
        message_id=d.message_id,
        session=d.session,
        context=_json.load(d.context) if d.context else None,
        not_before=to_time(d.not_before_ms),
        replace=d.replace,
        traceparent=d.traceparent,
    )


def to_timers(all: list[Waiting]) -> list[Timer]:
    return [to_timer(w.timer, w.attempt) for w in all]
