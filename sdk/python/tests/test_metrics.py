"""A plugin's own metrics: PROTOCOL.md §6, the capability metrics."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from frames import PATIENCE, Frames

from balhost import InvalidError, Plugin, UnavailableError
from balhost._wire import plugin_pb2 as pb
from balhost.testing import FakeHost

TEXT = '# TYPE rooms gauge\nrooms{kind="ö"} 3\n'


def measuring(metrics: Any = None) -> Plugin[None]:
    plugin = Plugin("meter", version="1", categories=["app"])
    plugin.upstream(lambda tx, m: None)
    if metrics:
        plugin.metrics(metrics)
    return plugin


def test_the_capability_is_that_of_plugins_with_metrics() -> None:
    for plugin, has in (measuring(), False), (measuring(lambda: TEXT), True):
        frames = Frames(plugin, configure=False)
        manifest = frames.link.describe(pb.DescribeRequest(capabilities=["offsets", "metrics", "later"]))
        assert ("metrics" in manifest.capabilities) == has
        assert "metrics" not in frames.link.describe(pb.DescribeRequest()).capabilities


async def on_loop() -> bytes:
    return TEXT.encode()


@pytest.mark.parametrize("metrics", [lambda: TEXT, TEXT.encode, on_loop])
def test_text_arrives_whole(metrics: Any) -> None:
    with FakeHost(measuring(metrics)) as host:
        assert host.metrics() == TEXT
        assert host.metrics() == TEXT


def fail() -> str:
    raise OSError("no database")


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        (None, "has no metrics"),
        (fail, "no database"),
        (lambda: 3, "returned a int"),
        (lambda: b" " * (2 << 20), "2097152 bytes, at most 1048576"),
    ],
)
def test_what_can_t_be_had_is_told(metrics: Any, says: str) -> None:
    with FakeHost(measuring(metrics)) as host, pytest.raises(Exception, match=says):
        host.metrics()


def test_the_limit_itself_is_taken() -> None:
    with FakeHost(measuring(lambda: "\n" * (1 << 20))) as host:
        assert len(host.metrics()) == 1 << 20
    with FakeHost(measuring(lambda: "\n" * (1 << 20) + "\n")) as host, pytest.raises(InvalidError):
        host.metrics()


def test_a_failure_that_comes_again_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    ways = [fail, fail, lambda: TEXT, fail]
    with caplog.at_level(logging.ERROR, "meter"), FakeHost(measuring(lambda: ways.pop(0)())) as host:
        for _ in range(4):
            try:
                host.metrics()
            except OSError:
                pass
        assert [r.message for r in caplog.records] == ["metrics failed"] * 2
        assert caplog.records[0].exc_info


def test_calls_do_not_overlap() -> None:
    begun, end = threading.Event(), threading.Event()

    def hang() -> str:
        assert not begun.is_set()
        begun.set()
        assert end.wait(PATIENCE)
        return TEXT

    with FakeHost(measuring(hang)) as host:
        first = threading.Thread(target=host.metrics)
        first.start()
        assert begun.wait(PATIENCE)
        with pytest.raises(UnavailableError, match="has not returned yet"):
            host.metrics()
        end.set()
        first.join()


def test_over_grpc(tmp_path: Path) -> None:
    from balhost._process import _Process, grpc  # the other tests do without

    ways = [lambda: TEXT, fail, lambda: b" " * (2 << 20)]
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(_Process(measuring(lambda: ways.pop(0)()))._services())
    server.add_insecure_port(f"unix:{tmp_path}/s")
    server.start()
    with grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
        ask = channel.unary_unary("/balhost.plugin.v1.Metrics/Text")
        text = TEXT.encode()
        assert ask(b"", timeout=PATIENCE) == bytes([0x0A, len(text)]) + text  # BytesValue
        for says in "OSError: no database", "metrics have 2097152 bytes":
            with pytest.raises(grpc.RpcError) as e:
                ask(b"", timeout=PATIENCE)
            assert e.value.code() == grpc.StatusCode.UNKNOWN
            assert says in e.value.details()
    server.stop(None)


def test_not_after_the_end() -> None:
    frames = Frames(measuring(lambda: TEXT))
    assert frames.link.metrics() == TEXT.encode()
    frames.close()
    assert frames.ended.wait(PATIENCE)
    with pytest.raises(UnavailableError, match="stopping"):
        frames.link.metrics()
