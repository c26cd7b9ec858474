// Traces: PROTOCOL.md §4.
import assert from "node:assert/strict";
import { test } from "node:test";
import { token, type Plugin, type Tx } from "balhost";
import { TestHost } from "balhost/testing";

const span = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const other = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-00";

test("each handler has the span of its delivery", async (t) => {
  const seen: string[] = [];
  const note = (tx: Tx) => void seen.push(tx.traceparent);
  const h = await TestHost.start(t, { name: "p", upstream: note, outcome: note, receipt: note, timer: note });
  await h.upstream({ traceparent: span });
  await h.outcome({ traceparent: span });
  await h.receipt({ traceparent: span });
  await h.timer({ key: "k", traceparent: span });
  await h.upstream(); // of a host without traces
  assert.deepEqual(seen, [span, span, span, span, ""]);
});

/** Sends a downstream with each of these. */
const sending = (...spans: unknown[]): Plugin => ({
  name: "p",
  upstream(tx) {
    for (const traceparent of spans) {
      tx.send({ to: token("t"), data: { k: "v" }, traceparent: traceparent as string });
    }
  },
});

test("a downstream has the span that it was given", async (t) => {
  const wrong = ["", undefined, "00-xyz", span.toUpperCase(), `${span}-01`, `${span}\n`, "\ud800".repeat(55)];
  const h = await TestHost.start(t, sending(span, ...wrong));
  const r = await h.upstream({ traceparent: other });
  assert.deepEqual(
    r.sent.map((d) => d.traceparent),
    [span, ...wrong.map(() => undefined)],
    r.reason,
  );
});

test("what is no text is told", async (t) => {
  const r = await (await TestHost.start(t, sending({ traceparent: span }))).upstream();
  assert.match(r.reason, /traceparent is an object: give the text, such as carrier\.traceparent/);
});

test("outside of a handler", async (t) => {
  let resolve!: (span: string) => void, reject!: (err: unknown) => void;
  const done = new Promise<string>((a, b) => ([resolve, reject] = [a, b]));
  const work: Plugin["run"] = async (host) => {
    const d = { to: token("t"), messageId: "m" };
    await host.send({ ...d, data: { k: "v" }, traceparent: span });
    await host.send({ ...d, data: { k: "v" }, traceparent: other }); // the same message
    await assert.rejects(host.send({ ...d, data: { k: "w" }, traceparent: span }), /another message/);
    resolve(await host.update((tx) => tx.traceparent));
  };
  const h = await TestHost.start(t, { name: "p", run: (...given) => Promise.resolve(work(...given)).catch(reject) });
  assert.equal(await done, "");
  assert.deepEqual(
    h.sent().map((d) => d.traceparent),
    [span],
  );
});
