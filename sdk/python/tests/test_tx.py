"""What handlers do through Tx, in both manners, against the fake host: PROTOCOL.md §4."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from balhost import (
    AsyncTx,
    Downstream,
    InvalidError,
    Options,
    Plugin,
    Reject,
    Retry,
    Tx,
    Upstream,
    fid,
    in_lane,
    in_lane_of,
    token,
    topic,
)
from balhost.testing import FakeHost


def plugin_with(handler: Any) -> Plugin[None]:
    plugin = Plugin("p", version="1", categories=["app"])
    plugin.upstream(handler)
    return plugin


def run(handler: Any, **more: Any) -> Any:
    with FakeHost(plugin_with(handler), **more) as host:
        return host.upstream()


def refused(do: Any, **more: Any) -> str:
    """Does it in a handler, and returns the text of its InvalidError."""
    texts: list[str] = []

    def handler(tx: Tx, m: Upstream) -> None:
        with pytest.raises(InvalidError) as e:
            do(tx)
        texts.append(str(e.value))

    r = run(handler, **more)
    assert r.done, r  # the Tx is as it was before
    assert not r.sent
    return texts[0]


def raising(e: BaseException) -> Any:
    def handler(tx: Tx, m: Upstream) -> None:
        tx.put("k", 1)
        raise e

    return handler


@pytest.mark.parametrize(
    ("error", "status", "reason", "delay"),
    [
        (Reject("never"), "rejected", "never", None),
        (Retry(1.5, "busy"), "retried", "busy", 1.5),
        (Retry(timedelta(minutes=1)), "retried", "the plugin asked for a retry", 60.0),
        (Retry(reason="soon"), "retried", "soon", None),
        (KeyError("room"), "retried", "KeyError: 'room'", None),
        (SystemExit(3), "retried", "SystemExit: 3", None),
    ],
)
def test_how_a_handler_ends(error: BaseException, status: str, reason: str, delay: float | None) -> None:
    with FakeHost(plugin_with(raising(error))) as host:
        r = host.upstream()
        assert (r.status, r.reason, r.delay) == (status, reason, delay)
        assert host.keys() == []


@pytest.mark.parametrize("value", [Reject("x"), False, 7])
def test_what_is_returned_is_never_done(value: object) -> None:
    r = run(lambda tx, m: value)
    assert r.status == "retried"
    assert type(value).__name__ in r.reason


def test_a_coroutine_that_nobody_awaits() -> None:
    async def hidden() -> None: ...

    assert "async def" in run(lambda tx, m: hidden()).reason


def test_an_async_handler() -> None:
    async def handler(tx: AsyncTx, m: Upstream) -> None:
        one, two = await asyncio.gather(tx.get("a", 1), tx.get("b", 2))
        items, more = await tx.list("")
        tx.put("sum", one + two + len(items) + more)
        tx.send(Downstream(token(m.device), {"ok": "yes"}))

    with FakeHost(plugin_with(handler)) as host:
        host.set_state("a", 10)
        r = host.upstream(device="ann")
        assert r.done, r
        assert host.state("sum") == 13
        assert r.sent[0].to == token("ann")


def test_reads_and_writes() -> None:
    def handler(tx: Tx, m: Upstream) -> None:
        assert tx.get("none") is None
        assert tx.get("none", 3) == 3
        tx.put("k", {"n": [1, "ü"]})
        assert tx.get("k") == {"n": [1, "ü"]}
        tx.delete("k")
        assert tx.get("k", "gone") == "gone"
        tx.put("null", None)
        assert tx.get("null", "absent") is None

    with FakeHost(plugin_with(handler)) as host:
        r = host.upstream()
        assert r.done, r
        assert host.keys() == ["null"]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("key", "runs"), [("n", 2), ("order/2", 2), ("other", 1)])
def test_a_conflict_runs_the_handler_again(key: str, runs: int, fails: bool) -> None:
    """What was read or listed has changed meanwhile: also an error does not count then."""

    def handler(tx: Tx, m: Upstream) -> None:
        n = tx.get("n", 0)
        orders, _ = tx.list("order/")
        tx.put("seen", n + len(orders))
        if fails and n + len(orders) == 1:
            raise ValueError("too few")

    with FakeHost(plugin_with(handler)) as host:
        host.set_state("order/1", 1)
        host.before_commit(lambda: host.set_state(key, 1))
        r = host.upstream()
        assert r.runs == runs
        assert r.done == (runs == 2 or not fails)


def test_a_list_has_what_this_tx_has_written_and_goes_on_in_pages() -> None:
    found: list[Any] = []

    def handler(tx: Tx, m: Upstream) -> None:
        tx.put("o/25", "new")
        tx.delete("o/1")
        tx.put("p", 1)
        after, more = "", True
        while more:
            items, more = tx.list("o/", after, 2)
            found.append([(it.key, it.value) for it in items])
            after = items[-1].key

    with FakeHost(plugin_with(handler)) as host:
        for n in 1, 2, 3, 4:
            host.set_state(f"o/{n}", n)
        r = host.upstream()
        assert r.done, r
    assert [it for page in found for it in page] == [("o/2", 2), ("o/25", "new"), ("o/3", 3), ("o/4", 4)]


def test_the_ids_of_downstreams_are_the_same_at_each_attempt() -> None:
    def handler(tx: Tx, m: Upstream) -> None:
        with pytest.raises(InvalidError):
            tx.send(Downstream(token("t"), {"from": "x"}))
        assert tx.send(Downstream(token("t"), {"a": "1"})) == "e-1"
        assert tx.send(Downstream(token("t"), {"a": "2"}, message_id="mine")) == "mine"
        assert tx.send(Downstream(token("t"), {"a": "3"})) == "e-3"

    with FakeHost(plugin_with(handler)) as host:
        for _ in range(2):
            assert host.upstream(id="e").done
        assert [d.message_id for d in host.sent()] == ["e-1", "mine", "e-3"]


def test_a_whole_downstream() -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    d = Downstream(
        fid("f"),
        {"ü\n\"": "\U0001f600\u2028"},
        {"title": "t", "title_loc_args": '["a"]'},
        Options(timedelta(hours=1), "high", "c", True, True, True, True, {"priority": "HIGH"}, {}, {"data": {}}),
        "g", "id", "s", {"any": [1]}, at, "score",
    )  # fmt: skip
    r = run(lambda tx, m: tx.send(d) and None, sessions=["s"], transports={"s": "fcm_v1"})
    assert r.done, r
    assert r.sent == [d]


@pytest.mark.parametrize(
    ("d", "text"),
    [
        (Downstream(token("t"), {"n": 1}), "data.n is int: FCM takes strings only"),  # type: ignore[dict-item]
        (Downstream(token("t"), {1: "x"}), "which is no str"),  # type: ignore[dict-item]
        (Downstream(token("t"), {"a": "\ud800"}), "half a surrogate pair (U+D800)"),
        (Downstream(token("\ud83d"), {}), "to.token has half a surrogate pair"),
        (Downstream(token("t"), {"gcm.x": "1"}), "FCM reserves"),
        (Downstream(token("t"), {"a": "x" * 4096}), "4097 bytes of keys and values: FCM takes at most 4096"),
        (Downstream(topic("t"), {"a": "x" * 2048}), "at most 2048"),
        (Downstream(topic("/topics/t")), "is not a topic's name"),
        (Downstream(token("")), "0 targets"),
        (Downstream("t"), "use token(...)"),  # type: ignore[arg-type]
        (Downstream(fid("f")), "CCS knows no installation ids"),
        (Downstream(token("t"), group="g" * 256), "group has 256 bytes"),
        (Downstream(token("t"), message_id="a\nb"), "message_id has U+000A"),
        (Downstream(token("t"), options=Options(ttl=1.5)), "whole seconds"),
        (Downstream(token("t"), options=Options(ttl=timedelta(days=29))), "four weeks"),
        (Downstream(token("t"), options=Options(priority="urgent")), '"normal" or "high"'),
        (Downstream(token("t"), options=Options(android={})), "nothing reads blocks per platform"),
        (Downstream(token("t"), context=object()), "context Object of type object"),
        (Downstream(token("t"), not_before=datetime(2030, 1, 1)), "with a time zone"),
        (Downstream(token("t"), not_before=datetime(1971, 1, 1, tzinfo=timezone.utc)), "from 2000 to 2200"),
        (Downstream(token("t"), notification={"body_loc_args": "x"}), "not a JSON array in a string"),
    ],
)
def test_a_downstream_that_can_never_go_out_is_refused_at_once(d: Downstream, text: str) -> None:
    assert text in refused(lambda tx: tx.send(d))


@pytest.mark.parametrize(
    ("do", "text"),
    [
        (lambda tx: tx.put("k", "\udfff"), "half a surrogate pair (U+DFFF)"),
        (lambda tx: tx.put("k", float("nan")), "cannot be JSON"),
        (lambda tx: tx.put("k", {1, 2}), "is not JSON serializable"),
        (lambda tx: tx.put("k", "x" * 1_032_192), "the value has 1032194 bytes as JSON, at most 1032192"),
        (lambda tx: tx.put("", 1), "must be 1 to 512 bytes"),
        (lambda tx: tx.put("ü" * 257, 1), "of 514 bytes"),
        (lambda tx: tx.get("\ud800"), "half a surrogate pair"),
        (lambda tx: tx.list("k" * 513), "of 513 bytes"),
        (lambda tx: [tx.put(f"k{i}", 1) for i in range(1001)], "1001 downstreams, timers and keys at once"),
        (lambda tx: [tx.put(f"k{i}", "x" * 1_000_000) for i in range(2)], "at once, at most 1048576"),
        (lambda tx: tx.cancel_send(""), "is empty"),
        (lambda tx: tx.schedule("k", datetime.now(timezone.utc)), "no timer handler"),
    ],
)
def test_a_change_that_can_never_be_committed_is_refused_at_once(do: Any, text: str) -> None:
    assert text in refused(do)


@pytest.mark.parametrize("key", ["data", "notification"])
def test_all_of_unicode_goes_through(key: str) -> None:
    text = "".join(chr(c) for c in range(0x20, 0x800)) + "\U0001f600\U0010ffff\ufeff"
    r = run(lambda tx, m: tx.send(Downstream(token("t"), **{key: {"k": text}})) and None)
    assert getattr(r.sent[0], key) == {"k": text}


def test_a_value_of_almost_1_mib() -> None:
    with FakeHost(plugin_with(lambda tx, m: tx.put("k", "x" * 1_032_190))) as host:
        assert host.upstream().done
        assert len(host.state("k")) == 1_032_190


def test_conditions() -> None:
    from balhost._check import _Condition

    good = "!('a' in topics && ('b' in topics || !'c' in topics))", "'a' in topics"
    bad = (
        "'a' in topic",
        "('a' in topics",
        "'a' in topics)",
        "a in topics",
        "'a b' in topics",
        "'a' in topics &&",
        "",
    )
    assert [_Condition(c).problem for c in good] == ["", ""]
    assert all(_Condition(c).problem for c in bad)
    assert _Condition(good[0]).operators == 2


def timed(*heard: list[Any]) -> Plugin[None]:
    plugin = plugin_with(do_as_told)

    @plugin.timer
    def timer(tx: Tx, t: Any) -> None:
        heard[0].append((t.key, t.data, t.device, t.attempt))
        if t.key == "b" and t.attempt == 1:
            raise OSError("not now")
        if t.key == "c":
            raise Reject("never")

    return plugin


def do_as_told(tx: Tx, m: Upstream) -> None:
    now = datetime.now(timezone.utc)
    if m.message_id == "cancel":
        return tx.cancel("a")
    tx.schedule("b", now + timedelta(hours=2))
    tx.schedule("a", now + timedelta(hours=1), {"n": 1})
    tx.schedule("c", now + timedelta(hours=3), 7, in_lane_of("main", "otto"))
    tx.schedule("d", now + timedelta(hours=4), None, in_lane("mine"))


def test_timers_come_in_order_and_again_after_an_error() -> None:
    heard: list[Any] = []
    with FakeHost(timed(heard)) as host:
        assert host.upstream(device="ann").done
        assert [t.key for t in host.timers()] == ["a", "b", "c", "d"]
        assert host.advance(timedelta(minutes=59)) == []
        assert [r.status for r in host.advance(timedelta(minutes=61))] == ["done", "retried"]
        assert heard == [("a", {"n": 1}, "ann", 1), ("b", None, "ann", 1)]
        assert [r.status for r in host.advance(0)] == ["done"]
        assert [r.status for r in host.advance(3 * 3600)] == ["rejected", "done"]
        assert heard[3:] == [("c", 7, "otto", 1), ("d", None, "ann", 1)]
        assert host.timers() == []


def test_a_canceled_timer_does_not_come() -> None:
    heard: list[Any] = []
    with FakeHost(timed(heard)) as host:
        host.upstream()
        host.upstream(message_id="cancel")
        host.advance(3600 + 60)
        assert heard == []


def test_cancel_send_and_replace() -> None:
    def handler(tx: Tx, m: Upstream) -> None:
        if m.message_id.startswith("cancel:"):
            tx.cancel_send(m.message_id[7:])
        else:
            tx.send(Downstream(token("t"), {"m": m.message_id}, replace="score"))

    with FakeHost(plugin_with(handler)) as host:
        first, second, third = (host.upstream(message_id=str(i)).sent[0].message_id for i in range(3))
        assert host.canceled(first) == host.canceled(second) == "REPLACED"
        host.upstream(message_id="cancel:" + third)
        assert host.canceled(third) == "CANCELED"
        assert host.waiting() == []
        fourth = host.upstream(message_id="4").sent[0].message_id
        host.go_out(fourth)
        host.upstream(message_id="cancel:" + fourth)
        assert host.canceled(fourth) == ""


def test_a_tx_ends_with_its_handler() -> None:
    kept: list[Tx] = []
    assert run(lambda tx, m: kept.append(tx)).done
    with pytest.raises(InvalidError, match="this Tx has ended"):
        kept[0].put("k", 1)
