"""Host lets a plugin call its host outside of an event."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from . import _check
from ._calls import checked, drive, drive_async
from ._errors import CanceledError, InvalidError, UnavailableError
from ._message import Downstream
from ._tx import AsyncTx, BaseTx, Item, Tx, new_id
from ._wire import plugin_pb2 as pb

if TYPE_CHECKING:
    from ._link import Link

__all__ = ["AsyncHost", "Host"]

_STOPPING = "the plugin is stopping"


class Sessions:
    """The host's sessions, as it told them last."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._transports: dict[str, str] = {}

    def set(self, names: list[str], transports: list[str]) -> None:
        """Takes what the host tells. Without a transport a session has CCS."""
        padded = transports + [""] * (len(names) - len(transports))
        self._transports = {name: t or "ccs" for name, t in zip(names, padded)}
        self.names = tuple(names)

    def transport(self, name: str) -> str:
        """That of a session, or with "" of the only one. Empty: there is none."""
        names = self.names
        return self._transports.get(names[0] if not name and len(names) == 1 else name, "")


class BaseHost:
    """What Host and AsyncHost have in common."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stopping = threading.Event()

    @property
    def log(self) -> logging.Logger:
        """The plugin's log: the logger with its name.

        The host shows its lines among its own, and those of all other loggers. Fields go
        into extra: host.log.info("joined", extra={"room": "r"}).
        """
        return self._link.log

    @property
    def sessions(self) -> tuple[str, ...]:
        """The names of the host's sessions. A reload of its config can change them."""
        return self._link.sessions.names

    def transport(self, session: str = "") -> str:
        """How a session's downstreams travel: "ccs", "fcm_v1", "gateway" or "huawei".

        "" is the host's only session. It returns "" if the host has no such session.
        """
        return self._link.sessions.transport(session)

    @property
    def stopping(self) -> bool:
        """The plugin shall end. run should return soon."""
        return self._stopping.is_set()

    def _send(self, d: Downstream) -> Generator[pb.Call, pb.Reply, str]:
        if not isinstance(d, Downstream):
            raise InvalidError(f"send: {type(d).__name__} given: use Downstream(to, data, ...)")
        names = self._link.sessions.names
        if not d.session and len(names) > 1:
            raise InvalidError(
                f"send: the downstream names no session, and there are several: {', '.join(names)}"
            )
        call = pb.Call()
        message_id = d.message_id or new_id()
        try:
            _check.downstream(d, call.send, message_id, d.session, self.transport(d.session))
        except InvalidError as e:
            raise InvalidError(f"send: {e}") from None
        try:
            checked((yield call), f"send {message_id}")
        except UnavailableError as e:
            e.message_id = message_id
            raise
        return message_id

    def _cancel(self, message_id: str) -> Generator[pb.Call, pb.Reply, bool]:
        if problem := _check.identifier("message_id", message_id):
            raise InvalidError(f"cancel {message_id[:64]!r}: {problem}")
        return checked((yield pb.Call(cancel=message_id)), f"cancel {message_id}").canceled


class _Update:
    """One update and its runs."""

    def __init__(self, link: Link, kind: type[BaseTx]) -> None:
        self._link = link
        self._kind = kind
        self._number = link.calls.update_number()
        self._runs = 0
        self._failed: Exception | None = None

    def begin(self) -> Any:
        """The Tx of the next run."""
        self._runs += 1
        return self._kind(self._link)

    def changes(self, tx: BaseTx, failed: Exception | None) -> pb.Call | None:
        """The commit of a run. None: there is nothing to commit, and nothing to check."""
        self._failed = failed
        changes = tx._end()
        if failed:
            changes = pb.Changes()
            tx._note_reads(changes)
        if changes is None or not changes.ByteSize():
            if self._runs == 1:
                return None
            changes = pb.Changes()  # it frees the keys that the host reserves
        return pb.Call(update=changes, transaction=self._number)

    def again(self, reply: pb.Reply) -> float | None:
        """After how many seconds to run again. None: it has ended, and end says how."""
        if reply.code != pb.Reply.CONFLICT:
            if not self._failed:
                checked(reply, "update")
            return None
        if self._runs <= 3:
            return 0.0
        return random.uniform(0, 0.001 * (1 << min(self._runs, 8)))

    def end(self) -> None:
        """Raises what the function raised in its last run."""
        if self._failed:
            raise self._failed


class Host(BaseHost):
    """Lets a plugin call its host outside of an event. Its methods may be called from any thread."""

    def send(self, d: Downstream) -> str:
        """Gives one downstream to the host, and returns its id when it is on disk.

        Without a session it uses the host's only one. After an InvalidError nothing is
        stored. After an UnavailableError nobody knows: the error's message_id is the id.
        Put it into d.message_id, and send again: the message goes out at most once.
        """
        sent: str = drive(self._send(d), self._ask)
        return sent

    def cancel(self, message_id: str) -> bool:
        """Cancels the plugin's downstream with this id, and says whether it was in time."""
        canceled: bool = drive(self._cancel(message_id), self._ask)
        return canceled

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of the state. It may have changed by now: see update."""
        return Tx(self._link).get(key, default)

    def list(self, prefix: str = "", after: str = "", max: int = 0) -> tuple[list[Item], bool]:
        """As Tx.list. It may have changed by now."""
        return Tx(self._link).list(prefix, after, max)

    def update(self, function: Callable[[Tx], None]) -> None:
        """Runs function(tx), and commits what it did. It returns when that is on disk.

        If a key that function has read has changed meanwhile, it runs again with a new Tx.
        So it must do nothing outside of its Tx. Don't call update in a handler: use the
        handler's Tx.
        """
        update = _Update(self._link, Tx)
        while True:
            tx = update.begin()
            failed = None
            try:
                function(tx)
            except Exception as e:
                failed = e
            call = update.changes(tx, failed)
            pause = update.again(self._ask(call)) if call else None
            if pause is None:
                return update.end()
            time.sleep(pause)

    def sleep(self, seconds: float) -> None:
        """Waits. CanceledError: the plugin shall end."""
        if self._stopping.wait(seconds):
            raise CanceledError(_STOPPING)

    def _ask(self, call: pb.Call) -> pb.Reply:
        return self._link.calls.ask(call, None)


class AsyncHost(BaseHost):
    """Host for async functions: its calls are awaited, on the loop of the handlers."""

    async def send(self, d: Downstream) -> str:
        """As Host.send."""
        sent: str = await drive_async(self._send(d), self._link.calls)
        return sent

    async def cancel(self, message_id: str) -> bool:
        """As Host.cancel."""
        canceled: bool = await drive_async(self._cancel(message_id), self._link.calls)
        return canceled

    async def get(self, key: str, default: Any = None) -> Any:
        """As Host.get."""
        return await AsyncTx(self._link).get(key, default)

    async def list(self, prefix: str = "", after: str = "", max: int = 0) -> tuple[list[Item], bool]:
        """As Host.list."""
        return await AsyncTx(self._link).list(prefix, after, max)

    async def update(self, function: Callable[[AsyncTx], Awaitable[None]]) -> None:
        """As Host.update, with an async function."""
        update = _Update(self._link, AsyncTx)
        while True:
            tx = update.begin()
            failed = None
            try:
                await function(tx)
            except Exception as e:
                failed = e
            call = update.changes(tx, failed)
            pause = update.again(await self._link.calls.ask_async(call)) if call else None
            if pause is None:
                return update.end()
            await asyncio.sleep(pause)
