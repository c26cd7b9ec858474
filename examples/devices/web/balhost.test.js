// Tests of balhost.ts against a gateway that does what each test says; node --test runs
// them. Node 18 or later will do. Sockets need a WebSocket: Node 22 has one, Node 20 with
// --experimental-websocket, and Node 18 none. Then a small one stands in, so that the
// same tests run. The real gateway and a real browser: host/devices_test.go.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { webcrypto } from "node:crypto";
import { Balhost, ErrorCode, memoryStore } from "./balhost.js";

globalThis.crypto ??= webcrypto; // Node 18

/** A WebSocket that never opens: the device has HTTP alone. */
class Closed {
  readyState = 3;
  OPEN = 1;
  constructor() { queueMicrotask(() => this.onclose({ code: 1006 })); }
  send() {}
  close() {}
}

/** A WebSocket whose other end is the test. */
function scripted(script) {
  return class {
    static connections = [];
    readyState = 1;
    OPEN = 1;
    frames = [];
    constructor() {
      this.constructor.connections.push(this);
      this.n = this.constructor.connections.length;
      queueMicrotask(() => this.onopen());
    }
    send(text) {
      const f = JSON.parse(text);
      this.frames.push(f);
      if (f.type === "hello") this.down({ type: "welcome", max_unacked: 5, ping: 25 });
      script(f, this);
    }
    down(f) { queueMicrotask(() => this.readyState === 1 && this.onmessage({ data: JSON.stringify(f) })); }
    close(code = 1000) {
      if (this.readyState === 3) return;
      this.readyState = 3;
      queueMicrotask(() => this.onclose({ code }));
    }
  };
}

function device(o) {
  const heard = { sent: [], failed: [], messages: [], states: [] };
  const d = new Balhost({
    url: "http://127.0.0.1:9", from: "web-1", category: "com.example.chatroom", token: async fresh => fresh ? "new" : "old", store: memoryStore(),
    onMessageSent: id => heard.sent.push(id), onSendError: (id, code) => heard.failed.push([id, code]),
    onMessage: p => { heard.messages.push(p.message_id); }, onState: s => heard.states.push(s), ...o,
  });
  return { d, heard };
}

async function until(ok) {
  while (!ok()) await new Promise(r => setTimeout(r, 5));
}

