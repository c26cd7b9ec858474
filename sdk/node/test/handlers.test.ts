// What a handler may do, and what the host makes of it.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import {
  InvalidError,
  Reject,
  Retry,
  token,
  UnavailableError,
  type Host,
  type Plugin,
  type Tx,
  type Upstream,
} from "balhost";
import { refusal, TestHost } from "balhost/testing";

const plugin = (more: Partial<Plugin>): Plugin => ({ name: "p", categories: more.upstream && ["c"], ...more });
const handling = (upstream: (tx: Tx, m: Upstream) => void | Promise<void>) => plugin({ upstream });

test("what is thrown decides", async (t) => {
  const thrown: Record<string, unknown> = {
    reject: new Reject("no good"),
    retry: new Retry(1500, "busy"),
    never: new Retry(-1),
    endless: new Retry(Infinity),
    error: new Error("broken"),
    text: "just a text",
    nothing: undefined,
    halves: new Error("cut \ud83d here"),
    long: new Error("x".repeat(5000)),
  };
  for (const when of ["sync", "async"]) {
    const h = await TestHost.start(
      t,
      handling((tx, m) => {
        tx.put("must not be stored", 1);
        if (when === "sync") {
          throw thrown[m.data];
        }
        return sleep(1).then(() => Promise.reject(thrown[m.data]));
      }),
    );
    const result = async (data: string) => {
      const { status, reason, delay } = await h.upstream({ data });
      return [status, reason, delay];
    };
    assert.deepEqual(await result("reject"), ["rejected", "no good", -1]);
    assert.deepEqual(await result("retry"), ["retried", "busy", 1500]);
    assert.deepEqual(await result("never"), ["retried", "the plugin asked for a retry", -1]);
    assert.deepEqual(await result("endless"), ["retried", "the plugin asked for a retry", 168 * 3600 * 1000]);
    assert.deepEqual(await result("error"), ["retried", "broken", -1]);
    assert.deepEqual(await result("text"), ["retried", "just a text", -1]);
    assert.deepEqual(await result("nothing"), ["retried", "thrown: undefined", -1]);
    assert.deepEqual(await result("halves"), ["retried", "cut \ufffd here", -1]);
    const [, long] = (await result("long")) as [string, string];
    assert.ok(Buffer.byteLength(long) <= 4096 && long.endsWith(" …"));
    assert.deepEqual(h.keys(), []);
  }
});

test("a mistake in the code is logged with its stack", async (t) => {
  const lines: string[] = [];
  const h = await TestHost.start(
    t,
    handling(() => {
      (undefined as unknown as { f(): void }).f();
    }),
    { log: (line) => lines.push(line) },
  );
  await h.upstream({ id: "e7" });
  const line = JSON.parse(lines.find((l) => l.includes("handler failed"))!);
  assert.equal(line["@level"], "error");
  assert.equal(line.id, "e7");
  assert.match(line.stack, /handlers\.test/);
});

test("a handler that forgets an await is told so, and nothing is committed", async (t) => {
  const h = await TestHost.start(
    t,
    handling((tx) => {
      tx.put("k", 1);
      void tx.get("k2");
    }),
  );
  const r = await h.upstream();
  assert.equal(r.status, "retried");
  assert.match(r.reason, /put await before/);
  assert.deepEqual(h.keys(), []);
});

test("a Tx that has ended takes nothing", async (t) => {
  let kept: Tx | undefined;
  const h = await TestHost.start(
    t,
    handling((tx) => void (kept = tx)),
  );
  await h.upstream();
  assert.throws(() => kept!.put("k", 1), /this Tx has ended/);
  await assert.rejects(kept!.get("k"), /this Tx has ended/);
});

test("data that is not JSON is rejected when it is read", async (t) => {
  const h = await TestHost.start(
    t,
    handling((tx, m) => void tx.put("k", m.data)),
  );
  const r = await h.upstream({ dataText: "{" });
  assert.equal(r.status, "rejected");
  assert.match(r.reason, /data is not JSON/);
});

