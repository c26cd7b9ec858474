// What a Tx takes, and what it refuses at the call.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inLane, inLaneOf, InvalidError, token, type Downstream, type Plugin, type Tx } from "balhost";
import { TestHost, type HostOptions, type Result } from "balhost/testing";

/** Runs f as the handler of one upstream. */
async function handle(h: TestHost, f: (tx: Tx) => void | Promise<void>): Promise<Result> {
  next = f;
  const r = await h.upstream({ id: "e" });
  assert.equal(r.status, "done", r.reason);
  return r;
}
let next: (tx: Tx) => void | Promise<void>;
const plugin = (): Plugin => ({ name: "p", categories: ["c"], upstream: (tx) => next(tx), timer: (tx) => next(tx) });
const start = (t: Parameters<typeof TestHost.start>[0], o?: HostOptions) => TestHost.start(t, plugin(), o);

test("state is read as it is stored, and as the Tx has written it", async (t) => {
  const h = await start(t);
  h.setState("a", { n: 1 });
  await handle(h, async (tx) => {
    const [one, same] = await Promise.all([tx.get("a"), tx.get("a")]);
    assert.deepEqual(one, { n: 1 });
    one.n = 99; // a copy
    assert.deepEqual(same, { n: 1 });
    h.setState("b", 1);
    assert.equal(await tx.get("nothing"), undefined);
    tx.put("a", null);
    assert.equal(await tx.get("a"), null);
    tx.delete("a");
    assert.equal(await tx.get("a"), undefined);
    tx.put("c", "x");
  });
  assert.deepEqual(h.keys(), ["b", "c"]);
});

test("a handler whose reads have changed runs again, also when it throws", async (t) => {
  const h = await start(t);
  h.setState("n", 1);
  h.beforeCommit(() => h.setState("n", 5));
  const added = await handle(h, async (tx) => tx.put("n", ((await tx.get<number>("n")) ?? 0) + 1));
  assert.equal(added.runs, 2);
  assert.equal(h.state("n"), 6);
  h.beforeCommit(() => h.setState("n", 7));
  const failed = await handle(h, async (tx) => {
    if ((await tx.get("n")) === 6) {
      throw new Error("six");
    }
  });
  assert.equal(failed.runs, 2);
});

test("a list is in the order of bytes, with what the Tx has written", async (t) => {
  const h = await start(t);
  const keys = ["l/a", "l/c", "l/\uffee", "l/😀"]; // the last two are in the other order in UTF-16
  for (const key of [...keys, "m/x"]) {
    h.setState(key, key);
  }
  await handle(h, async (tx) => {
    assert.deepEqual(
      (await tx.list("l/")).items.map((i) => i.key),
      keys,
    );
    assert.deepEqual(await tx.list("l/", { max: 1 }), { items: [{ key: "l/a", value: "l/a" }], more: true });
    tx.put("l/b", 1);
    tx.put("l/z", 1);
    tx.delete("l/a");
    assert.deepEqual(
      (await tx.list("l/", { after: "l/a", max: 2 })).items.map((i) => i.key),
      ["l/b", "l/c"],
    );
    assert.deepEqual(
      (await tx.list("l/")).items.map((i) => i.key),
      ["l/b", "l/c", "l/z", "l/\uffee", "l/😀"],
    );
    for (const key of ["l/c", "l/\uffee", "l/😀"]) {
      tx.delete(key);
    }
    assert.deepEqual(
      (await tx.list("l/", { after: "l/b", max: 1 })).items.map((i) => i.key),
      ["l/z"],
    );
  });
});

test("a key that comes into what was listed makes the handler run again", async (t) => {
  const h = await start(t);
  h.setState("l/a", 1);
  h.beforeCommit(() => h.setState("l/b", 1));
  const seen: number[] = [];
  const r = await handle(h, async (tx) => void seen.push((await tx.list("l/")).items.length));
  assert.equal(r.runs, 2);
  assert.deepEqual(seen, [1, 2]);
});

test("ids are the same at each attempt", async (t) => {
  const h = await start(t);
  const r = await handle(h, (tx) => {
    assert.equal(tx.send({ to: token("a") }), "e-1");
    assert.equal(tx.send({ to: token("a"), messageId: "own" }), "own");
    assert.throws(() => tx.send({ to: token("") }), InvalidError); // and it counts as none
    assert.equal(tx.send({ to: token("a") }), "e-3");
  });
  assert.deepEqual(
    r.sent.map((d) => d.messageId),
    ["e-1", "own", "e-3"],
  );
});

