// The plugin's side of the stream, frame by frame.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { token, type Plugin } from "balhost";
import { Link } from "../src/link.js";
import { JsonLog } from "../src/log.js";
import * as wire from "../src/wire/balhost/plugin/v1/plugin_pb.js";

/** A link whose frames are kept. Writes end when the test says so. */
class Wire {
  readonly link: Link;
  readonly frames: wire.PluginFrame[] = [];
  readonly log: Record<string, any>[] = [];
  slow = false;
  #written: (() => void) | undefined;
  #last = 0n;

  constructor(plugin: Partial<Plugin>) {
    const log = new JsonLog("p", (line) => this.log.push(JSON.parse(line)));
    log.setLevel("debug");
    this.link = new Link({ name: "p", ...plugin }, log, (frame, written) => {
      this.frames.push(frame);
      if (this.slow) {
        this.#written = written;
      } else {
        setImmediate(written);
      }
    });
  }

  write(): void {
    this.slow = false;
    this.#written?.();
  }

  send(frame: MessageInitShape<typeof wire.HostFrameSchema>): void {
    this.link.receive(create(wire.HostFrameSchema, frame));
  }

  deliveries(n: number, timeoutMs = 30_000): wire.Delivery[] {
    return Array.from({ length: n }, () =>
      create(wire.DeliverySchema, {
        delivery: ++this.#last,
        attempt: 1,
        timeoutMs,
        event: { case: "upstream", value: create(wire.UpstreamSchema, { id: `e${this.#last}`, device: "d" }) },
      }),
    );
  }