test("an upstream has what the device sent", async (t) => {
  let got: Upstream | undefined;
  const h = await TestHost.start(
    t,
    handling((_, m) => void (got = m)),
  );
  const received = new Date(1_700_000_000_123);
  await h.upstream({
    id: "e1",
    from: "größe",
    category: "c2",
    messageId: "m1",
    data: { a: "ü😀" },
    attempt: 3,
    received,
  });
  const { id, session, from, category, messageId, attempt } = got!;
  assert.deepEqual([id, session, from, category, messageId, attempt], ["e1", "main", "größe", "c2", "m1", 3]);
  assert.deepEqual(got!.data, { a: "ü😀" });
  assert.equal(got!.dataText, '{"a":"ü😀"}');
  assert.equal(JSON.parse(Buffer.from(got!.raw).toString()).message_id, "m1");
  assert.deepEqual(got!.received, received);
  await h.upstream({});
  assert.equal(got!.data, undefined);
});

test("outcomes, receipts and timers have what the host tells", async (t) => {
  const got: Record<string, any> = {};
  const h = await TestHost.start(t, {
    name: "p",
    outcome: (_, o) => void (got.outcome = o),
    receipt: (_, r) => void (got.receipt = r),
    timer: (_, t) => void (got.timer = t),
  });
  await h.outcome({
    messageId: "m1",
    to: { topic: "news" },
    status: "failed",
    code: "C",
    gone: true,
    attempts: 2,
    context: [1],
  });
  const { messageId, to, status, code, gone, attempts, attempt, context } = got.outcome;
  assert.deepEqual(
    [messageId, to, status, code, gone, attempts, attempt, context],
    ["m1", { topic: "news" }, "failed", "C", true, 2, 1, [1]],
  );
  await h.receipt({ originalMessageId: "m1", device: "d", sentAt: new Date(5) });
  assert.deepEqual([got.receipt.originalMessageId, got.receipt.device, got.receipt.sentAt], ["m1", "d", new Date(5)]);
  await h.timer({ key: "k", due: new Date(9), data: { a: 1 } });
  assert.deepEqual([got.timer.key, got.timer.due, got.timer.data], ["k", new Date(9), { a: 1 }]);
});

test("the signal is aborted at the time-out, and the reason says so", async (t) => {
  const h = await TestHost.start(
    t,
    handling(async (tx) => {
      assert.ok(tx.timeLeft <= 50);
      await sleep(60_000, undefined, { signal: tx.signal });
    }),
    { handlerTimeout: 50 },
  );
  const r = await h.upstream();
  assert.equal(r.status, "retried");
  assert.match(r.reason, /timed out|time is up/);
});

test("what a handler waits for is given up when its time is up", async (t) => {
  let silence: (() => void) | undefined;
  const h = await TestHost.start(
    t,
    plugin({
      upstream: async (tx, m) => {
        if (m.data === "slow") {
          await new Promise<void>((resolve) => (silence = resolve));
          await tx.get("k");
        }
      },
    }),
    { handlerTimeout: 50 },
  );
  const slow = h.upstream({ data: "slow" });
  setTimeout(() => silence!(), 200); // after the time-out: nothing is asked of the host then
  const r = await slow;
  assert.equal(r.status, "retried");
  assert.match(r.reason, /time is up|timed out/);
});

test("the host's calls", async (t) => {
  let host: Host | undefined;
  const h = await TestHost.start(t, plugin({ upstream() {}, start: (given) => void (host = given) }), {
    sessions: ["a", "b"],
    transports: { b: "gateway" },
  });
  assert.deepEqual(host!.sessions, ["a", "b"]);
  assert.deepEqual(
    [host!.transport("a"), host!.transport("b"), host!.transport("c"), host!.transport()],
    ["ccs", "gateway", undefined, undefined],
  );
  await assert.rejects(host!.send({ to: token("x") }), /names no session/);
  const id = await host!.send({ to: token("x"), session: "a", data: { n: "1" } });
  assert.equal(h.sent()[0]?.messageId, id);
  assert.equal(await host!.cancel(id), true);
  assert.equal(await host!.cancel(id), false);
  assert.equal(h.canceled(id), "CANCELED");
  assert.equal(await host!.update((tx) => (tx.put("k", 5), "given back")), "given back");
  assert.equal(await host!.get("k"), 5);
  assert.deepEqual(await host!.list("k"), { items: [{ key: "k", value: 5 }], more: false });
  await assert.rejects(
    host!.update(() => Promise.reject(new Error("no"))),
    /^Error: no$/,
  );
  h.refuse("the disk is full");
  const err = await host!.send({ to: token("x"), session: "a" }).catch((err: unknown) => err);
  assert.ok(err instanceof UnavailableError && err.message === "the disk is full" && err.messageId);
  await assert.rejects(host!.get("", {}), InvalidError);
  await assert.rejects(host!.get("k", { signal: AbortSignal.abort(new Error("given up")) }), /given up/);
});

