"""The plugin's side of one connection to its host: it knows frames, and nothing of gRPC.

The reader hands out the host's frames and never waits. Handlers put results into out, and
the writer joins what is there to one frame: protobuf reads joined messages as one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from time import monotonic
from typing import Any

from . import _check, _log
from ._calls import Calls
from ._config import ConfigError, decode
from ._errors import CanceledError, InvalidError, Reject, Retry, UnavailableError
from ._host import _STOPPING, AsyncHost, Host, Sessions
from ._message import Upstream, to_outcome, to_receipt, to_timer
from ._metrics import Metrics
from ._plugin import Plugin, is_async
from ._tx import AsyncTx, BaseTx, Tx
from ._wire import plugin_pb2 as pb
from ._work import Loop, Pool

LIMITS = pb.Limits(
    changes=1000,
    change_bytes=1 << 20,
    key_bytes=512,
    value_bytes=(1 << 20) - (16 << 10),
    calls=256,
    frame_bytes=8 << 20,
    in_flight=256,
    extend_ms=10_000,
    ping_ms=10_000,
    error_bytes=4096,
)
"""Those of a host that tells none."""

_GRACE = 2.0  # seconds for handlers, run and stop after the host has gone
_BATCH = 64  # items of one frame
_FRAME = 256 << 10  # bytes of one frame, but one item may be larger
_RETRY_LEAST, _RETRY_MOST, _HEALTHY = 1.0, 60.0, 300.0  # seconds, of run

_MESSAGES: dict[str, Callable[[Any, int], Any]] = {
    "upstream": Upstream,
    "outcome": to_outcome,
    "receipt": to_receipt,
    "timer": to_timer,
}


class PreconditionError(Exception):
    """A call came twice, or in the wrong order."""


class Link:
    """Answers Describe, one Session, and one Configure."""

    def __init__(self, plugin: Plugin[Any]) -> None:
        self.plugin = plugin
        self.log = logging.getLogger(plugin.name)
        self.limits = LIMITS
        self.sessions = Sessions()
        self.out: SimpleQueue[int | bytes | None] = (
            SimpleQueue()
        )  # deliveries that are done, parts of frames, None: the end
        self.calls = Calls(self.out.put)
        self.opened = threading.Event()
        self._metrics = Metrics(self.log)
        self._host = Host(self)
        self._async_host = AsyncHost(self)
        self._configured = False
        self._started = False
        self._may_run = threading.Event()
        self._run_ended = threading.Event()
        self._stop_run = threading.Event()
        self._running_run: concurrent.futures.Future[None] | None = None
        self._waiting: dict[int, BaseTx] = {}  # deliveries that were not begun
        self._running: dict[int, BaseTx] = {}
        self._closed = False  # no more handlers begin
        self._idle = threading.Event()  # closed, and none runs
        self._over = threading.Event()  # only the writer is still needed
        self._draining = False
        self._kinds = {kind: (is_async(f), f) for kind, f in plugin._functions.items()}
        self._pool = Pool(plugin.max_in_flight, self._handle)
        self._loop: Loop | None = None
        if any(on_loop for on_loop, _ in self._kinds.values()):
            self._loop = Loop(plugin.max_in_flight, self._handle_async)

    # What the host calls.

    def describe(self, request: pb.DescribeRequest) -> pb.Manifest:
        """The plugin's manifest."""
        return self.plugin._manifest(request.capabilities)

    def configure(self, request: pb.ConfigureRequest) -> pb.ConfigureReply:
        """Reads the config and runs start. Their errors stand in the reply."""
        if not self.opened.wait(_GRACE):
            raise PreconditionError("Configure was called before Session")
        if self._configured:
            raise PreconditionError("Configure was called before in this process")
        self._configured = True
        _log.set_level(request.log_level)
        limits = pb.Limits()
        limits.CopyFrom(LIMITS)
        limits.MergeFrom(request.limits)
        self.limits = limits
        self.sessions.set(list(request.sessions), list(request.transports))
        try:
            self.plugin._config = decode(request.config, self.plugin._config_type)
            if "start" in self._kinds:
                self._call("start", self._host, self._async_host)
        except ConfigError as e:
            return pb.ConfigureReply(error=f"plugin {self.plugin.name}: {e}")
        except BaseException as e:
            self.log.error("start failed", exc_info=e)
            return pb.ConfigureReply(error=_clean(f"plugin {self.plugin.name}: start: {_words(e)}"))
        self._started = True
        return pb.ConfigureReply()

    def metrics(self) -> bytes:
        """The plugin's own metrics. What they raise says why there are none."""
        if "metrics" not in self._kinds:
            raise PreconditionError("the plugin has no metrics")
        if self._over.is_set():
            raise UnavailableError(_STOPPING)
        return self._metrics.ask(lambda: self._returned("metrics"))

    def session(self, frames: Iterable[pb.HostFrame]) -> Iterator[bytes]:
        """Serves the host until their connection ends: takes its frames, and gives the plugin's."""
        if self.opened.is_set():
            raise PreconditionError("Session was called before in this process")
        self.out.put(pb.PluginFrame(credit=self.plugin.max_in_flight).SerializeToString())
        for part in (self._read, frames), (self._extend,), (self._keep_running,):
            threading.Thread(
                target=part[0], args=part[1:], name=part[0].__name__.strip("_"), daemon=True
            ).start()
        self.opened.set()
        return self._write()

    # The writer.

    def _write(self) -> Iterator[bytes]:
        get, empty = self.out.get, self.out.empty
        item: int | bytes | None = 0
        while item is not None:
            items, room = min(_BATCH, self.limits.calls), min(_FRAME, self.limits.frame_bytes // 4)
            done: list[int] = []
            parts: list[bytes] = []
            while (item := get()) is not None:
                if item.__class__ is int:
                    done.append(item)
                else:
                    parts.append(item)  # type: ignore[arg-type]
                    room -= len(item)  # type: ignore[arg-type]
                if empty() or room <= 0 or len(parts) == items or len(done) == 4 * _BATCH:
                    break
            if done:
                parts.append(pb.PluginFrame(done=done).SerializeToString())
            if parts:
                yield b"".join(parts)

    # The reader.

    def _read(self, frames: Iterable[pb.HostFrame]) -> None:
        why = ""
        try:
            for frame in frames:
                self._take(frame)
        except Exception as e:  # the stream is broken
            why = f"{type(e).__name__}: {e}"
        if not self._draining:
            self.log.debug("the host has gone", extra={"err": why} if why else None)
            self._wind_down(0, _GRACE, drained=not why)
        elif why:
            self.out.put(None)  # nobody hears the rest

    def _take(self, frame: pb.HostFrame) -> None:
        """Takes a frame's fields, in the order that the protocol gives."""
        if frame.deliver:
            self._deliver(frame.deliver)
        for number in frame.revoke:
            if tx := self._running.get(number) or self._waiting.get(number):
                tx._cancel("the host has revoked the event")
        for reply in frame.reply:
            self.calls.answer(reply)
        if frame.log_level:
            _log.set_level(frame.log_level)
        if frame.sessions:
            self.sessions.set(list(frame.sessions), list(frame.transports))
        if frame.ping:
            self.out.put(pb.PluginFrame(pong=frame.ping).SerializeToString())
        if frame.run:
            self._may_run.set()
        if frame.HasField("drain") and not self._draining:
            self._draining = True
            limit = max(frame.drain.timeout_ms, 1) / 1000
            threading.Thread(
                target=self._wind_down, args=(limit * 4 / 5, limit, True), name="drain", daemon=True
            ).start()

    def _deliver(self, deliveries: Iterable[pb.Delivery]) -> None:
        now = monotonic()
        on_pool: list[BaseTx] = []
        on_loop: list[BaseTx] = []
        for d in deliveries:
            tx = self._received(d, now)
            if tx is None:
                continue
            self._waiting[tx._number] = tx
            if self._closed:
                self._release(tx._number)
            else:
                (on_loop if isinstance(tx, AsyncTx) else on_pool).append(tx)
        if on_pool:
            self._pool.put(on_pool)
        if on_loop and self._loop:
            self._loop.put(on_loop)

    def _received(self, d: pb.Delivery, now: float) -> BaseTx | None:
        """A delivery's Tx, with its message and its handler. None: it has ended already."""
        kind = d.WhichOneof("event")
        if kind not in _MESSAGES:
            text = "this SDK does not know this kind of event: use a newer one"
            self._result(pb.Result(delivery=d.delivery, code=pb.Result.RETRY, error=text))
            return None
        if kind not in self._kinds:
            self.out.put(d.delivery)
            return None
        on_loop, handler = self._kinds[kind]
        event = getattr(d, kind)
        tx = (AsyncTx if on_loop else Tx)(self, d.delivery, event.id, event.session)
        tx._handler, tx._event_pb, tx._attempt, tx._kind = handler, event, d.attempt, kind
        if d.traceparent:
            tx._traceparent = d.traceparent
        if d.timeout_ms:
            tx._deadline = now + d.timeout_ms / 1000
        return tx

    def _extend(self) -> None:
        """Tells the host, again and again, which handlers still run."""
        while not self._over.wait(self.limits.extend_ms / 2000):
            if running := list(self._running):
                self.out.put(pb.PluginFrame(extend=running).SerializeToString())

    # Handlers.

    def _begin(self, tx: BaseTx) -> bool:
        """Whether the handler may begin: its delivery was not released meanwhile."""
        self._running[tx._number] = tx
        if self._waiting.pop(tx._number, None):
            return True
        del self._running[tx._number]
        self._tell_idle()
        return False

    def _handle(self, tx: BaseTx) -> None:
        if not self._begin(tx):
            return
        failed: BaseException | None = None
        try:
            if tx._cause:
                raise CanceledError(tx._cause)
            returned = tx._handler(tx, _MESSAGES[tx._kind](tx._event_pb, tx._attempt))
            if returned is not None:
                failed = _not_none(returned)
        except BaseException as e:
            failed = e
        self._report(tx, failed)

    async def _handle_async(self, tx: BaseTx) -> None:
        if not self._begin(tx):
            return
        failed: BaseException | None = None
        try:
            if tx._cause:
                raise CanceledError(tx._cause)
            returned = await tx._handler(tx, _MESSAGES[tx._kind](tx._event_pb, tx._attempt))
            if returned is not None:
                failed = _not_none(returned)
        except BaseException as e:
            failed = e
        self._report(tx, failed)

    def _report(self, tx: BaseTx, failed: BaseException | None) -> None:
        """Sends the result of a delivery: what its handler has asked for."""
        try:
            if failed is None:
                if tx._end():
                    assert tx._frame
                    self.out.put(tx._frame.SerializeToString())
                else:
                    self.out.put(tx._number)
            else:
                self._result(self._failure(tx, failed))
        except BaseException as e:  # it must have a result, whatever happens
            self.log.error("the result cannot be sent", exc_info=e)
            self._result(pb.Result(delivery=tx._number, code=pb.Result.RETRY, error=_clean(_words(e))))
        del self._running[tx._number]
        if self._closed:
            self._tell_idle()

    def _failure(self, tx: BaseTx, failed: BaseException) -> pb.Result:
        tx._ended = True
        result = pb.Result(delivery=tx._number, code=pb.Result.RETRY, delay_ms=-1)
        tx._note_reads(result.changes)  # the error counts only if these keys have not changed
        if not result.changes.ByteSize():
            result.ClearField("changes")
        text = _words(failed)
        if isinstance(failed, Reject):
            result.code = pb.Result.REJECT
        elif isinstance(failed, Retry):
            if failed.after is not None:
                result.delay_ms = _check.milliseconds(failed.after)
        elif tx._cause == _STOPPING:
            result.code = pb.Result.RELEASE
        elif isinstance(failed, asyncio.CancelledError):
            text = tx._cause or "the handler was canceled by the plugin itself"
        elif not isinstance(failed, (CanceledError, InvalidError, UnavailableError)):
            fields = {
                "id": tx._event,
                "msg_id": _message_id(tx._event_pb),
                "attempt": tx._attempt,
                "err": _words(failed),
            }
            self.log.error("the handler has failed", exc_info=failed, extra=fields)
        if tx._cause and tx._cause not in text:
            text = f"{tx._cause}: {text}"
        result.error = _cut(text, self.limits.error_bytes)
        return result

    def _release(self, number: int) -> None:
        if self._waiting.pop(number, None):
            self._result(pb.Result(delivery=number, code=pb.Result.RELEASE))

    def _result(self, result: pb.Result) -> None:
        self.out.put(pb.PluginFrame(result=[result]).SerializeToString())

    def _tell_idle(self) -> None:
        if self._closed and not self._running and not self._waiting:
            self._idle.set()

    # The functions beside the handlers.

    def _call(self, what: str, host: Host | None = None, async_host: AsyncHost | None = None) -> None:
        """Calls start, run or stop and waits for its end."""
        returned = self._returned(what, host, async_host)
        if returned is not None:
            raise _not_none(returned)

    def _returned(self, what: str, host: Host | None = None, async_host: AsyncHost | None = None) -> Any:
        """Calls one of the functions beside the handlers, and waits for what it returns."""
        on_loop, function = self._kinds[what]
        if not on_loop:
            return function(host) if host else function()
        assert self._loop
        coroutine = function(async_host) if async_host else function()
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop.loop)
        if what == "run":
            self._running_run = future
            if self._stop_run.is_set():
                future.cancel()
        return future.result()

    def _keep_running(self) -> None:
        """Runs run when the host allows it, and again after a failure."""
        try:
            if "run" not in self._kinds:
                return
            self._may_run.wait()
            failures, delay = 0, _RETRY_LEAST
            while not self._stop_run.is_set():
                began = monotonic()
                try:
                    return self._call("run", self._host, self._async_host)
                except BaseException as e:
                    if self._stop_run.is_set():
                        return
                    if monotonic() - began > _HEALTHY:
                        failures, delay = 0, _RETRY_LEAST
                    failures += 1
                    pause = random.uniform(delay / 2, delay)
                    failure = pb.RunFailure(
                        failures=failures,
                        error=in_brief(e, self.limits.error_bytes),
                        wait_ms=int(pause * 1000),
                    )
                    self.out.put(pb.PluginFrame(run_failure=failure).SerializeToString())
                    self.log.error(
                        "run failed, it is started again", exc_info=e, extra={"after": f"{pause:.2f}s"}
                    )
                    delay = min(2 * delay, _RETRY_MOST)
                    self._stop_run.wait(pause)
        finally:
            self._run_ended.set()

    # The end.

    def _wind_down(self, soft: float, limit: float, drained: bool) -> None:
        """Ends run and the handlers, calls stop, and ends the stream, all within limit."""
        began = monotonic()
        self._closed = True
        for number in list(self._waiting):
            self._release(number)
        self._tell_idle()
        self._host._stopping.set()
        self._async_host._stopping.set()
        self._stop_run.set()
        self._may_run.set()
        if self._running_run:
            self._running_run.cancel()
        for name, ended in ("run", self._run_ended), ("a handler", self._idle):
            if ended.wait(max(began + soft - monotonic(), 0)):
                continue
            for tx in list(self._running.values()):
                tx._cancel(_STOPPING)
            if not ended.wait(max(began + limit - monotonic(), 0)):
                self.log.warning(
                    "it still runs although its time is over; the plugin ends without it",
                    extra={"state": name},
                )
                break  # stop must not run at the same time
        else:
            self._stop(began + limit - monotonic())
        self._over.set()
        if drained:
            self.out.put(pb.PluginFrame(drained=True).SerializeToString())
        self.calls.end()
        self.out.put(None)
        if self._loop:
            self._loop.close()

    def _stop(self, seconds: float) -> None:
        if "stop" not in self._kinds or not self._started:
            return

        def stop() -> None:
            try:
                self._call("stop")
            except BaseException as e:
                self.log.error("stop failed", exc_info=e)

        stopping = threading.Thread(target=stop, name="stop", daemon=True)
        stopping.start()
        stopping.join(max(seconds, 0.1))


