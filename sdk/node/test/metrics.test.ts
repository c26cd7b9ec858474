// A plugin's own metrics: PROTOCOL.md §6, the capability metrics.
import assert from "node:assert/strict";
import { test } from "node:test";
import { UnavailableError, type Plugin } from "balhost";
import { TestHost } from "balhost/testing";
import { JsonLog } from "../src/log.js";
import { manifest } from "../src/manifest.js";
import { Metrics } from "../src/metrics.js";

const text = '# TYPE rooms gauge\nrooms{kind="ö"} 3\n';
const measuring = (metrics?: unknown): Plugin => ({
  name: "meter",
  upstream() {},
  ...(metrics === undefined ? {} : { metrics: metrics as Plugin["metrics"] }),
});

test("the capability is that of plugins with metrics", () => {
  assert.deepEqual(manifest(measuring(), ["offsets", "metrics"]).capabilities, ["offsets"]);
  assert.deepEqual(
    manifest(
      measuring(() => text),
      ["metrics", "later"],
    ).capabilities,
    ["metrics"],
  );
  assert.deepEqual(
    manifest(
      measuring(() => text),
      [],
    ).capabilities,
    [],
  );
});

test("text arrives whole", async (t) => {
  for (const metrics of [() => text, () => Promise.resolve(text)]) {
    const h = await TestHost.start(t, measuring(metrics));
    assert.equal(await h.metrics(), text);
    assert.equal(await h.metrics(), text);
  }
});

test("what can't be had is told", async (t) => {
  for (const [metrics, says] of [
    [undefined, /has no metrics/],
    [() => Promise.reject(new Error("no database")), /no database/],
    [() => undefined, /returned undefined: return Prometheus's text/],
    [() => "\n".repeat((1 << 20) + 1), /1048577 bytes, at most 1048576/],
  ] as const) {
    const h = await TestHost.start(t, measuring(metrics), { log() {} });
    await assert.rejects(h.metrics(), says);
  }
  const full = await TestHost.start(
    t,
    measuring(() => "\n".repeat(1 << 20)),
  );
  assert.equal((await full.metrics()).length, 1 << 20);
});

test("a failure that comes again is logged once", async () => {
  const lines: string[] = [];
  const fail = () => {
    throw new Error("no database");
  };
  const ways = [fail, fail, () => text, fail];
  const metrics = new Metrics(
    measuring(() => ways.shift()!()),
    new JsonLog("meter", (line) => lines.push(line)),
  );
  for (let n = 0; n < 4; n++) {
    await metrics.text().catch(() => {});
  }
  assert.equal(lines.length, 2);
  assert.match(
    lines[0]!,
    /"@level":"error","@message":"metrics failed".*"err":"no database","stack":"Error: no database/,
  );
});

test("calls don't overlap", async (t) => {
  let end!: (text: string) => void;
  let begun = 0;
  const h = await TestHost.start(
    t,
    measuring(() => {
      begun++;
      return new Promise<string>((resolve) => (end = resolve));
    }),
  );
  const first = h.metrics();
  await assert.rejects(h.metrics(), (err) => err instanceof UnavailableError && /not returned yet/.test(err.message));
  end(text);
  assert.equal(await first, text);
  assert.equal(begun, 1);
});