test("an update runs again when what it has read has changed", async (t) => {
  let host: Host | undefined;
  const h = await TestHost.start(t, plugin({ upstream() {}, start: (given) => void (host = given) }));
  let runs = 0;
  await host!.update(async (tx) => {
    const was = (await tx.get<number>("n")) ?? 0;
    if (++runs === 1) {
      h.setState("n", 10);
    }
    tx.put("n", was + 1);
  });
  assert.equal(runs, 2);
  assert.equal(h.state("n"), 11);
});

test("run begins when it may, and again after a failure; it ends with its signal", async (t) => {
  let runs = 0;
  let ended = false;
  const h = await TestHost.start(
    t,
    plugin({
      async run(host, signal) {
        if (++runs === 1) {
          throw new Error("first");
        }
        await host.send({ to: token("x") });
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        ended = true;
      },
    }),
    { log() {} },
  );
  await h.awaitSent(1);
  assert.equal(runs, 2);
  await h.stop();
  assert.ok(ended);
});

test("start that throws, a plugin that is wrong, and a config that does not fit are refused with words", async (t) => {
  const fine = { upstream() {} };
  const why = async (p: unknown, config?: object) => (await refusal(t, p as Plugin, { config })) ?? "it did start";
  assert.match(
    await why({ name: "p", ...fine, start: () => Promise.reject(new Error("no database")) }),
    /^plugin p: start: no database$/,
  );
  assert.match(await why({ name: "p" }), /does nothing/);
  assert.match(await why({ name: "a.b", ...fine }), /"a\.b": it has only letters/);
  assert.match(await why({ ...fine }), /name is undefined/);
  assert.match(await why({ name: "p", upstreams() {} }), /has no field "upstreams": there are name/);
  assert.match(await why({ name: "p", upstream: 1 }), /upstream is 1: give a function/);
  assert.match(await why({ name: "p", ...fine, order: "devices" }), /orderByDevice/);
  assert.match(await why({ name: "p", ...fine, order: "key:data..x" }), /write it like/);
  assert.match(await why({ name: "p", ...fine, maxInFlight: 0 }), /1 to 65536/);
  assert.match(await why({ name: "p", ...fine, categories: ["a", "a"] }), /"a" twice/);
  assert.match(await why({ name: "p", run() {}, categories: ["a"] }), /no upstream handler/);
  assert.match(await why({ name: "p", ...fine }, { a: 1 }), /no key "a": it has none/);
  const config = () => ({
    name: "p",
    ...fine,
    config: { text: "x", n: 1, deep: { on: false }, list: ["a"], any: null },
  });
  assert.match(await why(config(), { txt: 1 }), /no key "txt": it has text, n, deep, list, any/);
  assert.match(await why(config(), { n: "5" }), /key "n" is a string, but must be a number/);
  assert.match(await why(config(), { deep: { of: true } }), /no key "deep.of": it has deep.on/);
  assert.match(await why(config(), { list: ["a", 1] }), /key "list\[1\]" is a number, but must be a string/);
  assert.equal(await why(config(), { n: 2, deep: { on: true }, list: ["b", "c"], any: [1] }), "it did start");
});

test("the config is filled in place, and the defaults come back", async (t) => {
  const config = { n: 1, deep: { text: "a", other: "b" } };
  const p = plugin({ upstream() {}, config });
  await (await TestHost.start(t, p, { config: { n: 2, deep: { text: "c" } } })).stop();
  assert.deepEqual(config, { n: 2, deep: { text: "c", other: "b" } });
  await (await TestHost.start(t, p)).stop();
  assert.deepEqual(config, { n: 1, deep: { text: "a", other: "b" } });
});
