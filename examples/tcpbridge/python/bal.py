"""A business layer (BAL) for balhost's tcpbridge, with nothing but Python's standard library.

Copy the class Bal into your program. Run as a program, this file is a BAL that sends each
device its own message back:

    python3 bal.py --session com.example.bal
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import socket
import ssl
import threading
import uuid
from typing import Any, Callable

Message = dict[str, Any]
log = logging.getLogger("bal")


class Bal:
    """One business layer. Make one for each session id, in one process.

    run() connects, logs on, and gives each message to a handler, one after the other, in the
    order of the bridge. When a handler has returned, the message is acked. If it raises, or the
    process dies before, the message comes again: so a handler must bear to see one twice.

    on_upstream(message) gets what a device has sent: message["fcm_data"] has from, message_id
    and data. on_report(message) hears how a downstream ended: message["message_type"] is
    DOWNSTREAM_ACK, DOWNSTREAM_REJECT or DOWNSTREAM_RECEIPT.
    """

    MAX_KEPT = 1000  # downstreams that the bridge has not acked
    SILENCE = 60.0  # seconds; the bridge writes at least every 15

    def __init__(
        self,
        session_id: str,
        on_upstream: Callable[[Message], None],
        on_report: Callable[[Message], None] = lambda message: None,
        *,
        host: str = "127.0.0.1",
        port: int = 5001,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._session_id = session_id
        self._on_upstream = on_upstream
        self._on_report = on_report
        self._address = (host, port)
        self._token = token
        self._tls = tls
        self._changed = threading.Condition()  # guards what follows, and what is written
        self._kept: dict[str, bytes] = {}  # by message_id: what the bridge has not acked
        self._socket: socket.socket | None = None  # None: not logged on
        self._thread: int | None = None  # that of run
        self._closed = False

    def send(self, fcm_data: Message, *, group_id: str = "", host_session: str = "") -> str:
        """Sends a downstream and returns its message_id. Any thread may call it, at any time.

        It is kept in memory until the bridge has stored it, and written again after a reconnect.
        fcm_data is as CCS had it: to, data, notification, time_to_live and so on. Give it a
        message_id that you make from your own data, and the same downstream sent twice, even
        after a crash, is stored once. If 1,000 are kept, send waits; in a handler it does not.
        """
        message_id = fcm_data.get("message_id") or str(uuid.uuid4())
        message = {"message_type": "DOWNSTREAM", "fcm_data": {**fcm_data, "message_id": message_id}}
        if group_id:
            message["group_id"] = group_id
        if host_session:
            message["host_session"] = host_session
        line = self._line(message)
        with self._changed:
            while len(self._kept) >= self.MAX_KEPT and threading.get_ident() != self._thread and not self._closed:
                self._changed.wait()
            self._kept[message_id] = line
            self._write(line)
        return message_id

    def run(self) -> None:
        """Connects, and connects again, until close is called."""
        self._thread = threading.get_ident()
        delay = 0.2  # seconds
        while not self._closed:
            try:
                for _ in self._serve():
                    delay = 0.2
                log.warning("the bridge has closed the connection")
            except (OSError, ValueError) as err:
                log.warning("not connected: %s", err)
            with self._changed:
                self._socket = None
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, delay * random.uniform(0.5, 1))
            delay = min(2 * delay, 30)

    def close(self) -> None:
        """Ends run. Downstreams that the bridge has not acked are lost, if you don't send them again."""
        with self._changed:
            self._closed = True
            self._hang_up()
            self._changed.notify_all()

    def _serve(self) -> Any:
        """One connection: yields after each message."""
        with socket.create_connection(self._address, timeout=10) as connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_hostname=self._address[0])
            with connection, connection.makefile("rb") as lines:
                self._logon(connection, lines)
                while message := self._read(lines):
                    self._handle(message)
                    yield

    def _logon(self, connection: socket.socket, lines: Any) -> None:
        logon = {"message_type": "LOGON", "session_id": self._session_id}
        if self._token:
            logon["token"] = self._token
        connection.sendall(self._line(logon))
        answer = self._read(lines) or {}
        if answer.get("status") != "SUCCESS":
            raise ValueError(answer.get("error_description", "the bridge has closed the connection"))
        connection.settimeout(self.SILENCE)
        with self._changed:
            self._socket = connection
            if self._closed:
                raise OSError("closed")
            for line in self._kept.values():
                self._write(line)
        log.info("logged on as %s", self._session_id)

    def _handle(self, message: Message) -> None:
        kind = message.get("message_type")
        if kind == "ACK":
            with self._changed:
                self._kept.pop(message["message_id"], None)
                self._changed.notify_all()
        elif kind == "ERROR":
            raise ValueError(message.get("error_description"))
        elif "sequence_id" in message:
            handler = self._on_upstream if kind == "UPSTREAM" else self._on_report
            try:
                handler(message)
            except Exception:
                log.exception("a handler failed, its message comes again")
                raise ConnectionAbortedError("a handler failed")
            # Behind what the handler has sent: the bridge takes lines in their order.
            with self._changed:
                self._write(self._line({"message_type": "ACK", "sequence_id": message["sequence_id"]}))

    def _read(self, lines: Any) -> Message | None:
        """The next message; None at the end of the connection."""
        while line := lines.readline(1 << 20):
            if not line.endswith(b"\n"):
                raise ValueError("the connection ended within a line, or the line is too long")
            if line.strip():  # an empty line is a heartbeat
                return json.loads(line)
        return None

    def _write(self, line: bytes) -> None:
        """Is called with _changed held. Without a connection it does nothing: what counts comes again."""
        try:
            if self._socket:
                self._socket.sendall(line)
        except OSError:
            self._hang_up()  # half a line may have gone

    def _hang_up(self) -> None:
        """Ends the connection, so that run makes another. Is called with _changed held."""
        try:
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended
        self._socket = None

    @staticmethod
    def _line(message: Message) -> bytes:
        return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="A business layer that answers each device with its own data.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--session", default="com.example.bal", help="the session id: the app's package name")
    parser.add_argument("--token-file", help="a file with the token of the session id")
    parser.add_argument("--ca", help="a file with the certificate that the bridge's is checked against; turns TLS on")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def echo(message: Message) -> None:
        device = message["fcm_data"]
        print("upstream", message["sequence_id"], device["from"], json.dumps(device.get("data")), flush=True)
        # The same upstream always has the same answer id, so it is answered once.
        answer = hashlib.sha256(f"{device['from']} {device['message_id']}".encode("utf-8", "replace")).hexdigest()[:32]
        data = {"to": device["from"], "message_id": answer, "data": device.get("data") or {}}
        bal.send(data, group_id=device["from"][:60], host_session=message["host_session"])

    def report(message: Message) -> None:
        print("report", message["message_type"], message["fcm_data"].get("message_id"), message.get("error_description", ""), flush=True)

    token = open(args.token_file).read().strip() if args.token_file else ""
    tls = ssl.create_default_context(cafile=args.ca) if args.ca else None
    bal = Bal(args.session, echo, report, host=args.host, port=args.port, token=token, tls=tls)
    try:
        bal.run()
    except KeyboardInterrupt:
        bal.close()


if __name__ == "__main__":
    main()
