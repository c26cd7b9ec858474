"""Host outside of handlers, the plugin's life, its config and its log, in both manners."""

from __future__ import annotations

import io
import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import pytest
from frames import PATIENCE

from balhost import (
    AsyncHost,
    AsyncTx,
    Downstream,
    Host,
    InvalidError,
    Outcome,
    Plugin,
    Tx,
    UnavailableError,
    Upstream,
    order_by_key,
    token,
)
from balhost._config import ConfigError, decode
from balhost._log import Lines, line
from balhost.testing import FakeHost, refusal


def plugin_with(**functions: Any) -> Plugin[None]:
    plugin = Plugin("p", version="1", categories=["app"])
    for name, function in ({"upstream": lambda tx, m: None} | functions).items():
        getattr(plugin, name)(function)
    return plugin


def run_of(manner: str, do: Any, do_async: Any) -> Plugin[None]:
    """A plugin whose run calls do."""

    def sync(host: Host) -> None:
        do(host)

    async def on_loop(host: AsyncHost) -> None:
        await do_async(host)

    return plugin_with(run=sync if manner == "sync" else on_loop)


both = pytest.mark.parametrize("manner", ["sync", "async"])


@both
def test_host_send_update_get_list_and_cancel(manner: str) -> None:
    seen: list[Any] = []
    done = threading.Event()

    def do(host: Host) -> None:
        def add(tx: Tx) -> None:
            tx.put("n", tx.get("n", 0) + 1)
            tx.send(Downstream(token("b"), {"k": "v"}))

        id = host.send(Downstream(token("a"), {"k": "v"}))
        host.update(add)
        seen.extend(
            [
                host.cancel(id),
                host.cancel(id),
                host.get("n"),
                host.list("")[0][0].key,
                host.transport(),
                host.sessions,
            ]
        )
        done.set()

    async def do_async(host: AsyncHost) -> None:
        async def add(tx: AsyncTx) -> None:
            tx.put("n", await tx.get("n", 0) + 1)
            tx.send(Downstream(token("b"), {"k": "v"}))

        id = await host.send(Downstream(token("a"), {"k": "v"}))
        await host.update(add)
        items, _ = await host.list("")
        seen.extend([await host.cancel(id), await host.cancel(id), await host.get("n"), items[0].key])
        seen.extend([host.transport(), host.sessions])
        done.set()

    with FakeHost(run_of(manner, do, do_async)) as host:
        assert [d.to.token for d in host.await_sent(2)] == ["a", "b"]
        assert done.wait(PATIENCE)
        assert seen == [True, False, 1, "n", "ccs", ("main",)]


@both
def test_an_update_runs_again_after_a_conflict(manner: str) -> None:
    """Many add to one number at once, and nothing is lost."""

    def do(host: Host) -> None:
        def add(tx: Tx) -> None:
            tx.put("n", tx.get("n", 0) + 1)

        adders = [threading.Thread(target=host.update, args=(add,)) for _ in range(10)]
        for a in adders:
            a.start()
        for a in adders:
            a.join()
        host.send(Downstream(token("done")))

    async def do_async(host: AsyncHost) -> None:
        import asyncio

        async def add(tx: AsyncTx) -> None:
            tx.put("n", await tx.get("n", 0) + 1)

        await asyncio.gather(*(host.update(add) for _ in range(10)))
        await host.send(Downstream(token("done")))

    with FakeHost(run_of(manner, do, do_async)) as host:
        host.await_sent(1)
        assert host.state("n") == 10


def test_an_update_that_fails_changes_nothing_and_raises() -> None:
    seen: list[BaseException] = []
    done = threading.Event()

    def run(host: Host) -> None:
        def fail(tx: Tx) -> None:
            tx.put("k", tx.get("other", 1))
            raise KeyError("no")

        try:
            host.update(fail)
        except KeyError as e:
            seen.append(e)
        done.set()

    with FakeHost(plugin_with(run=run)) as host:
        assert done.wait(PATIENCE)
        assert len(seen) == 1
        assert host.keys() == []


