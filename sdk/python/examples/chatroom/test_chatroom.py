from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from balhost import token
from balhost.testing import FakeHost
from chatroom import plugin


def say(host: FakeHost, device: str, **data: str) -> list[str]:
    """Gives the plugin a device's request, and returns what it has sent: "token: event name text"."""
    r = host.upstream(device=device, data={"room": "r", **data})
    assert r.done, r
    words = ((d.to.token, d.data or {}) for d in r.sent)
    return [
        f"{to}: " + " ".join(filter(None, (m["event"], m.get("name"), m.get("text"), m.get("why"))))
        for to, m in words
    ]


def test_a_room() -> None:
    with FakeHost(plugin) as host:
        assert say(host, "a", do="join", name="Ann") == []
        assert say(host, "b", do="join", name="Bob") == ["a: joined Bob"]
        assert say(host, "c", do="join", name="Cid") == ["a: joined Cid", "b: joined Cid"]
        assert say(host, "b", do="say", text="hi") == ["a: said Bob hi", "c: said Bob hi"]
        assert say(host, "c", do="leave") == ["a: left Cid", "b: left Cid"]
        assert say(host, "a", do="leave") == ["b: left Ann"]
        assert say(host, "b", do="leave") == []
        assert host.keys() == []  # no empty room is left behind


def test_refused() -> None:
    with FakeHost(plugin, config={"max_members": 1, "max_text": 3}) as host:
        assert say(host, "a", do="say", text="hi") == ["a: refused join the room first"]
        assert say(host, "a", do="join") == ["a: refused name: give one of 1 to 100 bytes"]
        assert say(host, "a", room="") == ["a: refused room: give a name of 1 to 100 bytes"]
        assert say(host, "a", do="join", name="Ann") == []
        assert say(host, "b", do="join", name="Bob") == ["b: refused room is full"]
        assert say(host, "a", do="say", text="long") == ["a: refused text: say something of 1 to 3 bytes"]
        assert say(host, "a", do="dance") == ["a: refused do: it must be join, say or leave"]
        assert host.upstream(data={"do": 1}).status == "rejected"


def test_groups() -> None:
    """One device gets a room's messages in order. Devices don't wait for each other."""
    with FakeHost(plugin) as host:
        for who in "abc":
            say(host, who, do="join", name=who)
        before = len(host.sent())
        say(host, "a", do="say", text="1")
        say(host, "a", do="say", text="2")
        to_b, to_c, again_b, _ = (d.group for d in host.sent()[before:])
        assert to_b
        assert to_b == again_b
        assert to_b != to_c


def test_tokens_that_change() -> None:
    with FakeHost(plugin) as host:
        for who in "ab":
            say(host, who, do="join", name=who)
        assert host.outcome(to=token("b"), new_token="b2", context="r").done
        assert say(host, "a", do="say", text="hi") == ["b2: said a hi"]
        assert host.outcome(to=token("b2"), status="failed", gone=True, context="r").done
        assert say(host, "a", do="say", text="hi") == []
        assert 'chatroom_outcomes_total{status="failed"} 1\n' in host.metrics()


def test_many_join_at_once() -> None:
    """If a room has changed, the handler that read it runs again."""
    with FakeHost(plugin) as host, ThreadPoolExecutor(20) as devices:
        for sent in [devices.submit(say, host, f"t{i}", do="join", name=f"n{i}") for i in range(20)]:
            sent.result()
        assert len(host.state("members/r")) == 20