test("an upstream keeps its id over every failure, and goes oldest first", async () => {
  const requests = [];
  const server = createServer(async (q, a) => {
    let body = "";
    for await (const part of q) body += part;
    const { messages } = JSON.parse(body);
    requests.push({ ids: messages.map(m => m.message_id), bearer: q.headers.authorization });
    switch (requests.length) {
      case 1: a.writeHead(503).end("<html>"); break;
      case 2: q.socket.destroy(); break;
      case 3: a.writeHead(401).end("{}"); break;
      default:
        a.writeHead(202).end(JSON.stringify({ results: messages.map((m, i) => i
          ? { message_id: m.message_id, status: "refused", error: "INVALID_FIELD" } : { message_id: m.message_id, status: "stored" }) }));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { d, heard } = device({ url: "http://127.0.0.1:" + server.address().port, WebSocket: Closed });
  const ids = [await d.send({ n: "1" }), await d.send({ n: "2" })];
  const over = d.start();
  await until(() => heard.failed.length);
  d.stop();
  await over;
  server.close();
  assert.deepEqual(requests.map(r => r.ids), [ids, ids, ids, ids]);
  assert.deepEqual(requests.map(r => r.bearer), ["Bearer old", "Bearer old", "Bearer old", "Bearer new"]);
  assert.deepEqual([heard.sent, heard.failed], [[ids[0]], [[ids[1], ErrorCode.invalidParameters]]]);
});

test("the queue has the old SDK's limits", async () => {
  const { d, heard } = device({ WebSocket: Closed });
  await assert.rejects(d.send({ text: "x".repeat(70_000) }), { code: ErrorCode.size });
  const first = await d.send({}, 0);
  for (let i = 1; i < 20; i++) await d.send({});
  await assert.rejects(d.send({}), { code: ErrorCode.tooManyMessages });
  const over = d.start();
  await until(() => heard.failed.length);
  d.stop();
  await over;
  assert.deepEqual(heard.failed, [[first, ErrorCode.ttlExceeded]]);
});

test("a cut leaves un-acked what goes again, and the window holds", async () => {
  const stored = [];
  let most = 0;
  const socket = scripted((f, ws) => {
    if (f.type !== "upstream") return;
    const written = ws.frames.filter(f => f.type === "upstream").length;
    most = Math.max(most, ws.n === 1 ? written : 0);
    if (ws.n === 1) { if (written === 5) ws.close(1006); return; }
    if (!stored.includes(f.message_id)) stored.push(f.message_id);
    ws.down({ type: "ack", message_id: f.message_id });
  });
  const { d, heard } = device({ WebSocket: socket });
  const ids = [];
  for (let i = 0; i < 8; i++) ids.push(await d.send({ i }));
  const over = d.start();
  await until(() => heard.sent.length === 8);
  d.stop();
  await over;
  assert.deepEqual([stored, heard.sent, most], [ids, ids, 5]);
});

test("a downstream reaches the app once, is acked each time, and is named in the next hello", async () => {
  const acks = [];
  const socket = scripted((f, ws) => {
    if (f.type === "hello") for (const id of ["d1", "d2", "d1"]) ws.down({ type: "downstream", message_id: id, data: {} });
    if (f.type === "ack") acks.push(f.message_id);
    if (f.type === "receipt") ws.down({ type: "ack", original_message_id: f.original_message_id, status: f.status });
    if (acks.length === 3) ws.close(1012);
  });
  const { d, heard } = device({ WebSocket: socket });
  await d.pushed({ bal_id: "d0", bal_receipt: "1" });
  const over = d.start();
  await until(() => socket.connections.length === 2 && socket.connections[1].frames.length);
  d.stop();
  await over;
  assert.deepEqual(heard.messages, ["d0", "d1", "d2"]);
  assert.deepEqual(acks.slice(0, 3), ["d1", "d2", "d1"]);
  assert.deepEqual(socket.connections[1].frames[0].received, ["d0", "d1", "d2"]);
  assert.equal(socket.connections[0].frames.filter(f => f.type === "receipt").length, 1);
});

test("receipts that are answered leave room for messages", async () => {
  let receipts = 0;
  const socket = scripted((f, ws) => {
    if (f.type === "receipt") {
      receipts++;
      ws.down({ type: "ack", message_id: f.original_message_id, original_message_id: f.original_message_id, status: f.status });
    }
    if (f.type === "upstream") ws.down({ type: "ack", message_id: f.message_id });
  });
  const { d, heard } = device({ WebSocket: socket });
  for (let i = 0; i < 45; i++) await d.pushed({ bal_id: "d" + i, bal_receipt: "1" });
  const id = await d.send({});
  const over = d.start();
  await until(() => heard.sent.length && receipts === 45);
  d.stop();
  await over;
  assert.deepEqual(heard.sent, [id]);
});

test("each close code means what the gateway means", async () => {
  for (const [code, ends] of [[4409, true], [4403, true], [4408, true], [1008, true], [1009, true], [4401, false], [1013, false]]) {
    const socket = scripted((f, ws) => { if (f.type === "hello" && ws.n === 1) ws.close(code); });
    const { d, heard } = device({ WebSocket: socket });
    const over = d.start();
    if (ends) await over;
    else await until(() => socket.connections.length === 2 && socket.connections[1].frames.length);
    d.stop();
    await over;
    assert.equal(socket.connections.length, ends ? 1 : 2, "connections after " + code);
    if (code === 4401) assert.equal(socket.connections[1].frames[0].token, "new");
    if (ends) assert.equal(heard.states.at(-1), "stopped: " + code);
  }
});
