"""The plugin's calls to the host that have no reply yet."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol

from ._errors import CanceledError, InvalidError, UnavailableError
from ._wire import plugin_pb2 as pb

Steps = Generator[pb.Call, pb.Reply, Any]
"""What Tx and Host do, written once for both manners: it yields calls and gets replies."""

TIMED_OUT = "the handler timed out"
_GONE = "the connection to the host has ended"


class Scope(Protocol):
    """What ends a wait: the handler that waits, or nothing."""

    _cause: str
    """Why it has ended. Empty: it has not."""
    _deadline: float | None
    _waiting: list[SimpleQueue[pb.Reply | None]]


class Calls:
    """Gives calls their numbers, and replies to those that wait. Safe in all threads."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._updates = itertools.count(1)
        self._open: dict[int, Callable[[pb.Reply], object]] = {}
        self._ended = False

    def update_number(self) -> int:
        """A number for one update, the same in all of its runs."""
        return next(self._updates)

    def answer(self, reply: pb.Reply) -> None:
        """Gives a reply to the call that waits for it, unless that has given up."""
        if take := self._open.pop(reply.id, None):
            take(reply)

    def end(self) -> None:
        """Fails all calls that wait, and all later ones."""
        self._ended = True
        for id in list(self._open):
            self.answer(pb.Reply(id=id, code=pb.Reply.UNAVAILABLE, error=_GONE))

    def ask(self, call: pb.Call, scope: Scope | None) -> pb.Reply:
        """Asks the host and waits in this thread, at most until scope ends."""
        if scope and scope._cause:
            raise CanceledError(scope._cause)
        replies: SimpleQueue[pb.Reply | None] = SimpleQueue()
        if scope:
            scope._waiting.append(replies)
        self._start(call, replies.put)
        try:
            reply = None
            if not (scope and scope._cause):  # it may have ended before waiting had this one
                left = scope._deadline - monotonic() if scope and scope._deadline else None
                reply = replies.get(timeout=None if left is None else max(left, 0))
        except Empty:
            reply = None
        finally:
            if scope:
                scope._waiting.remove(replies)
        if reply is None:
            self._abandon(call.id)
            raise CanceledError(scope._cause if scope and scope._cause else TIMED_OUT)
        return reply

    async def ask_async(self, call: pb.Call) -> pb.Reply:
        """Asks the host and waits in this task."""
        loop = asyncio.get_running_loop()
        replied: asyncio.Future[pb.Reply] = loop.create_future()
        self._start(call, lambda reply: loop.call_soon_threadsafe(_settle, replied, reply))
        try:
            return await replied
        except asyncio.CancelledError:
            self._abandon(call.id)
            raise

    def _start(self, call: pb.Call, take: Callable[[pb.Reply], object]) -> None:
        call.id = next(self._numbers)
        self._open[call.id] = take
        if self._ended:
            self.answer(pb.Reply(id=call.id, code=pb.Reply.UNAVAILABLE, error=_GONE))
        else:
            self._send(pb.PluginFrame(call=[call]).SerializeToString())

    def _abandon(self, id: int) -> None:
        if self._open.pop(id, None):
            self._send(pb.PluginFrame(abandon=[id]).SerializeToString())


def _settle(replied: asyncio.Future[pb.Reply], reply: pb.Reply) -> None:
    if not replied.done():
        replied.set_result(reply)


def checked(reply: pb.Reply, verb: str) -> pb.Reply:
    """The reply, or its error."""
    if reply.code == pb.Reply.OK:
        return reply
    if reply.code == pb.Reply.INVALID:
        raise InvalidError(f"{verb}: {reply.error}")
    raise UnavailableError(f"{verb}: {reply.error}")


def drive(steps: Steps, ask: Callable[[pb.Call], pb.Reply]) -> Any:
    """Runs steps to their end in this thread."""
    try:
        call = next(steps)
        while True:
            call = steps.send(ask(call))
    except StopIteration as end:
        return end.value


async def drive_async(steps: Steps, calls: Calls) -> Any:
    """Runs steps to their end in this task."""
    try:
        call = next(steps)
        while True:
            call = steps.send(await calls.ask_async(call))
    except StopIteration as end:
        return end.value
