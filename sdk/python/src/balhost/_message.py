"""The messages: what comes to the handlers, and what they send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from . import _json
from ._wire import plugin_pb2 as pb

__all__ = [
    "Downstream",
    "Options",
    "Outcome",
    "Receipt",
    "Target",
    "Timer",
    "Upstream",
    "condition",
    "fid",
    "token",
    "topic",
]


class Target(NamedTuple):
    """Where a downstream goes. Make one with token, fid, topic or condition."""

    token: str = ""
    fid: str = ""
    topic: str = ""
    condition: str = ""


def token(t: str) -> Target:
    """One device by its registration token, or a device group by its notification key."""
    return Target(t)


def fid(id: str) -> Target:
    """One installation of an app by its Firebase installation id.

    A session with the transport "ccs" does not take it. An installation answers to a token
    or to its FID, never to both: use the kind that the app gave.
    """
    return Target("", id)


def topic(name: str) -> Target:
    """The subscribers of a topic. The name has no "/topics/" prefix."""
    return Target("", "", name)


def condition(expression: str) -> Target:
    """Devices by an expression over topics: "'a' in topics && 'b' in topics"."""
    return Target("", "", "", expression)


@dataclass(slots=True)
class Options:
    """FCM's delivery options. Unset ones are FCM's defaults."""

    ttl: timedelta | float | None = None
    """A timedelta or seconds, up to four weeks, the default. 0: now or never."""
    priority: str = ""
    """"normal" or "high"."""
    collapse_key: str = ""
    dry_run: bool = False
    """FCM checks the message, and delivers nothing."""
    receipt_requested: bool = False
    content_available: bool = False
    mutable_content: bool = False
    android: Mapping[str, Any] | None = None
    """A raw block of FCM's HTTP v1. Only a session with the transport "fcm_v1" takes it."""
    apns: Mapping[str, Any] | None = None
    webpush: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Downstream:
    """A message to a device, a topic or a condition."""

    to: Target
    data: Mapping[str, str] | None = None
    notification: Mapping[str, str] | None = None
    options: Options | None = None
    group: str = ""
    """Messages of one group go out one after the other."""
    message_id: str = ""
    """Empty: the SDK makes one. At most 255 bytes."""
    session: str = ""
    """Empty: the session of the event, or the host's only session."""
    context: Any = None
    """Any JSON, for the plugin itself: it comes back in the Outcome."""
    not_before: datetime | None = None
    """It waits until then, and its TTL begins then. The time must have a time zone."""
    replace: str = ""
    """It takes the place of this plugin's older one with the same replace, session and
    target, if that has not gone out yet."""
    traceparent: str = ""
    """The span that makes it, as W3C's Trace Context writes it. Empty: in a handler the span
    of the attempt; outside of one the host decides. What is no traceparent is left out."""


class Upstream:
    """A message from a device."""

    __slots__ = (
        "_data",
        "_json",
        "_received_ms",
        "attempt",
        "category",
        "device",
        "id",
        "message_id",
        "raw",
        "session",
    )

    def __init__(self, u: pb.Upstream, attempt: int) -> None:
        self.id: str = u.id
        """The host's id of the message, the same at each attempt."""
        self.session: str = u.session
        self.device: str = u.device
        """The payload's "from": the device's token, FID or user."""
        self.category: str = u.category
        """The app's package name or bundle id."""
        self.message_id: str = u.message_id
        """The device's id of the message, unique for that device only."""
        self.raw: bytes = u.raw
        """The whole payload, byte by byte as it came."""
        self.attempt = attempt
        """1 at the first attempt."""
        start, end = u.data_start, u.data_end
        self._json = self.raw[start:end] if start < end else u.data
        self._data: dict[str, Any] | None = None
        self._received_ms: int = u.received_ms

    @property
    def data(self) -> dict[str, Any]:
        """The payload's "data". Empty if there was none. It is parsed at the first use."""
        if self._data is None:
            self._data = _json.load(self._json) if self._json else {}
        return self._data

    @property
    def received(self) -> datetime | None:
        """When the host stored the message."""
        return to_time(self._received_ms)

    def __repr__(self) -> str:
        return f"Upstream(id={self.id!r}, session={self.session!r}, device={self.device!r}, raw={self.raw!r})"


@dataclass(slots=True)
class Outcome:
    """How one downstream ended."""

    id: str
    """Of this event."""
    session: str
    message_id: str
    """Of the downstream, as are group, to and context."""
    group: str
    to: Target
    status: str
    """"acked", "failed", "expired" or "canceled"."""
    code: str
    """FCM's error code in the words of the session's transport, or one of the host's."""
    description: str
    new_token: str
    """Use this token instead of the old one."""
    gone: bool
    """The target does not exist any more: forget it. It means the same everywhere."""
    attempts: int
    """How often the downstream was sent."""
    attempt: int
    """Of this event."""
    context: Any


@dataclass(slots=True)
class Receipt:
    """A device has got a downstream."""

    id: str
    session: str
    original_message_id: str
    """The message_id of the downstream."""
    device: str
    category: str
    status: str
    """CCS's word, such as "MESSAGE_SENT_TO_DEVICE", or the app's."""
    sent: datetime | None
    attempt: int


@dataclass(slots=True)
class Timer:
    """A timer is due that Tx.schedule has set."""

    id: str
    session: str
    """Of the event that set it, or as named then, as is device. Empty: none."""
    device: str
    key: str
    data: Any
    """As given. None: none."""
    due: datetime
    """What it was set for."""
    attempt: int


def to_time(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, timezone.utc) if ms else None


def _optional(text: bytes) -> Any:
    return _json.load(text) if text else None


def to_target(t: pb.Target) -> Target:
    return Target(t.token, t.fid, t.topic, t.condition)


def to_outcome(o: pb.Outcome, attempt: int) -> Outcome:
    return Outcome(
        id=o.id,
        session=o.session,
        message_id=o.message_id,
        group=o.group,
        to=to_target(o.to),
        status=o.status,
        code=o.code,
        description=o.description,
        new_token=o.new_token,
        gone=o.gone,
        attempts=o.attempts,
        attempt=attempt,
        context=_optional(o.context),
    )


def to_receipt(r: pb.Receipt, attempt: int) -> Receipt:
    return Receipt(
        id=r.id,
        session=r.session,
        original_message_id=r.original_message_id,
        device=r.device,
        category=r.category,
        status=r.status,
        sent=to_time(r.sent_ms),
        attempt=attempt,
    )


def to_timer(t: pb.Timer, attempt: int) -> Timer:
    due = datetime.fromtimestamp(t.due_ms / 1000, timezone.utc)
    return Timer(t.id, t.session, t.device, t.key, _optional(t.data), due, attempt)