def test_what_is_refused_can_be_sent_again_under_its_id() -> None:
    seen: list[str] = []
    full, tried, again = threading.Event(), threading.Event(), threading.Event()

    def run(host: Host) -> None:
        full.wait(PATIENCE)
        d = Downstream(token("a"), {"k": "v"})
        try:
            host.send(d)
        except UnavailableError as e:
            d.message_id = e.message_id
            seen.append(str(e))
        tried.set()
        again.wait(PATIENCE)
        host.send(d)

    with FakeHost(plugin_with(run=run)) as host:
        host.refuse("the disk is full")
        full.set()
        assert tried.wait(PATIENCE)
        assert "the disk is full" in seen[0]
        assert host.sent() == []
        host.refuse("")
        again.set()
        assert host.await_sent(1)[0].message_id in seen[0]


def test_several_sessions() -> None:
    def upstream(tx: Tx, m: Upstream) -> None:
        tx.send(Downstream(token("t"), {"k": "v"}))
        tx.send(Downstream(token("t"), {"k": "v"}, session="de"))

    def start(host: Host) -> None:
        assert host.transport() == ""
        with pytest.raises(InvalidError, match="there are several: de, fr"):
            host.send(Downstream(token("t")))

    with FakeHost(
        plugin_with(upstream=upstream, start=start), sessions=["de", "fr"], transports={"fr": "gateway"}
    ) as host:
        assert [d.session for d in host.upstream(session="fr").sent] == ["fr", "de"]


def test_crash_and_reload_keep_state_and_lose_no_event() -> None:
    began, let = threading.Event(), threading.Event()

    def slow(tx: Tx, m: Upstream) -> None:
        began.set()
        let.wait(PATIENCE)
        tx.put("by", "old")

    def fast(tx: Tx, m: Upstream) -> None:
        tx.put("by", "new")

    with FakeHost(plugin_with(upstream=slow)) as host:
        results: list[Any] = []
        device = threading.Thread(target=lambda: results.append(host.upstream()))
        device.start()
        assert began.wait(PATIENCE)
        began.clear()
        host.crash()
        assert began.wait(PATIENCE)  # it came again, to the new instance
        let.set()
        device.join(PATIENCE)
        assert results[0].done
        host.reload(plugin_with(upstream=fast))
        assert host.state("by") == "old"
        assert host.upstream().done
        assert host.state("by") == "new"


def test_a_stopped_plugin_gets_nothing() -> None:
    with FakeHost(plugin_with()) as host:
        host.stop()
        with pytest.raises(AssertionError, match="the plugin is stopped"):
            host.upstream()


def test_a_hung_handler_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balhost.testing._HUNG", 0.05)
    let = threading.Event()
    with FakeHost(
        plugin_with(upstream=lambda tx, m: let.wait(PATIENCE) and None), handler_timeout=0.01
    ) as host:
        with pytest.raises(AssertionError, match="has not returned"):
            host.upstream()
        let.set()


def test_outcomes_and_receipts() -> None:
    seen: list[Any] = []

    async def receipt(tx: AsyncTx, r: Any) -> None:
        seen.append((r.original_message_id, r.device, r.sent is not None))

    def outcome(tx: Tx, o: Outcome) -> None:
        seen.append((o.to, o.status, o.gone, o.context))

    with FakeHost(plugin_with(outcome=outcome, receipt=receipt)) as host:
        assert host.outcome(to=token("t"), status="failed", gone=True, context={"room": "r"}).done
        assert host.receipt(original_message_id="m", device="d").done
    assert seen == [(token("t"), "failed", True, {"room": "r"}), ("m", "d", True)]


def test_a_plugin_that_cannot_start() -> None:
    def start(host: Host) -> None:
        raise OSError("no database")

    assert refusal(plugin_with(start=start)) == "plugin p: start: OSError: no database"
    assert "it does nothing" in refusal(Plugin("p", version="1"))
    assert "the plugin's name is" in refusal(Plugin("no spaces", version="1"))
    assert "no upstream handler" in refusal(with_outcome(Plugin("p", version="1", categories=["app"])))
    assert "its order is 'key:a..b'" in refusal(
        with_outcome(Plugin("p", version="1", order=order_by_key("a..b")))
    )
    assert "it has no config" in refusal(plugin_with(), config={"k": 1})
    assert refusal(plugin_with()) == ""
    with pytest.raises(TypeError, match="two functions for upstream"):
        plugin_with().upstream(lambda tx, m: None)


