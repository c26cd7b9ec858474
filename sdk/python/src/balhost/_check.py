"""Finds what can never be committed, so that the caller hears of it at once.

The host checks all of it again, and some more: the fields of the raw blocks, and what
one transport's notification may have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from json.encoder import encode_basestring as quote
from math import ceil

from . import _json
from ._errors import InvalidError
from ._message import Downstream, Options, Target
from ._wire import plugin_pb2 as pb

MAX_ID = 255
MAX_TARGET = 4096
MAX_CONTEXT = 64 << 10
MAX_TEXT = 32 << 10
MAX_PAYLOAD = 4096
MAX_TOPIC_PAYLOAD = 2048
MAX_TTL = 28 * 24 * 3600
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)
EARLIEST = datetime(2000, 1, 1, tzinfo=timezone.utc)
RESERVED = {"from", "message_type"}
OWN = {"bal_id", "bal_seq", "bal_receipt"}

_unreadable = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")
_traceparent_00 = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context §3.2
_topic = re.compile(r"[A-Za-z0-9\-_.~%]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def seconds(value: timedelta | float) -> float:
    """A timedelta, or a number of seconds, in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def millis(at: object, what: str) -> int:
    """A time in Unix milliseconds, rounded up, or InvalidError."""
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidError(
            f"{what} is {at!r}: give a datetime with a time zone,"
            " such as datetime.now(timezone.utc) + timedelta(minutes=10)"
        )
    return -((_EPOCH - at) // timedelta(milliseconds=1))


def key(what: str, text: str, most: int) -> bytes:
    """A key in UTF-8, or InvalidError."""
    if not isinstance(text, str):
        raise InvalidError(f"{what} is {type(text).__name__}: it must be a str")
    try:
        b = text.encode()
    except UnicodeEncodeError as e:
        raise InvalidError(f"{what} {text[:64]!r} {_json.half(e)}") from None
    if not 0 < len(b) <= most:
        raise InvalidError(f"{what} {text[:64]!r} of {len(b)} bytes: it must be 1 to {most} bytes of UTF-8")
    return b


def identifier(name: str, text: str) -> str:
    """What is wrong with an id, "" for nothing."""
    if isinstance(text, str) and text.isascii() and text.isprintable() and 0 < len(text) <= MAX_ID:
        return ""
    wrong = _text(name, text)
    if wrong:
        return wrong
    if not text:
        return f"{name} is empty: give it a text"
    if (n := len(text.encode())) > MAX_ID:
        return f"{name} has {n} bytes: use at most {MAX_ID}, for example a hash"
    return ""


def downstream(d: Downstream, into: pb.Downstream, message_id: str, session: str, transport: str) -> int:
    """Writes d to into, and returns its size. InvalidError names all that is wrong.

    transport is that of the session, "" if it is not known: then the host decides.
    """
    wrong: list[str] = []
    size = 64 + _target(d.to, into.to, wrong)
    data = _strings("data", d.data, wrong)
    notification = _strings("notification", d.notification, wrong)
    size += len(data) + len(notification)
    limit = MAX_PAYLOAD if d.to.token or d.to.fid else MAX_TOPIC_PAYLOAD
    if len(data) + len(notification) > limit and not wrong:
        weight = _weight(d.data) + _weight(d.notification)
        if weight > limit:
            wrong.append(
                f"data and notification have {weight} bytes of keys and values: FCM takes at most {limit};"
                " send less, or an address from which the app can fetch it"
            )
    for name in "message_id", "group", "replace":
        if text := getattr(d, name):
            if problem := identifier(name, text):
                wrong.append(problem)
            else:
                setattr(into, name, text)
                size += length(text)
    if d.not_before is not None:
        _not_before(d.not_before, into, wrong)
    if d.traceparent:
        size += _traceparent(d.traceparent, into, wrong)
    if d.options is not None:
        size += _options(d.options, into.options, wrong)
    if d.context is not None:
        size += _context(d.context, into, wrong)
    if transport:
        _fits(d, transport, wrong)
    if wrong:
        where = f" to session {session!r} ({transport})" if transport else ""
        raise InvalidError(f"invalid downstream{where}: " + "; ".join(wrong[:50]))
    if data:
        into.data = data
    if notification:
        into.notification = notification
    if session:
        into.session = key("session", session, MAX_TARGET).decode()
    into.message_id = message_id
    return size + len(message_id) + len(session)


def length(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _traceparent(text: object, into: pb.Downstream, wrong: list[str]) -> int:
    """A trace is never a reason not to send. A mistake of the author's is told all the same."""
    if not isinstance(text, str):
        wrong.append(f'traceparent is a {type(text).__name__}: give the text, such as carrier["traceparent"]')
    elif _traceparent_00.fullmatch(text):
        into.traceparent = text
        return len(text)
    return 0


def _not_before(at: datetime, into: pb.Downstream, wrong: list[str]) -> None:
    try:
        ms = millis(at, "not_before")
    except InvalidError as e:
        wrong.append(str(e))
        return
    if EARLIEST <= at <= LATEST:
        into.not_before_ms = ms
    else:
        wrong.append(f"not_before is {at}: use a time from 2000 to 2200")


def _context(context: object, into: pb.Downstream, wrong: list[str]) -> int:
    try:
        into.context = _json.dump(context)
    except InvalidError as e:
        wrong.append(f"context {e}")
    if (n := len(into.context)) > MAX_CONTEXT:
        wrong.append(
            f"context has {n} bytes: use at most {MAX_CONTEXT}, and keep the rest in the plugin's state"
        )
    return n


def _text(name: str, text: object) -> str:
    if not isinstance(text, str):
        return f"{name} is {type(text).__name__}: it must be a str"
    if text.isascii() and text.isprintable():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        return f"{name} {_json.half(e)}"
    if bad := _unreadable.search(text):
        return f"{name} has U+{ord(bad[0]):04X}, which nobody can read: leave it out"
    return ""


def _target(to: Target, into: pb.Target, wrong: list[str]) -> int:
    """Writes to to into, and returns its size."""
    if not isinstance(to, Target):
        raise InvalidError(
            f"invalid downstream: to is {type(to).__name__}: use token(...), fid(...), topic(...) or condition(...)"
        )
    given = [(name, text) for name, text in zip(Target._fields, to) if text]
    if len(given) != 1:
        wrong.append(f"to has {len(given)} targets: set exactly one, a token, an fid, a topic or a condition")
        return 0
    name, text = given[0]
    if problem := _text("to." + name, text):
        wrong.append(problem)
        return 0
    if (n := length(text)) > MAX_TARGET:
        wrong.append(f"to.{name} has {n} bytes: use at most {MAX_TARGET}")
    if name == "token" and text.startswith("/topics/"):
        wrong.append("to.token is a topic: use topic(...) with the name after /topics/")
    elif name in ("token", "fid") and " " in text:
        wrong.append(f"to.{name} has a space: use it exactly as the app got it")
    elif name == "topic" and not _topic.fullmatch(text):
        wrong.append(f"to.topic {text[:40]!r} is not a topic's name: use only letters, digits and - _ . ~ %")
    elif name == "condition" and (problem := _Condition(text).problem):
        wrong.append(
            f"to.condition {problem}: write it like 'a' in topics && ('b' in topics || 'c' in topics)"
        )
    setattr(into, name, text)
    return n


def _strings(name: str, object: Mapping[str, str] | None, wrong: list[str]) -> bytes:
    """JSON text of an object whose values are all strings."""
    if object is None:
        return b""
    if not isinstance(object, Mapping):
        wrong.append(f"{name} is {type(object).__name__}: give a dict of strings")
        return b""
    parts = []
    for k, v in object.items():
        if type(k) is not str or type(v) is not str:
            kind = type(v).__name__ if isinstance(k, str) else f"under the key {k!r}, which is no str"
            if not (isinstance(k, str) and isinstance(v, str)):
                wrong.append(
                    f"{name}.{k} is {kind}: FCM takes strings only; use str(...), or json.dumps(...) for what has parts"
                )
                continue
        parts.append(quote(k) + ":" + quote(v))
        if name == "data":
            if k in RESERVED or k.startswith(("google", "gcm")):
                wrong.append(
                    f"data.{k} is a key that FCM reserves: choose another; from, message_type, google… and gcm… are reserved"
                )
        elif k.endswith("_loc_args") and not _is_list(v):
            wrong.append(
                f'notification.{k} is {v[:40]!r}, not a JSON array in a string: write it like "[\\"Ann\\",\\"3\\"]"'
            )
    try:
        text = ("{" + ",".join(parts) + "}").encode()
    except UnicodeEncodeError as e:
        wrong.append(f"{name} {_json.half(e)}")
        return b""
    if len(text) > MAX_TEXT:
        wrong.append(f"{name} is {len(text)} bytes of JSON text: use at most {MAX_TEXT}")
    return text


def _weight(object: Mapping[str, str] | None) -> int:
    """What FCM counts: the bytes of keys and values."""
    return sum(len(k.encode()) + len(v.encode()) for k, v in (object or {}).items())


def _is_list(text: str) -> bool:
    try:
        return isinstance(_json.load(text.encode()), list)
    except ValueError:
        return False


def _options(o: Options, into: pb.Options, wrong: list[str]) -> int:
    if o.ttl is not None:
        ttl = seconds(o.ttl)
        if not 0 <= ttl <= MAX_TTL or ttl != int(ttl):
            wrong.append(
                f"options.ttl is {ttl:g}s: use whole seconds from 0 (now or never) to {MAX_TTL} (four weeks), or leave it unset for four weeks"
            )
        else:
            into.ttl_s = int(ttl)
    if o.priority not in ("", "normal", "high"):
        wrong.append(f'options.priority is {o.priority!r}: use "normal" or "high", or leave it unset')
    elif o.priority:
        into.priority = o.priority
    if o.collapse_key:
        if problem := identifier("options.collapse_key", o.collapse_key):
            wrong.append(problem)
        else:
            into.collapse_key = o.collapse_key
    into.dry_run, into.receipt_requested = o.dry_run, o.receipt_requested
    into.content_available, into.mutable_content = o.content_available, o.mutable_content
    for name in "android", "apns", "webpush":
        block = getattr(o, name)
        if block is None:
            continue
        try:
            text = _json.dump(dict(block))
        except (InvalidError, TypeError, ValueError) as e:
            wrong.append(f"options.{name} {e}: give the block of one platform, as FCM's HTTP v1 has it")
            continue
        if len(text) > MAX_TEXT:
            wrong.append(f"options.{name} is {len(text)} bytes of JSON text: use at most {MAX_TEXT}")
        setattr(into, name, text)
    return (
        len(into.priority)
        + len(into.collapse_key.encode())
        + len(into.android)
        + len(into.apns)
        + len(into.webpush)
    )


def _fits(d: Downstream, transport: str, wrong: list[str]) -> None:
    """Adds why the transport cannot carry d. One that is not known has no rules here."""
    o, v1 = d.options, "a session with fcm_v1"
    if transport == "huawei":
        wrong.append(
            "session has Huawei's uplink alone, which brings messages up only: nothing can be sent by it"
        )
    elif transport == "ccs":
        if d.to.fid:
            wrong.append(
                f"to.fid is set, but CCS knows no installation ids: use the registration token, or {v1}"
            )
    elif transport == "gateway":
        for name in "topic", "condition":
            if getattr(d.to, name):
                wrong.append(
                    f"to.{name} is set, but the gateway reaches single devices only: send to each device, or use {v1}"
                )
        if o and o.dry_run:
            wrong.append(
                f"options.dry_run is set, but the gateway would deliver the message: leave it out, or use {v1}"
            )
    if o and transport in ("ccs", "gateway"):
        wrong.extend(
            f"options.{name} is set, but nothing reads blocks per platform there: leave it out, or use {v1}"
            for name in ("android", "apns", "webpush")
            if getattr(o, name) is not None
        )
    if d.data and transport in ("fcm_v1", "gateway"):
        wrong.extend(f"data.{k} is the host's own key: choose another" for k in d.data if k in OWN)
    if d.to.condition and (most := {"ccs": 2, "fcm_v1": 4}.get(transport)):
        if (n := _Condition(d.to.condition).operators) > most:
            wrong.append(f"to.condition has {n} operators, and {transport} takes at most {most}")


class _Condition:
    """Reads an expression over topics: unary { ( "&&" | "||" ) unary }."""

    def __init__(self, text: str) -> None:
        self.rest = text
        self.operators = 0
        self.problem = self._expr()
        if not self.problem and self.rest.strip():
            self.problem = f"has {self.rest[:20]!r} where && or || should be"

    def _is(self, word: str) -> bool:
        rest = self.rest.lstrip(" \t\r\n")
        if found := rest.startswith(word):
            self.rest = rest[len(word) :]
        return found

    def _expr(self) -> str:
        opened = 0
        while True:
            while True:  # what stands before a topic
                if self._is("("):
                    opened += 1
                elif not self._is("!"):
                    break
            if not self._is("'"):
                return f"has {self.rest[:20]!r} where a 'topic' should be"
            name, quote, rest = self.rest.partition("'")
            if not quote or not _topic.fullmatch(name):
                return f"has {name[:20]!r}, which is not a topic's name"
            self.rest = rest
            if not (self._is("in") and self._is("topics")):
                return f"lacks \"in topics\" after '{name}'"
            while opened and self._is(")"):
                opened -= 1
            if not self._is("&&") and not self._is("||"):
                return "lacks a closing parenthesis" if opened else ""
            self.operators += 1


def milliseconds(after: timedelta | float) -> int:
    """A delay on the wire, rounded up."""
    return max(ceil(seconds(after) * 1000), 0)
