"""Traces: PROTOCOL.md §4."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from balhost import AsyncTx, Downstream, Host, InvalidError, Plugin, Tx, token
from balhost.testing import FakeHost

SPAN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-00"


@pytest.mark.parametrize("manner", ["sync", "async"])
def test_each_handler_has_the_span_of_its_delivery(manner: str) -> None:
    seen: list[str] = []

    def sync(tx: Tx, event: Any) -> None:
        seen.append(tx.traceparent)

    async def on_loop(tx: AsyncTx, event: Any) -> None:
        seen.append(tx.traceparent)

    plugin = Plugin("p", version="1", categories=["app"])
    for kind in "upstream", "outcome", "receipt", "timer":
        getattr(plugin, kind)(sync if manner == "sync" else on_loop)
    with FakeHost(plugin) as host:
        host.upstream(traceparent=SPAN)
        host.outcome(traceparent=SPAN)
        host.receipt(traceparent=SPAN)
        host.timer(key="k", traceparent=SPAN)
        host.upstream()  # of a host without traces
    assert seen == [SPAN] * 4 + [""]


def sending(*spans: Any) -> Plugin[None]:
    """Sends a downstream with each of these."""
    plugin = Plugin("p", version="1", categories=["app"])

    @plugin.upstream
    def upstream(tx: Tx, m: Any) -> None:
        for span in spans:
            tx.send(Downstream(token("t"), {"k": "v"}, traceparent=span))

    return plugin


def test_a_downstream_has_the_span_that_it_was_given() -> None:
    wrong = [
        "",
        "00-xyz",
        SPAN.upper(),
        SPAN + "-01",
        "\ud800" * 55,
        "0" * 100_000,
        SPAN.replace("00-", "01-", 1),
    ]
    with FakeHost(sending(SPAN, *wrong)) as host:
        r = host.upstream(traceparent=OTHER)
        assert [d.traceparent for d in r.sent] == [SPAN] + [""] * len(wrong), r


def test_what_is_no_text_is_told() -> None:
    with FakeHost(sending({"traceparent": SPAN})) as host:
        r = host.upstream()
        assert 'traceparent is a dict: give the text, such as carrier["traceparent"]' in r.reason


def test_outside_of_a_handler() -> None:
    plugin = sending()
    done = threading.Event()
    spans: list[str] = []

    @plugin.run
    def run(host: Host) -> None:
        host.send(Downstream(token("t"), {"k": "v"}, message_id="m", traceparent=SPAN))
        host.send(Downstream(token("t"), {"k": "v"}, message_id="m", traceparent=OTHER))  # the same message
        with pytest.raises(InvalidError, match="another message"):
            host.send(Downstream(token("t"), {"k": "w"}, message_id="m", traceparent=SPAN))
        host.update(lambda tx: spans.append(tx.traceparent))
        done.set()

    with FakeHost(plugin) as host:
        assert done.wait(30)
        assert [d.traceparent for d in host.sent()] == [SPAN]
    assert spans == [""]
