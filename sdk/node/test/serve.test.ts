// A plugin as a process of its own: the handshake, TLS, the calls in order, signals and exit codes.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import * as wire from "../src/wire/balhost/plugin/v1/plugin_pb.js";

const pem = (name: string) => fileURLToPath(new URL(`../../test/testdata/${name}`, import.meta.url));
const echo = fileURLToPath(new URL("../examples/echo/main.js", import.meta.url));

/** A process of the plugin, and what it prints. */
class Process {
  readonly folder = mkdtempSync(join(tmpdir(), "balhost-"));
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  out = "";
  err = "";

  constructor(t: TestContext, env: Record<string, string> = {}, program = [echo]) {
    for (const name of ["plugin.key", "plugin.crt", "host.crt"]) {
      copyFileSync(pem(name), join(this.folder, name));
    }
    const all = { BALHOST_PLUGIN: "5b1f0c2e8a6d4937b0c4d2f1e6a97358", PLUGIN_UNIX_SOCKET_DIR: this.folder, ...env };
    this.child = spawn(process.execPath, program, { env: all, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = once(this.child, "exit").then(([code]) => code as number | null);
    this.child.stdout!.on("data", (b: Buffer) => (this.out += b.toString()));
    this.child.stderr!.on("data", (b: Buffer) => (this.err += b.toString()));
    t.after(async () => {
      this.child.kill("SIGKILL");
      await this.exited;
      rmSync(this.folder, { recursive: true });
    });
  }

  /** Waits until what it prints fits, and returns the match. */
  async prints(where: "out" | "err", what: RegExp): Promise<RegExpMatchArray> {
    for (const began = Date.now(); ;) {
      const match = this[where].match(what);
      if (match) {
        return match;
      }
      assert.ok(
        Date.now() - began < 30_000 && this.child.exitCode === null,
        `${what} is not in ${this[where]}${this.err}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** The host's side. */
class Client {
  readonly #client: grpc.Client;

  constructor(t: TestContext, path: string, who = "host") {
    const read = (name: string) => readFileSync(pem(name));
    const credentials = grpc.credentials.createSsl(read("plugin.crt"), read(`${who}.key`), read(`${who}.crt`));
    this.#client = new grpc.Client(`unix:${path}`, credentials, { "grpc.ssl_target_name_override": "localhost" });
    t.after(() => this.#client.close());
  }

  raw(path: string, request = Buffer.alloc(0)): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const same = (b: Buffer) => b;
      this.#client.makeUnaryRequest(path, same, same, request, (err, reply) => (err ? reject(err) : resolve(reply!)));
    });
  }

  async call<I extends DescMessage, O extends DescMessage>(
    name: string,
    i: I,
    request: MessageInitShape<I>,
    o: O,
  ): Promise<MessageShape<O>> {
    return fromBinary(
      o,
      await this.raw(`/balhost.plugin.v1.Plugin/${name}`, Buffer.from(toBinary(i, create(i, request)))),
    );
  }

  session() {
    return this.#client.makeBidiStreamRequest(
      "/balhost.plugin.v1.Plugin/Session",
      (f: wire.HostFrame) => Buffer.from(toBinary(wire.HostFrameSchema, f)),
      (b) => fromBinary(wire.PluginFrameSchema, b),
    );
  }
}

const frame = (f: MessageInitShape<typeof wire.HostFrameSchema>) => create(wire.HostFrameSchema, f);

test("a whole life: handshake, health, Describe, Session, Configure, an event, signals, drain, Shutdown", async (t) => {
  const p = new Process(t);
  const [, path] = await p.prints("out", /^1\|2\|unix\|(\S+)\|grpc\n$/);
  assert.equal(path, join(p.folder, "plugin.sock"));
  const c = new Client(t, path!);
  assert.deepEqual(await c.raw("/grpc.health.v1.Health/Check"), Buffer.from([8, 1]));
  const m = await c.call(
    "Describe",
    wire.DescribeRequestSchema,
    { capabilities: ["offsets", "later"] },
    wire.ManifestSchema,
  );
  assert.deepEqual(
    [m.name, m.order, m.upstream, m.timer, m.capabilities],
    ["echo", "device", true, false, ["offsets"]],
  );

  const session = c.session();
  const frames: wire.PluginFrame[] = [];
  session.on("data", (f: wire.PluginFrame) => frames.push(f));
  const ended = once(session, "status") as Promise<[grpc.StatusObject]>;
  const configure = () =>
    c.call(
      "Configure",
      wire.ConfigureRequestSchema,
      { sessions: ["main"], logLevel: "debug" },
      wire.ConfigureReplySchema,
    );
  assert.equal((await configure()).error, "");
  await assert.rejects(configure(), { code: grpc.status.FAILED_PRECONDITION });
  await assert.rejects(once(c.session().resume(), "status"), { code: grpc.status.FAILED_PRECONDITION });

  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    p.child.kill(signal);
    await p.prints("err", new RegExp(`signal ignored.*${signal}`));
  }
  const raw = Buffer.from(`{"from":"d","data":{"say":"${"x".repeat(1 << 20)}"}}`);
  const upstream = create(wire.UpstreamSchema, {
    id: "e1",
    session: "main",
    device: "d",
    raw,
    dataStart: 19,
    dataEnd: raw.length - 1,
  });
  session.write(frame({ deliver: [{ delivery: 1n, attempt: 1, event: { case: "upstream", value: upstream } }] }));
  while (!frames.some((f) => f.result.length > 0)) {
    await once(session, "data");
  }
  assert.match(frames.flatMap((f) => f.result)[0]!.error, /at most 4096/); // a body of 1 MiB arrives; no device takes it
  session.write(frame({ drain: { timeoutMs: 5000 } }));
  assert.equal((await ended)[0].code, grpc.status.OK);
  assert.equal(frames.at(-1)?.drained, true);
  await c.raw("/plugin.GRPCController/Shutdown").catch(() => {});
  assert.equal(await p.exited, 0);
});

test("metrics over gRPC: text, and errors with their codes", async (t) => {
  const main = `import { serve } from ${JSON.stringify(new URL("../src/index.js", import.meta.url))};
    let n = 0;
    serve({ name: "x", run() {}, metrics() { if (n++) throw new Error("no database \\ud800"); return "rooms 3\\n"; } });`;
  const p = new Process(t, {}, ["--input-type=module", "-e", main]);
  const [, path] = await p.prints("out", /^1\|2\|unix\|(\S+)\|grpc\n$/);
  const c = new Client(t, path!);
  assert.deepEqual(await c.raw("/balhost.plugin.v1.Metrics/Text"), Buffer.from("\x0a\x08rooms 3\n")); // BytesValue
  await assert.rejects(c.raw("/balhost.plugin.v1.Metrics/Text"), { details: "no database \ufffd" });

  const q = new Process(t); // echo has none
  const [, other] = await q.prints("out", /^1\|2\|unix\|(\S+)\|grpc\n$/);
  await assert.rejects(new Client(t, other!).raw("/balhost.plugin.v1.Metrics/Text"), {
    code: grpc.status.FAILED_PRECONDITION,
  });
});

test("a client with another certificate is refused", async (t) => {
  const p = new Process(t);
  const [, path] = await p.prints("out", /^1\|2\|unix\|(\S+)\|grpc\n$/);
  await assert.rejects(new Client(t, path!, "stranger").raw("/grpc.health.v1.Health/Check"), {
    code: grpc.status.UNAVAILABLE,
  });
});

test("when the host is gone without a word, the process ends by itself", async (t) => {
  const p = new Process(t);
  const [, path] = await p.prints("out", /^1\|2\|unix\|(\S+)\|grpc\n$/);
  const session = new Client(t, path!).session().on("error", () => {});
  await once(session, "data"); // its credit
  session.cancel();
  assert.equal(await p.exited, 1);
  assert.match(p.err, /the connection to the host has ended/);
});

test("a signal before the host is connected ends the process", async (t) => {
  const p = new Process(t);
  await p.prints("out", /grpc\n$/);
  p.child.kill("SIGTERM");
  assert.equal(await p.exited, 1);
});

test("started by hand it says what to do", async (t) => {
  const p = new Process(t, { BALHOST_PLUGIN: "" });
  assert.equal(await p.exited, 2);
  assert.match(p.err, /^echo 1\.0\.0 is a plugin of balhost\. It does nothing when you start it by hand/);
});

test("what can't run says why", async (t) => {
  const p = new Process(t, { PLUGIN_UNIX_SOCKET_DIR: "/nowhere" });
  assert.equal(await p.exited, 1);
  assert.match(p.err, /plugin echo can't run: ENOENT.*plugin\.key/);
  const main = `import { serve } from ${JSON.stringify(new URL("../src/index.js", import.meta.url))}; serve({ name: "x" })`;
  const q = new Process(t, {}, ["--input-type=module", "-e", main]);
  assert.equal(await q.exited, 1);
  assert.match(q.err, /the plugin can't run: plugin x: it does nothing/);
});

test("console goes to the log with its level", async (t) => {
  const main = `import { serve } from ${JSON.stringify(new URL("../src/index.js", import.meta.url))};
    serve({ name: "x", run() {} });
    console.log("n is %d", 5); console.warn(new Error("odd")); console.error("bad"); console.debug("hidden")`;
  const p = new Process(t, {}, ["--input-type=module", "-e", main]);
  await p.prints("err", /"bad"/);
  const lines = p.err
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map((l) => l["@level"]),
    ["info", "warn", "error"],
  );
  assert.equal(lines[0]["@message"], "n is 5");
  assert.match(lines[1]["@message"], /^Error: odd\n +at /);
});