test("all fields of a downstream arrive", async (t) => {
  const h = await start(t, { transports: { main: "fcm_v1" } });
  const all: Downstream = {
    messageId: "m",
    session: "main",
    to: { condition: "'a' in topics && !('b' in topics || 'c' in topics)" },
    data: { k: "ü\ufffe😀" },
    notification: { title: "t", title_loc_args: '["x"]' },
    options: {
      ttlSeconds: 0,
      priority: "high",
      collapseKey: "c",
      dryRun: true,
      receiptRequested: true,
      contentAvailable: true,
      mutableContent: true,
      android: { ttl: "3s" },
      apns: { payload: {} },
      webpush: { headers: { TTL: "1" } },
    },
    group: "g",
    context: { deep: [1, null] },
    notBefore: new Date(1_800_000_000_000),
    replace: "r",
  };
  const r = await handle(h, (tx) => void tx.send(all));
  assert.deepEqual(r.sent, [all]);
});

test("what can never be committed is refused at the call, with words", async (t) => {
  const h = await start(t, {
    sessions: ["main", "v1", "gate", "hms"],
    transports: { v1: "fcm_v1", gate: "gateway", hms: "huawei" },
  });
  const half = "\ud83d";
  const to = token("d");
  const refused: [unknown, RegExp][] = [
    [undefined, /it is undefined: give an object/],
    [{ to, dta: {} }, /no field "dta": there are to, data/],
    [{ data: {} }, /to is undefined: use token/],
    [{ to: { token: "a", topic: "b" } }, /^InvalidError: invalid downstream: session "main" \(ccs\): to is/],
    [{ to: token("") }, /use token/],
    [{ to: token("a b") }, /has a space/],
    [{ to: token("/topics/a") }, /use topic/],
    [{ to: token(half) }, /half of a surrogate pair/],
    [{ to: { topic: "a b" } }, /is not a topic's name/],
    [{ to: { condition: "'a' in topic" } }, /write it like 'a' in topics/],
    [{ to: { condition: "('a' in topics" } }, /write it like/],
    [{ to: { condition: "'a' in topics&&'b' in topics&&'c' in topics&&'d' in topics" } }, /more than 2 operators/],
    [{ to, data: { n: 1 } }, /data\.n is 1: FCM takes strings only/],
    [{ to, data: { n: undefined } }, /data\.n is undefined/],
    [{ to, data: ["a"] }, /data is an array/],
    [{ to, data: "a" }, /data is a string/],
    [{ to, data: { a: half } }, /data\.a has half of a surrogate pair: .*toWellFormed/],
    [{ to, data: { [half]: "a" } }, /half of a surrogate pair/],
    [{ to, data: { from: "a" } }, /a key that FCM reserves/],
    [{ to, data: { google_x: "a" } }, /a key that FCM reserves/],
    [{ to, data: { a: "x".repeat(4096) } }, /have 4097 bytes of keys and values: FCM takes at most 4096/],
    [{ to: { topic: "t" }, data: { a: "x".repeat(2048) } }, /at most 2048/],
    [{ to, data: { a: "\u0001".repeat(4000), b: "\u0001".repeat(2000) } }, /at most 32768/],
    [{ to, notification: { body_loc_args: "x" } }, /not a JSON array in a string/],
    [{ to, messageId: "a\n" }, /that nobody can read/],
    [{ to, messageId: "x".repeat(256) }, /messageId has 256 bytes/],
    [{ to, group: "ü".repeat(128) }, /group has 256 bytes/],
    [{ to, replace: half }, /replace .*half/],
    [{ to, context: 1n }, /context: it can't be written as JSON/],
    [{ to, context: "x".repeat(70_000) }, /context: it has 70002 bytes/],
    [{ to, notBefore: 1_700_000_000 }, /notBefore is 1700000000: give a Date or Unix time in milliseconds/],
    [{ to, notBefore: new Date(NaN) }, /notBefore is the date Invalid Date/],
    [{ to, options: { ttl: 5 } }, /options has no field "ttl": there are ttlSeconds/],
    [{ to, options: { ttlSeconds: 1.5 } }, /whole seconds/],
    [{ to, options: { ttlSeconds: 2_419_201 } }, /four weeks/],
    [{ to, options: { priority: "urgent" } }, /use "normal" or "high"/],
    [{ to, options: { dryRun: "yes" } }, /use true or false/],
    [{ to, options: { android: {} } }, /is a block of FCM's HTTP v1/],
    [{ to, session: "v1", options: { android: [] } }, /options\.android is an array/],
    [{ to, session: "v1", options: { apns: { a: half } } }, /half of a surrogate pair/],
    [{ to, session: "v1", data: { bal_id: "x" } }, /the host's own key/],
    [{ to: { fid: "f" } }, /CCS knows no installation ids/],
    [{ to: { topic: "t" }, session: "gate" }, /single devices only/],
    [{ to, session: "gate", options: { dryRun: true } }, /would deliver/],
    [{ to, session: "hms" }, /Huawei's uplink alone/],
    [{ to, session: "none" }, /send: the host has no session "none": set session to one of "main", "v1"/],
  ];
  await handle(h, (tx) => {
    for (const [d, why] of refused) {
      assert.throws(
        () => tx.send(d as Downstream),
        (err: Error) => err instanceof InvalidError && why.test(String(err)),
        String(why),
      );
    }
    for (const key of ["", "x".repeat(513), "ü".repeat(257), half, 7 as unknown as string]) {
      assert.throws(() => tx.put(key, 1), InvalidError);
      assert.throws(() => tx.delete(key), InvalidError);
      assert.throws(() => tx.cancel(key), InvalidError);
    }
    assert.throws(() => tx.put("k", undefined), /undefined can't be written as JSON/);
    assert.throws(() => tx.put("k", 1n), /can't be written as JSON/);
    assert.throws(() => tx.put("k", "x".repeat(1 << 20)), /1048578 bytes as JSON, at most 1032192/);
    assert.throws(() => tx.cancelSend(""), /messageId is empty/);
    assert.throws(() => tx.schedule("k", 1_700_000_000), /in milliseconds/);
    assert.throws(() => tx.schedule("k", new Date(), 1n), /can't be written/);
    assert.throws(() => tx.schedule("k", new Date(), null, inLane("")), /has 0 bytes/);
    assert.throws(() => tx.schedule("k", new Date(), null, inLaneOf("")), /use inLaneOf/);
    assert.throws(() => tx.schedule("k", new Date(), null, inLaneOf("d", "none")), /no session "none"/);
  });
  assert.deepEqual(h.sent(), []);
  assert.deepEqual(h.keys(), []);
});

test("a Tx that is full stays as it was", async (t) => {
  const h = await start(t);
  const r = await handle(h, (tx) => {
    for (let i = 0; i < 1000; i++) {
      tx.send({ to: token("d") });
    }
    assert.throws(() => tx.put("k", 1), /1001 downstreams, timers and keys at once, at most 1000/);
  });
  assert.equal(r.sent.length, 1000);
  await handle(h, (tx) => {
    tx.put("big", "x".repeat(1_000_000));
    assert.throws(() => tx.put("other", "x".repeat(60_000)), /at most 1048576/);
    tx.put("big", "small"); // in its place
    tx.put("other", "x".repeat(60_000));
  });
  assert.deepEqual(h.keys(), ["big", "other"]);
});

test("timers are set, replaced, canceled, and come in order", async (t) => {
  const h = await start(t, { sessions: ["s"] });
  const now = Date.now();
  await handle(h, (tx) => {
    tx.schedule("b", now + 60_000, { n: 1 });
    tx.schedule("a", new Date(now + 30_000));
    tx.schedule("gone", now + 1000);
    tx.cancel("gone");
    tx.schedule("lane", now + 90_000, undefined, inLaneOf("other"));
    tx.schedule("named", now + 90_000, undefined, inLane("mine"));
  });
  assert.deepEqual(
    h.timers().map(({ key, session, device, data }) => [key, session, device, data]),
    [
      ["a", "s", "device", undefined],
      ["b", "s", "device", { n: 1 }],
      ["lane", "s", "other", undefined],
      ["named", "s", "device", undefined],
    ],
  );
  const came: string[] = [];
  next = (tx) => {
    tx.send({ to: token("x") });
    came.push("one");
  };
  assert.deepEqual(await h.advance(10_000), []);
  assert.equal((await h.advance(60_000)).length, 2);
  assert.equal(came.length, 2);
  assert.deepEqual(
    h.timers().map((timer) => timer.key),
    ["lane", "named"],
  );
});

test("without a timer handler none can be set", async (t) => {
  const h = await TestHost.start(t, { name: "p", categories: ["c"], upstream: (tx) => next(tx) });
  await handle(h, (tx) => assert.throws(() => tx.schedule("k", new Date()), /has no timer handler/));
});

test("what waits is canceled and replaced, and what has gone out is not", async (t) => {
  const h = await start(t);
  await handle(h, (tx) => {
    tx.send({ to: token("a"), messageId: "1", replace: "score" });
    tx.send({ to: token("b"), messageId: "2", replace: "score" });
    tx.send({ to: token("a"), messageId: "3" });
  });
  h.goOut("3");
  await handle(h, (tx) => {
    tx.send({ to: token("a"), messageId: "4", replace: "score" });
    tx.cancelSend("3");
    tx.cancelSend("2");
  });
  assert.deepEqual(
    ["1", "2", "3", "4"].map((id) => h.canceled(id)),
    ["REPLACED", "CANCELED", "", ""],
  );
  assert.deepEqual(
    h.waiting().map((d) => d.messageId),
    ["4"],
  );
});