def _not_none(returned: object) -> TypeError:
    close = getattr(returned, "close", None)  # of a coroutine that nobody awaits
    if close and hasattr(returned, "__await__"):
        close()
        return TypeError("the function returned a coroutine: declare it with async def")
    if isinstance(returned, BaseException):
        return TypeError(f"the function returned a {type(returned).__name__}: raise it")
    return TypeError(
        f"the function returned a {type(returned).__name__}: return nothing when it is done, and raise what is wrong"
    )


def _message_id(event: Any) -> str:
    return getattr(event, "message_id", "") or getattr(event, "original_message_id", "")


def _words(e: BaseException) -> str:
    """An error in one line: its text, with the type if it is not one of this package's."""
    if isinstance(e, (Reject, Retry, InvalidError, UnavailableError, CanceledError, PreconditionError)):
        return str(e)
    return f"{type(e).__name__}: {e}" if str(e) else type(e).__name__


def in_brief(e: BaseException, most: int) -> str:
    """An error in one line of at most so many bytes."""
    return _cut(_words(e), most)


def _clean(text: str) -> str:
    """The text with \\udXXX in place of half surrogate pairs."""
    return text.encode(errors="backslashreplace").decode()


def _cut(text: str, most: int) -> str:
    b = text.encode(errors="backslashreplace")
    if len(b) <= most:
        return b.decode()
    return b[: most - 4].decode(errors="ignore") + " …"
