"""A plugin with state. Devices join rooms. What one says goes to all others in the room.

It shows

- order by a key of the payload: the messages of one room are handled one after the other,
  and different rooms at the same time;
- state that is committed together with the event (tx.get, tx.put);
- groups: each member gets a room's messages in the order in which they were said;
- outcomes: a device that does not exist any more leaves its rooms;
- sessions: members of one room may come by different sessions;
- metrics of the plugin's own, which the host gives on.

A device sends {"do":"join","room":"r","name":"Ann"}, {"do":"say","room":"r","text":"hi"}
or {"do":"leave","room":"r"}.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from balhost import Downstream, Outcome, Plugin, Reject, Tx, Upstream, order_by_key, token


@dataclass
class Config:
    """The config block of the plugin in config.hcl."""

    max_members: int = 100  # of one room
    max_text: int = 1000  # bytes of one message


Room = dict[str, dict[str, str]]
"""The state of one room: the name and the session of each member, by its token."""

plugin = Plugin(
    "chatroom",
    version="1.0.0",
    categories=["com.example.chatroom"],
    order=order_by_key("data.room"),
    config=Config,
)


ended = {"acked": 0, "failed": 0, "expired": 0, "canceled": 0}
"""Downstreams, by how they ended, for metrics. It is gone at the next start, as metrics are."""
counting = threading.Lock()  # handlers run at the same time


@plugin.metrics
def metrics() -> str:
    """Prometheus's text. With more than this, use prometheus_client and a registry of the plugin's own."""
    with counting:
        lines = [f'chatroom_outcomes_total{{status="{status}"}} {n}\n' for status, n in ended.items()]
    return "# TYPE chatroom_outcomes_total counter\n" + "".join(lines)


@plugin.upstream
def upstream(tx: Tx, m: Upstream) -> None:
    if not all(isinstance(v, str) for v in m.data.values()):
        raise Reject(
            f"data of {m.message_id}: all values must be strings"
        )  # a later attempt can't read it either
    do, room, name, text = (m.data.get(key, "") for key in ("do", "room", "name", "text"))
    if not is_short(room):
        return refuse(tx, m, "room: give a name of 1 to 100 bytes")
    members: Room = tx.get(key_of(room), {})
    who = members.get(m.device)
    most = plugin.config.max_text
    if do == "join":
        if not who and len(members) >= plugin.config.max_members:
            return refuse(tx, m, "room is full")
        if not is_short(name):
            return refuse(tx, m, "name: give one of 1 to 100 bytes")
        members[m.device] = {"name": name, "session": m.session}
        tx.put(key_of(room), members)
        return tell(tx, room, members, m.device, {"event": "joined", "name": name})
    if not who:
        return refuse(tx, m, "join the room first")
    if do == "say":
        if not 0 < len(text.encode()) <= most:
            return refuse(tx, m, f"text: say something of 1 to {most} bytes")
        return tell(tx, room, members, m.device, {"event": "said", "name": who["name"], "text": text})
    if do == "leave":
        return leave(tx, room, members, m.device)
    refuse(tx, m, "do: it must be join, say or leave")


@plugin.outcome
def outcome(tx: Tx, o: Outcome) -> None:
    """A token that is gone leaves the room. If it was replaced, the member gets the new one."""
    with counting:
        ended[o.status] = ended.get(o.status, 0) + 1
    if not o.gone and not o.new_token:
        return
    if not isinstance(o.context, str):
        return  # refuse has sent it: it belongs to no room
    room = o.context  # tell has put it there
    members: Room = tx.get(key_of(room), {})
    if o.to.token not in members:
        return
    if o.gone:
        return leave(tx, room, members, o.to.token)
    members[o.new_token] = members.pop(o.to.token)
    tx.put(key_of(room), members)


def leave(tx: Tx, room: str, members: Room, device: str) -> None:
    who = members.pop(device)
    if members:
        tx.put(key_of(room), members)
    else:
        tx.delete(key_of(room))
    tell(tx, room, members, device, {"event": "left", "name": who["name"]})


def tell(tx: Tx, room: str, members: Room, but: str, data: dict[str, str]) -> None:
    """Sends data to all members but one.

    Each pair of room and device has a group of its own. So a device gets the room's
    messages in order, and no device waits for another.
    """
    # The tokens are sorted, because a downstream's id is made of its place in the Tx. If
    # the message comes again, this must send in the same order.
    for device in sorted(members):
        if device != but:
            tx.send(
                Downstream(
                    token(device),
                    {**data, "room": room},
                    session=members[device]["session"],
                    group=group(room, device),
                    context=room,
                )
            )


def refuse(tx: Tx, m: Upstream, why: str) -> None:
    """Tells the device why its message was refused. Then it is handled: another attempt would not help."""
    tx.send(Downstream(token(m.device), {"event": "refused", "why": why}))


def is_short(name: str) -> bool:
    return 0 < len(name.encode()) <= 100


def key_of(room: str) -> str:
    return "members/" + room


def group(room: str, device: str) -> str:
    """A hash of both: tokens are long, and the length of a group's name is limited."""
    return hashlib.sha256(f"{room}\0{device}".encode()).hexdigest()[:32]