def with_outcome(plugin: Plugin[None]) -> Plugin[None]:
    plugin.outcome(lambda tx, o: None)
    return plugin


@dataclass
class Pay:
    key: str
    retries: int = 3


@dataclass
class Config:
    pay: Pay
    every: timedelta = timedelta(minutes=1)
    rooms: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    mode: Literal["fast", "safe"] = "safe"
    note: str | None = None

    def __post_init__(self) -> None:
        if self.every < timedelta():
            raise ValueError("every must not be negative")


def test_a_whole_config() -> None:
    text = b'{"pay":{"key":"s"},"every":"1h1m30.5s","rooms":["a"],"limits":{"a":1},"mode":"fast","note":null}'
    assert decode(text, Config) == Config(
        Pay("s"), timedelta(hours=1, minutes=1, seconds=30.5), ["a"], {"a": 1.0}, "fast"
    )
    assert decode(b"", None) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"", "the key 'pay' is missing"),
        (b"[]", "it is of type array, but must be an object"),
        (b'{"pay":{"key":1}}', "key 'pay.key' is of type number, but must be of type string"),
        (
            b'{"pay":{"key":"s","retries":true}}',
            "key 'pay.retries' is of type bool, but must be of type whole number",
        ),
        (b'{"pay":{"key":"s","retries":1.5}}', "must be of type whole number"),
        (b'{"pay":{"key":"s","x":1}}', "no key 'pay.x'; it has key, retries"),
        (b'{"pay":{"key":"s"},"every":60}', 'write it like "1m30s"'),
        (b'{"pay":{"key":"s"},"every":"-1s"}', "every must not be negative"),
        (b'{"pay":{"key":"s"},"rooms":["a",2]}', "key 'rooms[1]' is of type number"),
        (b'{"pay":{"key":"s"},"mode":"slow"}', "must be one of 'fast', 'safe'"),
        (b'{"pay":null}', "key 'pay' is of type null, but must be of type object"),
        (b"{", "config: "),
    ],
)
def test_a_wrong_config_is_a_clear_error(text: bytes, wrong: str) -> None:
    with pytest.raises(ConfigError) as e:
        decode(text, Config)
    assert wrong in str(e.value)


def test_the_config_is_there_from_start_on() -> None:
    plugin = Plugin("p", version="1", config=Pay)
    plugin.outcome(lambda tx, o: None)
    with pytest.raises(RuntimeError, match="from start on"):
        _ = plugin.config
    with FakeHost(plugin, config={"key": "s"}):
        assert plugin.config.key == "s"
    assert "the key 'key' is missing" in refusal(plugin)


def test_a_line_of_the_log() -> None:
    log = logging.Logger("shop.pay")
    to = io.StringIO()
    log.addHandler(Lines(to))
    try:
        raise ValueError("bad \ud800")
    except ValueError:
        log.exception("it %s", "failed", extra={"room": "ü", "at": timedelta(1)})
    log.debug("connected")
    log.log(5, "wire")
    failed, connected, wire = map(json.loads, to.getvalue().splitlines())
    assert (failed["@level"], failed["@message"], failed["@module"], failed["room"]) == (
        "error",
        "it failed",
        "shop.pay",
        "ü",
    )
    assert failed["stack"].startswith("Traceback")
    assert (connected["@level"], wire["@level"]) == ("debug", "trace")


def test_a_log_that_nobody_reads_harms_nobody() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Lines(Broken()).handle(logging.makeLogRecord({"msg": "x"}))
    assert line(logging.makeLogRecord({"msg": "%s", "args": ("x",), "levelno": logging.WARNING})).startswith(
        '{"@level": "warn"'
    )