  /** Turns the event loop until the condition holds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (const began = Date.now(); !holds(); await turn()) {
      assert.ok(Date.now() - began < 20_000, `not within 20 s: ${what}`);
    }
  }

  all<T>(list: (f: wire.PluginFrame) => T[]): T[] {
    return this.frames.flatMap(list);
  }

  get ends(): number {
    return this.all((f) => f.done).length + this.all((f) => f.result).length;
  }

  async end(): Promise<void> {
    this.send({ drain: { timeoutMs: 5000 } });
    assert.equal(await this.link.ended, "drained");
  }
}

test("credit comes first, and what is ready goes out as one frame", async () => {
  let handled = 0;
  const w = new Wire({ upstream: (tx) => (handled++, void tx.send({ to: token("d") })) });
  w.slow = true;
  await w.until("credit", () => w.frames.length === 1);
  assert.equal(w.frames[0]?.credit, 256);
  w.send({ deliver: w.deliveries(64) });
  await w.until("64 handled", () => handled === 64);
  w.write();
  await w.until("64 results", () => w.ends === 64);
  assert.equal(w.frames.length, 2);
  await w.end();
});

test("while a write is under way, frames are merged", async () => {
  const w = new Wire({ upstream() {} });
  w.slow = true;
  await w.until("the first frame", () => w.frames.length === 1);
  for (let i = 0; i < 50; i++) {
    w.send({ deliver: w.deliveries(1), ping: BigInt(i + 1) });
    await turn();
  }
  assert.equal(w.frames.length, 1);
  w.write();
  await w.until("50 ends", () => w.ends === 50);
  assert.equal(w.frames.length, 2);
  assert.equal(w.frames[1]?.pong, 50n);
  await w.end();
});

test("a large frame is cut: 64 results, or 256 KiB", async () => {
  const w = new Wire({ upstream: (tx) => tx.put("k", "x".repeat(100_000)) });
  w.send({ deliver: w.deliveries(10) });
  await w.until("10 ends", () => w.ends === 10);
  assert.ok(w.frames.every((f) => f.result.length <= 2));
  await w.end();
});

test("pings are answered between handlers that compute, and while others wait", async () => {
  let ran = 0;
  const spin = (ms: number) => {
    for (const began = performance.now(); performance.now() - began < ms;);
  };
  const w = new Wire({ upstream: () => (ran++, spin(8)) });
  w.send({ deliver: w.deliveries(50), ping: 7n });
  assert.ok(ran > 0 && ran < 10, `${ran} handlers ran in one turn`);
  await w.until("the pong", () => w.frames.some((f) => f.pong === 7n));
  assert.ok(ran < 50, "all handlers ran before the pong");
  await w.until("50 ends", () => w.ends === 50);
  await w.end();
});

test("at most maxInFlight handlers run", async () => {
  let running = 0;
  let most = 0;
  const w = new Wire({
    maxInFlight: 3,
    async upstream() {
      most = Math.max(most, ++running);
      await turn();
      running--;
    },
  });
  w.send({ deliver: w.deliveries(20) });
  await w.until("20 ends", () => w.ends === 20);
  assert.equal(most, 3);
  await w.end();
});

test("a handler that blocks the loop is named, with what to do", async () => {
  const w = new Wire({
    upstream() {
      for (const began = performance.now(); performance.now() - began < 1100;);
    },
  });
  w.send({ deliver: w.deliveries(1) });
  await w.until("the warning", () => w.log.length > 0);
  const [line] = w.log;
  assert.equal(line?.["@level"], "warn");
  assert.equal(line?.["@message"], "a handler blocked the event loop");
  assert.equal(line?.id, "e1");
  assert.match(
    line?.hint,
    /after 10 s the host kills the plugin as hung\. (Compute in a Worker|It hardly used the CPU)/,
  );
  await w.end();
});

test("a handler that waits in a synchronous call is told that, too", async () => {
  const w = new Wire({ upstream: () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100) });
  w.send({ deliver: w.deliveries(1) });
  await w.until("the warning", () => w.log.length > 0);
  assert.match(w.log[0]?.hint, /It hardly used the CPU: it waited in a synchronous call/);
  await w.end();
});

test("a loop that is blocked after an await is noticed too", async () => {
  const w = new Wire({
    async upstream() {
      await turn();
      for (const began = performance.now(); performance.now() - began < 1500;);
    },
  });
  w.send({ deliver: w.deliveries(1) });
  await w.until("the warning", () => w.log.some((l) => l["@message"] === "the event loop stood still"));
  await w.end();
});

test("an event of an unknown kind is a retry, with words", async () => {
  const w = new Wire({ upstream() {} });
  w.send({ deliver: [{ delivery: 5n, attempt: 1 }] });
  await w.until("the result", () => w.ends === 1);
  const [result] = w.all((f) => f.result);
  assert.equal(result?.code, wire.Result_Code.RETRY);
  assert.match(result?.error ?? "", /does not know this kind of event/);
  await w.end();
});

test("handlers that run are extended", async () => {
  let free: (() => void) | undefined;
  const w = new Wire({ upstream: () => new Promise<void>((resolve) => (free = resolve)) });
  const configure = create(wire.ConfigureRequestSchema, { sessions: ["s"], limits: { extendMs: 20 } });
  assert.equal(await w.link.configure(configure), "");
  w.send({ deliver: w.deliveries(1) });
  await w.until("three extends", () => w.all((f) => f.extend).length >= 3);
  free!();
  await w.end();
});

test("the limits that the host tells count", async () => {
  const w = new Wire({
    upstream(tx) {
      tx.put("four", 1);
    },
  });
  await w.link.configure(create(wire.ConfigureRequestSchema, { limits: { keyBytes: 3 } }));
  w.send({ deliver: w.deliveries(1) });
  await w.until("the result", () => w.ends === 1);
  assert.match(w.all((f) => f.result)[0]?.error ?? "", /it must be 1 to 3/);
  await w.end();
});

test("a revoke aborts the signal, and the result still counts", async () => {
  const w = new Wire({
    async upstream(tx) {
      await new Promise((resolve) => tx.signal.addEventListener("abort", resolve));
      throw tx.signal.reason;
    },
  });
  const [d] = w.deliveries(1, 0);
  w.send({ deliver: [d!] });
  await turn();
  w.send({ revoke: [d!.delivery] });
  await w.until("the result", () => w.ends === 1);
  const [result] = w.all((f) => f.result);
  assert.equal(result?.code, wire.Result_Code.RETRY);
  assert.match(result?.error ?? "", /revoked/);
  await w.end();
});

test("reads stand in the result, also in that of an error", async () => {
  const w = new Wire({
    async upstream(tx) {
      await tx.get("k");
      await tx.list("l/");
      throw new Error("no");
    },
  });
  w.send({ deliver: w.deliveries(1) });
  const answered = async (n: number, reply: MessageInitShape<typeof wire.ReplySchema>) => {
    await w.until(`call ${n}`, () => w.all((f) => f.call).length === n);
    const call = w.all((f) => f.call)[n - 1]!;
    assert.equal(call.delivery, 1n);
    w.send({ reply: [{ ...reply, id: call.id }] });
  };
  await answered(1, { value: Buffer.from("1"), version: 9_007_199_254_740_993n });
  await answered(2, {
    list: { item: [{ key: "l/a", value: Buffer.from("1"), version: 3n }], more: true, digest: Buffer.from("seen") },
  });
  await w.until("the result", () => w.ends === 1);
  const { changes, code } = w.all((f) => f.result)[0]!;
  assert.equal(code, wire.Result_Code.RETRY);
  assert.deepEqual([changes?.read[0]?.key, changes?.read[0]?.version], ["k", 9_007_199_254_740_993n]); // more than a number holds
  const { prefix, last, digest } = changes!.range[0]!;
  assert.deepEqual([prefix, last, Buffer.from(digest).toString()], ["l/", "l/a", "seen"]);
  await w.end();
});

test("a drain releases what was not begun, lets the rest finish, calls stop, and drained comes last", async () => {
  const order: string[] = [];
  let free: (() => void) | undefined;
  const w = new Wire({
    maxInFlight: 1,
    upstream: () => new Promise<void>((resolve) => (free = resolve)),
    stop: () => void order.push("stop"),
  });
  await w.link.configure(create(wire.ConfigureRequestSchema));
  w.send({ deliver: w.deliveries(3) });
  w.send({ drain: { timeoutMs: 20_000 } });
  w.send({ deliver: w.deliveries(1) });
  await w.until("three releases", () => w.ends === 3);
  assert.ok(w.all((f) => f.result).every((r) => r.code === wire.Result_Code.RELEASE));
  free!();
  assert.equal(await w.link.ended, "drained");
  assert.deepEqual(order, ["stop"]);
  assert.equal(w.ends, 4);
  assert.deepEqual(
    w.frames.filter((f) => f.drained),
    [w.frames.at(-1)],
  );
});

test("a drain aborts signals at four fifths of its time, and what they leave counts as no attempt", async () => {
  const w = new Wire({
    upstream: (tx) =>
      new Promise<void>((_, reject) => tx.signal.addEventListener("abort", () => reject(tx.signal.reason as Error))),
  });
  w.send({ deliver: w.deliveries(1) });
  w.send({ drain: { timeoutMs: 500 } });
  assert.equal(await w.link.ended, "drained");
  assert.equal(w.all((f) => f.result)[0]?.code, wire.Result_Code.RELEASE);
});

test("a handler that never ends is given up at the end of the drain", async () => {
  const w = new Wire({ upstream: () => new Promise<void>(() => {}) });
  w.send({ deliver: w.deliveries(1) });
  w.send({ drain: { timeoutMs: 100 } });
  assert.equal(await w.link.ended, "drained");
  assert.ok(w.log.some((l) => /still runs although its signal was aborted/.test(l["@message"])));
  assert.equal(w.frames.at(-1)?.drained, true);
});

test("when the host closes its half, handlers end soon and drained is said; when the stream breaks, nothing is", async () => {
  for (const [how, drained] of [
    ["closed by the host", true],
    ["broken", false],
  ] as const) {
    let aborted = false;
    const w = new Wire({
      upstream: (tx) =>
        new Promise<void>((resolve) => tx.signal.addEventListener("abort", () => ((aborted = true), resolve()))),
    });
    w.send({ deliver: w.deliveries(1) });
    w.link.lost(how);
    assert.equal(await w.link.ended, how);
    assert.ok(aborted);
    assert.equal(
      w.frames.some((f) => f.drained),
      drained,
    );
  }
});

test("calls fail when the connection has ended, and a call that is given up is abandoned", async () => {
  const w = new Wire({ upstream() {} });
  const waits = assert.rejects(
    w.link.host.send({ to: token("d") }),
    /UnavailableError: the connection to the host has ended/,
  );
  const gone = new AbortController();
  const given = assert.rejects(w.link.host.get("k", { signal: gone.signal }), /enough/);
  await w.until("two calls", () => w.all((f) => f.call).length === 2);
  gone.abort(new Error("enough"));
  await w.until("an abandon", () => w.all((f) => f.abandon).length === 1);
  await given;
  w.link.lost("broken");
  await waits;
  await assert.rejects(w.link.host.get("k"), /has ended/);
});

test("a former name of a session is left to the host, and a name that was never told is not", async () => {
  const w = new Wire({
    upstream: (tx, m) => void tx.send({ to: token("d"), session: { e1: "old", e2: "oldest" }[m.id] ?? "typo" }),
  });
  await w.link.configure(create(wire.ConfigureRequestSchema, { sessions: ["old"], former: ["oldest"] }));
  w.send({ sessions: ["new", "other"], transports: ["ccs", "fcm_v1"] });
  assert.deepEqual([w.link.host.sessions, w.link.host.transport("other")], [["new", "other"], "fcm_v1"]);
  w.send({ deliver: w.deliveries(3) });
  await w.until("three results", () => w.ends === 3);
  const [former, before, typo] = w.all((f) => f.result);
  assert.equal(former?.changes?.send[0]?.session, "old");
  assert.equal(before?.changes?.send[0]?.session, "oldest");
  assert.match(typo?.error ?? "", /no session "typo"/);
  await w.end();
});

test("a call that waits is given up at the handler's time-out, also without a revoke", async () => {
  const w = new Wire({ upstream: async (tx) => void (await tx.get("k")) });
  w.send({ deliver: w.deliveries(1, 50) });
  await w.until("the result", () => w.ends === 1);
  assert.match(w.all((f) => f.result)[0]?.error ?? "", /timed out/);
  assert.equal(w.all((f) => f.abandon).length, 1);
  await w.end();
});

test("numbers and words that the plugin does not know do no harm", async () => {
  const w = new Wire({ upstream() {} });
  w.send({ revoke: [99n], reply: [{ id: 77n }], logLevel: "loud", sessions: [], deliver: w.deliveries(1) });
  await w.until("the end", () => w.ends === 1);
  await w.end();
});

test("the log level is the host's", async () => {
  const w = new Wire({ upstream() {} });
  w.send({ logLevel: "error" });
  w.link.host.log.warn("quiet");
  w.link.host.log.error("loud", { n: 1n, err: new Error("why") });
  assert.deepEqual(
    w.log.map((l) => [l["@level"], l["@message"], l.n, l.err]),
    [["error", "loud", "1", "why"]],
  );
  await w.end();
});
