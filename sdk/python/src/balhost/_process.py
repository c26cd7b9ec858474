"""The process of a plugin: cookie, TLS server, handshake line, signals, exit."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from . import _log
from ._errors import UnavailableError
from ._link import Link, PreconditionError, in_brief
from ._plugin import Plugin
from ._wire import plugin_pb2 as pb

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # a plugin's child processes do no gRPC

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

COOKIE = "BALHOST_PLUGIN", "5b1f0c2e8a6d4937b0c4d2f1e6a97358"
_ORPHAN = 5.0  # seconds from the end of the connection to the exit, if the host does not stop the process
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}
_ERROR_BYTES = 1024  # of an error's text, which travels in a header of HTTP/2
_NEVER = 2**31 - 1
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", _NEVER),  # a clock that is set looks like a dead peer
    ("grpc.so_reuseport", 0),
]
_STATUS = {
    PreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}


def serve(plugin: Plugin[Any]) -> NoReturn:
    """Serves the host until it stops this process."""
    if problem := plugin._problem():
        sys.exit(f"plugin {plugin.name} can't run: {problem}")
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.stderr.write(_by_hand(plugin))
        sys.exit(2)
    _log.install()
    faulthandler.enable()
    status = _Process(plugin).run()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that still run have had their time


class _Process:
    def __init__(self, plugin: Plugin[Any]) -> None:
        self._link = Link(plugin)
        self._connected = False
        self._over = False
        self._exit = threading.Event()
        self._shutdown = False
        self._parent = os.getppid()

    def run(self) -> int:
        """Serves, and returns the exit status."""
        for s in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            signal.signal(s, self._signal)
        folder = os.environ["PLUGIN_UNIX_SOCKET_DIR"]
        path = os.path.join(folder, "plugin.sock")
        server = grpc.server(ThreadPoolExecutor(8, "grpc"), options=_OPTIONS)
        server.add_generic_rpc_handlers(self._services())
        server.add_secure_port("unix:" + path, _credentials(folder))
        server.start()
        sys.stdout.write(f"1|2|unix|{path}|grpc\n")
        sys.stdout.flush()
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)  # what handlers print comes out at once
        while not self._exit.wait(_ORPHAN):
            if not self._connected and os.getppid() != self._parent:
                return 1  # the host died before it connected
        server.stop(0.2).wait(0.5)  # the reply to Shutdown goes out
        return 0 if self._shutdown else 1

    def _signal(self, number: int, _: object) -> None:
        """Signals are meant for the host, which drains the plugin, while it is connected."""
        if not self._connected or self._over:
            os._exit(1)

    def _services(self) -> list[grpc.GenericRpcHandler]:
        link = self._link
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        plugin = {
            "Describe": unary(
                _guarded(link.describe), pb.DescribeRequest.FromString, pb.Manifest.SerializeToString
            ),
            "Configure": unary(
                _guarded(link.configure), pb.ConfigureRequest.FromString, pb.ConfigureReply.SerializeToString
            ),
            "Session": stream(self._session, pb.HostFrame.FromString),
        }
        metrics = {"Text": unary(_guarded(lambda _: link.metrics()), None, _bytes_value)}
        return [
            grpc.method_handlers_generic_handler("balhost.plugin.v1.Plugin", plugin),
            grpc.method_handlers_generic_handler("balhost.plugin.v1.Metrics", metrics),
            grpc.method_handlers_generic_handler(
                "grpc.health.v1.Health", {"Check": unary(lambda *_: _SERVING)}
            ),
            grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": unary(self._stop)}),
        ]

    def _session(self, frames: Iterator[pb.HostFrame], context: grpc.ServicerContext) -> Iterator[bytes]:
        written = _guarded(self._link.session)(frames, context)
        self._connected = True
        try:
            yield from written
        finally:
            self._over = True
            orphan = threading.Timer(_ORPHAN, self._orphaned)
            orphan.daemon = True
            orphan.start()

    def _orphaned(self) -> None:
        self._link.log.warning(
            "the connection to the host has ended, and the host has not stopped this process: exiting"
        )
        self._exit.set()

    def _stop(self, *_: object) -> bytes:
        self._shutdown = True
        self._exit.set()
        return b""


def _guarded(method: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request)
        except Exception as e:
            context.abort(_STATUS.get(type(e), grpc.StatusCode.UNKNOWN), in_brief(e, _ERROR_BYTES))

    return call


def _bytes_value(text: bytes) -> bytes:
    return BytesValue(value=text).SerializeToString()


def _credentials(folder: str) -> grpc.ServerCredentials:
    """Key and certificate as the host has put them into the folder of the socket."""
    texts = {}
    for name in "plugin.key", "plugin.crt", "host.crt":
        with open(os.path.join(folder, name), "rb") as f:
            texts[name] = f.read()
    return grpc.ssl_server_credentials([(texts["plugin.key"], texts["plugin.crt"])], texts["host.crt"], True)


def _by_hand(plugin: Plugin[Any]) -> str:
    return f"""{plugin.name} {plugin.version} is a plugin of balhost. It does nothing when you start it by hand.
Put it into the plugins folder of a host, as the program "plugin" of a folder named {plugin.name!r}.
A running host starts it at once. Then "balhost status" shows it.
"""
