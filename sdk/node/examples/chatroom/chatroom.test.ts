import assert from "node:assert/strict";
import { test } from "node:test";
import { token, type Data } from "balhost";
import { TestHost } from "balhost/testing";
import { chatroom } from "./chatroom.js";

/** Gives the plugin one device's request, and returns what the plugin has sent, as "token: event name text". */
async function say(h: TestHost, from: string, data: Data): Promise<string[]> {
  const r = await h.upstream({ from, data: { room: "r", ...data } });
  assert.equal(r.status, "done", r.reason);
  return r.sent.map(({ to, data: { event, name = "", text = "", why = "" } = {} }) =>
    `${"token" in to ? to.token : "?"}: ${event} ${name} ${text}${why}`.trim(),
  );
}

test("a room", async (t) => {
  const h = await TestHost.start(t, chatroom());
  assert.deepEqual(await say(h, "a", { do: "join", name: "Ann" }), []);
  assert.deepEqual(await say(h, "b", { do: "join", name: "Bob" }), ["a: joined Bob"]);
  assert.deepEqual(await say(h, "c", { do: "join", name: "Cid" }), ["a: joined Cid", "b: joined Cid"]);
  assert.deepEqual(await say(h, "b", { do: "say", text: "hi" }), ["a: said Bob hi", "c: said Bob hi"]);
  assert.deepEqual(await say(h, "c", { do: "leave" }), ["a: left Cid", "b: left Cid"]);
  assert.deepEqual(await say(h, "a", { do: "leave" }), ["b: left Ann"]);
  assert.deepEqual(await say(h, "b", { do: "leave" }), []);
  assert.deepEqual(h.keys(), [], "an empty room is left behind");
});

test("what is refused", async (t) => {
  const h = await TestHost.start(t, chatroom(), { config: { max_members: 1, max_text: 3 } });
  assert.deepEqual(await say(h, "a", { do: "say", text: "hi" }), ["a: refused  join the room first"]);
  assert.deepEqual(await say(h, "a", { do: "join" }), ["a: refused  name: give one of 1 to 100 bytes"]);
  assert.deepEqual(await say(h, "a", { room: "" }), ["a: refused  room: give a name of 1 to 100 bytes"]);
  assert.deepEqual(await say(h, "a", { do: "join", name: "Ann" }), []);
  assert.deepEqual(await say(h, "b", { do: "join", name: "Bob" }), ["b: refused  room is full"]);
  assert.deepEqual(await say(h, "a", { do: "say", text: "long" }), ["a: refused  text: say something of 1 to 3 bytes"]);
  assert.deepEqual(await say(h, "a", { do: "dance" }), ["a: refused  do: it must be join, say or leave"]);
  assert.equal((await h.upstream({ data: { do: 1 } })).status, "rejected");
});

test("one device gets a room's messages in order, and devices don't wait for each other", async (t) => {
  const h = await TestHost.start(t, chatroom());
  for (const who of ["a", "b", "c"]) {
    await say(h, who, { do: "join", name: who });
  }
  const before = h.sent().length;
  await say(h, "a", { do: "say", text: "1" });
  await say(h, "a", { do: "say", text: "2" });
  const groups = h
    .sent()
    .slice(before)
    .map((d) => d.group); // to b, c, b, c
  assert.ok(groups[0]);
  assert.equal(groups[0], groups[2]);
  assert.notEqual(groups[0], groups[1]);
});

test("tokens that change and go", async (t) => {
  const h = await TestHost.start(t, chatroom());
  for (const who of ["a", "b"]) {
    await say(h, who, { do: "join", name: who });
  }
  const renewed = await h.outcome({ to: token("b"), newToken: "b2", context: "r" });
  assert.equal(renewed.status, "done", renewed.reason);
  assert.deepEqual(await say(h, "a", { do: "say", text: "hi" }), ["b2: said a hi"]);
  const gone = await h.outcome({
    to: token("b2"),
    status: "failed",
    code: "DEVICE_UNREGISTERED",
    gone: true,
    context: "r",
  });
  assert.equal(gone.status, "done", gone.reason);
  assert.deepEqual(await say(h, "a", { do: "say", text: "hi" }), []);
  assert.match(await h.metrics(), /^chatroom_outcomes_total\{status="failed"} 1$/m);
});

// The host handles one room's messages one after the other. The state would be right without that too: if a room has
// changed, the handler that read it runs again.
test("many join at once", async (t) => {
  const h = await TestHost.start(t, chatroom());
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) => h.upstream({ from: `t${i}`, data: { do: "join", room: "r", name: `n${i}` } })),
  );
  assert.ok(results.every((r) => r.status === "done"));
  assert.equal(Object.keys(h.state("members/r")).length, 20);
});
