from balhost import token
from balhost.testing import FakeHost
from echo import plugin


def test_echo() -> None:
    with FakeHost(plugin) as host:
        r = host.upstream(device="ann", data={"say": "hi"})
        assert r.done, r
        assert [(d.to, d.data) for d in r.sent] == [(token("ann"), {"say": "hi"})]


def test_twice_is_once() -> None:
    """The same event a second time, as after a crash, makes the same downstream."""
    with FakeHost(plugin) as host:
        for _ in range(2):
            assert host.upstream(id="e1", device="ann", data={"say": "hi"}).done
        assert [d.message_id for d in host.sent()] == ["e1-1"]
