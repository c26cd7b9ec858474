"""Frames in and out: PROTOCOL.md §3, §4 and §7."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from frames import PATIENCE, Frames

from balhost import AsyncHost, AsyncTx, CanceledError, Downstream, Host, Plugin, Tx, Upstream, token
from balhost._link import PreconditionError
from balhost._wire import plugin_pb2 as pb

R = pb.Result


def plugin_with(handler: Any, **more: Any) -> Plugin[None]:
    plugin = Plugin("p", version="1", categories=["app"], **more)
    plugin.upstream(handler)
    return plugin


class Gate:
    """A handler that waits until it is let, or canceled, sync or async."""

    def __init__(self, manner: str, **more: Any) -> None:
        self.let = threading.Event()
        self.began = threading.Semaphore(0)
        self.plugin = plugin_with(self.sync if manner == "sync" else self.on_loop, **more)

    def sync(self, tx: Tx, m: Upstream) -> None:
        self.began.release()
        while not self.let.is_set():
            tx.sleep(0.01)

    async def on_loop(self, tx: AsyncTx, m: Upstream) -> None:
        self.began.release()
        while not self.let.is_set():
            await asyncio.sleep(0.01)

    def await_begun(self, count: int) -> None:
        for _ in range(count):
            assert self.began.acquire(timeout=PATIENCE)


both = pytest.mark.parametrize("manner", ["sync", "async"])


@both
def test_256_handlers_at_once_and_a_pong_beside_them(manner: str) -> None:
    gate = Gate(manner)
    h = Frames(gate.plugin)
    numbers = h.upstream(*(f"e{i}" for i in range(256)))
    gate.await_begun(256)
    h.give(ping=7)
    h.wait(lambda: any(f.pong == 7 for f in h.frames))
    assert not h.results()
    gate.let.set()
    h.wait(lambda: len(h.results()) == 256)
    assert {h.results()[n].code for n in numbers} == {R.DONE}
    assert h.frames[0].credit == 256


@both
def test_no_more_than_max_in_flight_even_if_the_host_gives_more(manner: str) -> None:
    gate = Gate(manner, max_in_flight=3)
    h = Frames(gate.plugin)
    h.upstream(*(f"e{i}" for i in range(10)))
    gate.await_begun(3)
    assert not gate.began.acquire(timeout=0.05)
    gate.let.set()
    h.wait(lambda: len(h.results()) == 10)


@both
def test_drain_releases_what_was_not_begun_and_cancels_the_rest(manner: str) -> None:
    gate = Gate(manner, max_in_flight=2)
    h = Frames(gate.plugin)
    numbers = h.upstream("a", "b", "c", "d")
    gate.await_begun(2)
    h.give(drain=pb.Drain(reason="reload", timeout_ms=500))
    assert h.ended.wait(PATIENCE)
    assert [h.results()[n].code for n in numbers] == [R.RELEASE] * 4
    order = [n for f in h.frames for r in f.result for n in [r.delivery]]
    assert order[:2] == numbers[2:]  # at once, and the others after their time
    assert h.frames[-1].drained


@both
def test_drain_lets_handlers_finish(manner: str) -> None:
    gate = Gate(manner)
    h = Frames(gate.plugin)
    (number,) = h.upstream("a")
    gate.await_begun(1)
    h.give(drain=pb.Drain(timeout_ms=60_000))
    (late,) = h.upstream("late")
    assert h.result(late).code == R.RELEASE
    gate.let.set()
    assert h.ended.wait(PATIENCE)
    assert h.results()[number].code == R.DONE
    assert h.frames[-1].drained


def test_drained_comes_without_a_handler_that_ignores_its_end() -> None:
    let, began = threading.Event(), threading.Event()

    def handler(tx: Tx, m: Upstream) -> None:
        began.set()
        let.wait(PATIENCE)

    h = Frames(plugin_with(handler))
    (number,) = h.upstream("a")
    assert began.wait(PATIENCE)
    h.give(drain=pb.Drain(timeout_ms=50))
    assert h.ended.wait(PATIENCE)
    assert h.frames[-1].drained
    assert number not in h.results()
    let.set()


@both
@pytest.mark.parametrize("how", ["timeout", "revoke"])
def test_a_handler_is_canceled(manner: str, how: str) -> None:
    gate = Gate(manner)
    h = Frames(gate.plugin)
    (number,) = h.upstream("a", timeout_ms=20 if how == "timeout" else 0)
    gate.await_begun(1)
    if how == "revoke":
        h.give(revoke=[number])
    r = h.result(number)
    assert r.code == R.RETRY
    assert r.delay_ms < 0
    assert r.error.startswith("the handler timed out" if how == "timeout" else "the host has revoked")


@both
def test_a_call_ends_with_its_handler_and_is_abandoned(manner: str) -> None:
    def sync(tx: Tx, m: Upstream) -> None:
        tx.get("k")

    async def on_loop(tx: AsyncTx, m: Upstream) -> None:
        await tx.get("k")

    h = Frames(plugin_with(sync if manner == "sync" else on_loop))
    (number,) = h.upstream("a", timeout_ms=50)
    assert h.result(number).error.startswith("the handler timed out")
    assert h.wait(lambda: h.all("abandon")) == [c.id for c in h.all("call")]


def test_what_is_canceled_is_seen() -> None:
    seen: list[Any] = []
    began = threading.Event()

    def handler(tx: Tx, m: Upstream) -> None:
        seen.append((tx.canceled, tx.time_left))
        began.set()
        try:
            tx.sleep(PATIENCE)
        except CanceledError:
            seen.append((tx.canceled, tx.time_left))

    h = Frames(plugin_with(handler))
    (number,) = h.upstream("a", timeout_ms=60_000)
    assert began.wait(PATIENCE)
    h.give(revoke=[number])
    assert h.result(number).code == R.DONE  # its result still counts
    (before, left), (after, _) = seen
    assert (before, after) == (False, True)
    assert 0 < left <= 60


def test_an_unknown_event_is_retry() -> None:
    h = Frames(plugin_with(lambda tx, m: None))
    h.give(deliver=[pb.Delivery.FromString(b"\x08\x05\x10\x01\xfa\x06\x02\x0a\x00")])  # field 111
    r = h.result(5)
    assert r.code == R.RETRY
    assert "newer" in r.error


def test_an_event_without_a_handler_is_done() -> None:
    h = Frames(plugin_with(lambda tx, m: None))
    h.give(deliver=[pb.Delivery(delivery=3, outcome=pb.Outcome(id="o"))])
    assert h.result(3).code == R.DONE


def test_unknown_fields_and_frames_do_no_harm() -> None:
    h = Frames(plugin_with(lambda tx, m: None))
    h._to.put(pb.HostFrame.FromString(b"\xfa\x06\x02\x0a\x00" + pb.HostFrame(ping=9).SerializeToString()))
    h.wait(lambda: any(f.pong == 9 for f in h.frames))


def test_data_by_offsets_and_spelled_out() -> None:
    seen: list[Any] = []
    h = Frames(plugin_with(lambda tx, m: seen.append((m.data, m.raw))))
    h.upstream("a")
    h.give(deliver=[pb.Delivery(delivery=8, upstream=pb.Upstream(id="b", raw=b"{}", data=b'{"x":1}'))])
    h.give(deliver=[pb.Delivery(delivery=9, upstream=pb.Upstream(id="c", raw=b"{}"))])
    h.wait(lambda: len(h.results()) == 3)
    assert sorted(map(str, seen)) == sorted(
        map(str, [({"k": "v"}, b'{"data":{"k":"v"}}'), ({"x": 1}, b"{}"), ({}, b"{}")])
    )


def test_capabilities_are_those_of_both() -> None:
    link = Frames(plugin_with(lambda tx, m: None), configure=False).link
    assert list(link.describe(pb.DescribeRequest(capabilities=["x", "offsets"])).capabilities) == ["offsets"]
    assert not link.describe(pb.DescribeRequest()).capabilities


def test_frames_keep_to_the_limits() -> None:
    """A thousand results with much in each: no frame has too many items or bytes."""

    def handler(tx: Tx, m: Upstream) -> None:
        tx.put("k", "x" * 50_000)

    h = Frames(plugin_with(handler), limits=pb.Limits(frame_bytes=600_000, calls=8))
    h.upstream(*(f"e{i}" for i in range(300)))
    h.wait(lambda: len(h.results()) == 300)
    assert max(f.ByteSize() for f in h.frames) < 600_000
    assert max(len(f.result) for f in h.frames) <= 8


def test_calls_of_many_handlers_are_answered_in_any_order() -> None:
    h = Frames(plugin_with(lambda tx, m: tx.put("sum", tx.get(m.id))))
    numbers = h.upstream("a", "b", "c")
    calls = h.wait(lambda: len(h.all("call")) == 3 and h.all("call"))
    for c in reversed(calls):
        h.give(reply=[pb.Reply(id=c.id, value=b'"%s"' % c.get.encode(), version=4)])
    for n, name in zip(numbers, "abc"):
        changes = h.result(n).changes
        assert [(w.key, w.value) for w in changes.write] == [("sum", b'"%s"' % name.encode())]
        assert [(r.key, r.version) for r in changes.read] == [(name, 4)]


@pytest.mark.parametrize("broken", [None, ConnectionError("reset")])
def test_the_host_goes(broken: Exception | None) -> None:
    """Handlers end soon, calls fail, and the session ends by itself."""
    failed: list[BaseException] = []
    gate = Gate("sync")

    @gate.plugin.run
    def run(host: Host) -> None:
        try:
            host.get("k")
        except Exception as e:
            failed.append(e)

    h = Frames(gate.plugin)
    h.give(run=True)
    h.wait(lambda: h.all("call"))
    h.upstream("a")
    gate.await_begun(1)
    h.close(broken)
    assert h.ended.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not failed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "connection to the host has ended" in str(failed[0])


def test_run_begins_when_it_may_and_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balhost._link._RETRY_LEAST", 0.001)
    runs: list[int] = []
    third = threading.Event()
    plugin = plugin_with(lambda tx, m: None)

    @plugin.run
    async def run(host: AsyncHost) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise OSError("no network")
        third.set()
        await asyncio.sleep(PATIENCE)

    h = Frames(plugin)
    h.give(ping=1)
    h.wait(lambda: any(f.pong for f in h.frames))
    assert not runs
    h.give(run=True)
    h.wait(lambda: any(f.run_failure.failures == 2 for f in h.frames))
    assert next(f.run_failure.error for f in h.frames if f.run_failure.failures) == "OSError: no network"
    assert third.wait(PATIENCE)
    h.give(drain=pb.Drain(timeout_ms=60_000))
    assert h.ended.wait(PATIENCE)  # run was canceled
    assert len(runs) == 3


def test_stop_comes_last_and_may_send() -> None:
    order: list[str] = []
    plugin = plugin_with(lambda tx, m: None)
    hosts: list[Host] = []
    began = threading.Event()

    @plugin.start
    def start(host: Host) -> None:
        hosts.append(host)

    @plugin.run
    def run(host: Host) -> None:
        began.set()
        try:
            host.sleep(PATIENCE)
        finally:
            order.append("run")

    @plugin.stop
    def stop() -> None:
        hosts[0].send(Downstream(token("t"), {"k": "v"}))
        order.append("stop")

    h = Frames(plugin)
    h.give(run=True)
    assert began.wait(PATIENCE)
    h.give(drain=pb.Drain(timeout_ms=60_000))
    assert h.reply().send.to.token == "t"
    assert h.ended.wait(PATIENCE)
    assert order == ["run", "stop"]


def test_running_handlers_are_extended() -> None:
    gate = Gate("sync")
    h = Frames(gate.plugin, limits=pb.Limits(extend_ms=20))
    h.link.limits.extend_ms = 20
    (number,) = h.upstream("a")
    gate.await_begun(1)
    h.wait(lambda: number in h.all("extend"))
    gate.let.set()


def test_a_second_session_or_configure_is_refused() -> None:
    h = Frames(plugin_with(lambda tx, m: None))
    with pytest.raises(PreconditionError):
        h.link.session([])
    with pytest.raises(PreconditionError):
        h.link.configure(pb.ConfigureRequest())


def test_an_error_is_cut_and_is_utf8() -> None:
    def handler(tx: Tx, m: Upstream) -> None:
        raise ValueError("\ud800" + "ü" * 10_000)

    h = Frames(plugin_with(handler), limits=pb.Limits(error_bytes=100))
    error = h.result(h.upstream("a")[0]).error
    assert len(error.encode()) <= 100
    assert error.startswith("ValueError: \\ud800ü")


def test_a_handler_that_blocks_stops_no_other() -> None:
    """However many short ones come, each that blocks leaves the queue to the next thread."""
    let = threading.Event()
    h = Frames(plugin_with(lambda tx, m: let.wait(PATIENCE) and None if m.id == "slow" else None))
    slow = []
    for i in range(20):
        first, *_ = h.upstream("slow", *(f"e{i}-{n}" for n in range(30)))
        slow.append(first)
    h.wait(lambda: len(h.results()) == 600)
    assert not set(slow) & set(h.results())
    let.set()
    h.wait(lambda: len(h.results()) == 620)


def test_a_failure_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    h = Frames(plugin_with(lambda tx, m: m.data["none"]))
    h.result(h.upstream("a")[0])
    (record,) = [r for r in caplog.records if r.name == "p"]
    assert (record.levelname, vars(record)["err"], vars(record)["id"]) == ("ERROR", "KeyError: 'none'", "a")
    assert record.exc_info
