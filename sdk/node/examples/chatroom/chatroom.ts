// A plugin with state. Devices join rooms. What one device says goes to all others in the room. It shows
//
//   - order by a key of the payload: the messages of one room are handled one after the other, and different rooms at the
//     same time;
//   - state that is committed together with the event (tx.get, tx.put);
//   - groups: each member gets a room's messages in the order in which they were said;
//   - outcomes: a device that does not exist any more leaves its rooms;
//   - sessions: members of one room may come by different sessions;
//   - metrics of the plugin's own, which the host gives on.
//
// A device sends {"do":"join","room":"r","name":"Ann"}, {"do":"say","room":"r","text":"hi"} or {"do":"leave","room":"r"}.
import { createHash } from "node:crypto";
import { orderByKey, Reject, token, type Data, type Outcome, type Plugin, type Tx, type Upstream } from "balhost";

/** A device in a room. It is reached by the session by which it came. */
interface Member {
  name: string;
  session: string;
}

/**
 * One room: its members by their tokens. In the state it is an object, at the key "members/" and the room's name. Here it
 * is a Map, because a device may call itself "constructor".
 */
type Room = Map<string, Member>;

export function chatroom(): Plugin {
  const config = {
    max_members: 100, // of one room
    max_text: 1000, // bytes of one message
  };
  // Downstreams, by how they ended, for metrics. It is gone at the next start, as metrics are.
  const ended = new Map(["acked", "failed", "expired", "canceled"].map((status) => [status, 0]));
  return {
    name: "chatroom",
    version: "1.0.0",
    categories: ["com.example.chatroom"],
    order: orderByKey("data.room"),
    config,
    upstream: (tx, m) => upstream(tx, m, config),
    outcome: (tx, o) => {
      ended.set(o.status, (ended.get(o.status) ?? 0) + 1);
      return outcome(tx, o);
    },
    metrics: () => metrics(ended),
  };
}

/** Prometheus's text. With more than this, use prom-client and a registry of the plugin's own. */
function metrics(ended: Map<string, number>): string {
  const lines = Array.from(ended, ([status, n]) => `chatroom_outcomes_total{status="${status}"} ${n}\n`);
  return "# TYPE chatroom_outcomes_total counter\n" + lines.join("");
}

async function upstream(tx: Tx, m: Upstream, config: { max_members: number; max_text: number }): Promise<void> {
  const ask = requestOf(m);
  if (!fits(ask.room, 100)) {
    return refuse(tx, m, "room: give a name of 1 to 100 bytes");
  }
  const members = await membersOf(tx, ask.room);
  const who = members.get(m.from);
  switch (ask.do) {
    case "join":
      if (!who && members.size >= config.max_members) {
        return refuse(tx, m, "room is full");
      }
      if (!fits(ask.name, 100)) {
        return refuse(tx, m, "name: give one of 1 to 100 bytes");
      }
      members.set(m.from, { name: ask.name, session: m.session });
      store(tx, ask.room, members);
      return tell(tx, ask.room, members, m.from, { event: "joined", name: ask.name });
    case "say":
      if (!who) {
        return refuse(tx, m, "join the room first");
      }
      if (!fits(ask.text, config.max_text)) {
        return refuse(tx, m, `text: say something of 1 to ${config.max_text} bytes`);
      }
      return tell(tx, ask.room, members, m.from, { event: "said", name: who.name, text: ask.text });
    case "leave":
      return who ? leave(tx, ask.room, members, m.from) : refuse(tx, m, "join the room first");
  }
  return refuse(tx, m, who ? "do: it must be join, say or leave" : "join the room first");
}

/** What a device sends. What is left out is empty. Data that can't be read now will not be at a later attempt. */
function requestOf(m: Upstream) {
  const { do: what = "", room = "", name = "", text = "" } = m.data ?? {};
  if (![what, room, name, text].every((s) => typeof s === "string")) {
    throw new Reject(`data of ${m.messageId}: do, room, name and text must be strings`);
  }
  return { do: what, room, name, text } as { do: string; room: string; name: string; text: string };
}

const fits = (s: string, most: number): boolean => s !== "" && Buffer.byteLength(s) <= most;

/**
 * Is told how each downstream ended. A token that is gone leaves the room. If CCS has replaced a token, the member gets
 * the new one.
 */
async function outcome(tx: Tx, o: Outcome): Promise<void> {
  const room: string | undefined = o.context; // tell has put it there; what refuse has sent belongs to no room
  if ((!o.gone && o.newToken === "") || room === undefined || !("token" in o.to)) {
    return;
  }
  const members = await membersOf(tx, room);
  const old = o.to.token;
  const who = members.get(old);
  if (!who) {
    return;
  }
  if (o.gone) {
    return leave(tx, room, members, old);
  }
  members.delete(old);
  members.set(o.newToken, who);
  store(tx, room, members);
}

function leave(tx: Tx, room: string, members: Room, from: string): void {
  const name = members.get(from)?.name ?? "";
  members.delete(from);
  store(tx, room, members);
  tell(tx, room, members, from, { event: "left", name });
}

/**
 * Sends data to all members but one. Each pair of room and device has a group of its own. So a device gets the room's
 * messages in order, and no device waits for another.
 */
function tell(tx: Tx, room: string, members: Room, but: string, data: Data): void {
  // The tokens are sorted, because a downstream's id is made of its place in the Tx. If the message comes again, this must
  // send in the same order.
  for (const [to, { session }] of [...members].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (to !== but) {
      tx.send({ to: token(to), data: { ...data, room }, session, group: group(room, to), context: room });
    }
  }
}

/** Tells the device why its message was refused. Then the message is handled: another attempt would not help. */
function refuse(tx: Tx, m: Upstream, why: string): void {
  tx.send({ to: token(m.from), data: { event: "refused", why } });
}

async function membersOf(tx: Tx, room: string): Promise<Room> {
  return new Map(Object.entries((await tx.get<Record<string, Member>>(key(room))) ?? {}));
}

/** An empty room is not kept. */
function store(tx: Tx, room: string, members: Room): void {
  if (members.size === 0) {
    tx.delete(key(room));
  } else {
    tx.put(key(room), Object.fromEntries(members));
  }
}

const key = (room: string): string => `members/${room}`;

/** The group of a room's messages to one device. Tokens are long and a group's name is limited, so it is a hash of both. */
const group = (room: string, to: string): string =>
  createHash("sha256").update(`${room}\0${to}`).digest("hex").slice(0, 32);
