import { create } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { textOf } from "../errors.js";
import { utf8, type OutcomeStatus, type Target, type Transport } from "../message.js";
import type { Plugin } from "../plugin.js";
import * as wire from "../wire/balhost/plugin/v1/plugin_pb.js";
import { Instance } from "./instance.js";
import { Refused, sentOf, setTimerOf, Store, type Due, type Sent, type SetTimer } from "./store.js";

const patience = 30_000; // milliseconds that each wait for the plugin may last
const hungGrace = 5000; // milliseconds that a handler may go on after its time-out, as in a real host

/** The test that a host belongs to: the t of node:test, or another runner's like it. */
export interface Scenario {
  after(f: () => void | Promise<void>): void;
  diagnostic?(text: string): void;
}

/** All may be left out. */
export interface HostOptions {
  /** The plugin's config object. */
  config?: object;
  /** Names of the host's sessions. Left out: one session, "main". */
  sessions?: string[];
  /** Those of the sessions, by their names. A session that is not there has "ccs". */
  transports?: Record<string, Transport>;
  /** Milliseconds after which a handler's signal is aborted. Left out: 30 s. */
  handlerTimeout?: number;
  /** Gets each line of the plugin's log. Left out: warnings and errors go to t.diagnostic. */
  log?(line: string): void;
}

/** Fields of an event; what is left out gets a value. */
export type Given<T> = Partial<T> & { id?: string; session?: string; attempt?: number; traceparent?: string };

/** A device's message. `data` is any JSON; `dataText` is its text instead, also one that is not JSON. */
export type UpstreamEvent = Given<{
  from: string;
  category: string;
  messageId: string;
  data: unknown;
  dataText: string;
  received: Date;
}>;

/** How a downstream ended. */
export type OutcomeEvent = Given<{
  messageId: string;
  group: string;
  to: Target;
  status: OutcomeStatus;
  code: string;
  description: string;
  newToken: string;
  gone: boolean;
  attempts: number;
  context: unknown;
}>;

/** That a device has got a downstream. */
export type ReceiptEvent = Given<{
  originalMessageId: string;
  device: string;
  category: string;
  status: string;
  sentAt: Date;
}>;

/** That a timer is due. */
export type TimerEvent = Given<{ key: string; device: string; due: Date; data: unknown }>;

/**
 * How an event ended. "done": its handler returned, and its Tx was committed. "retried": it threw; a real host would give
 * the event again. "rejected": it threw Reject. "released": it came back because the plugin was stopped. "canceled": a
 * timer was canceled or set anew while its handler ran.
 */
export type Status = "done" | "retried" | "rejected" | "released" | "canceled";

/** How an event ended, and what it has sent. */
export interface Result {
  status: Status;
  /** The text of what the handler has thrown; empty if done. */
  reason: string;
  /** Of "retried": the milliseconds of Retry; less than 0: the host decides. */
  delay: number;
  /** What was committed with the event, in order. */
  sent: Sent[];
  /** How often the handler ran: more than once after conflicts. */
  runs: number;
}

/** Starts a plugin that should not start, and returns why it did not; undefined: it did start. */
export async function refusal(t: Scenario, plugin: Plugin, options: HostOptions = {}): Promise<string | undefined> {
  try {
    await (await TestHost.start(t, plugin, options)).stop();
    return undefined;
  } catch (err) {
    return textOf(err);
  }
}

/** Runs one plugin. */
export class TestHost {
  #t: Scenario;
  #options: HostOptions;
  #plugin: Plugin;
  #store: Store;
  #now: Instance | undefined; // undefined after stop
  #swapped: (() => void)[] = [];
  #before: (() => void | Promise<void>) | undefined;

  /** Starts a plugin as a host does. If it does not start, this throws. The plugin is stopped when the test ends. */
  static async start(t: Scenario, plugin: Plugin, options: HostOptions = {}): Promise<TestHost> {
    const h = new TestHost(t, plugin, options);
    h.#now = await h.#open(plugin);
    h.#now.send({ run: true });
    t.after(() => h.stop());
    return h;
  }

  private constructor(t: Scenario, plugin: Plugin, options: HostOptions) {
    this.#t = t;
    this.#plugin = plugin;
    this.#options = options;
    this.#store = new Store(options.sessions ?? ["main"]);
  }

  #open(plugin: Plugin): Promise<Instance> {
    const { sessions } = this.#store;
    const transports = sessions.map((name) => this.#options.transports?.[name] ?? "ccs");
    const config = Buffer.from(this.#options.config === undefined ? "" : JSON.stringify(this.#options.config));
    return Instance.open({
      plugin,
      configure: create(wire.ConfigureRequestSchema, {
        config,
        logLevel: "debug",
        sessions: [...sessions],
        transports,
      }),
      log: this.#options.log ?? ((line) => this.#show(line)),
      answer: (call) => this.#answer(call),
    });
  }

  #show(line: string): void {
    if (/^{"@level":"(warn|error)"/.test(line)) {
      this.#t.diagnostic?.(line.trimEnd());
    }
  }

  /** Drains the plugin and ends it. This happens at the end of the test too. */
  async stop(): Promise<void> {
    await this.#swap(undefined)?.drain(patience);
  }

  /**
   * Replaces the plugin, as a new version in the plugins folder does: it starts, the old one drains, and then its run
   * begins. State and what was sent stay. Events that the old one gives back go to the new one.
   */
  async reload(plugin: Plugin): Promise<void> {
    const next = await this.#open(plugin);
    await this.#now?.drain(patience);
    this.#plugin = plugin;
    this.#swap(next);
    next.send({ run: true });
  }

  /**
   * Does what kill -9 does, as far as that is possible in one process: what handlers do from then on is lost. A new
   * instance of the same plugin starts, and gets the events that the old one held.
   */
  async crash(): Promise<void> {
    this.#now?.cut();
    const next = await this.#open(this.#plugin);
    this.#swap(next);
    next.send({ run: true });
  }

  #swap(next: Instance | undefined): Instance | undefined {
    const old = this.#now;
    this.#now = next;
    for (const wake of this.#swapped.splice(0)) {
      wake();
    }
    return old;
  }

  /** Gives the plugin a device's message, and waits for the result. */
  upstream(m: UpstreamEvent = {}): Promise<Result> {
    const { id = randomUUID(), from = "device", data, received = new Date() } = m;
    const messageId = m.messageId ?? `m-${id}`;
    const first = this.#plugin.categories?.[0];
    const category = m.category ?? (first === "*" ? "" : (first ?? ""));
    const text = m.dataText ?? (data === undefined ? "" : JSON.stringify(data));
    const head = JSON.stringify({ from, category, message_id: messageId }).slice(0, -1);
    const dataStart = text === "" ? 0 : Buffer.byteLength(head) + ',"data":'.length;
    const value = create(wire.UpstreamSchema, {
      id,
      session: m.session ?? this.#store.sessions[0],
      device: from,
      category,
      messageId,
      raw: Buffer.from(text === "" ? `${head}}` : `${head},"data":${text}}`),
      dataStart,
      dataEnd: dataStart + Buffer.byteLength(text),
      receivedMs: BigInt(received.getTime()),
    });
    return this.#deliver(m, { case: "upstream", value });
  }

  /** Tells the plugin how a downstream ended, and waits for the result. */
  outcome(o: OutcomeEvent): Promise<Result> {
    const [kind = "token", to = ""] = Object.entries(o.to ?? {})[0] ?? [];
    const { messageId, group, status = "acked", code, description, newToken, gone, attempts = 1 } = o;
    const fields = { ...this.#event(o), messageId, group, status, code, description, newToken, gone, attempts };
    const value = create(wire.OutcomeSchema, { ...fields, context: bytesOf(o.context) });
    value.to = create(wire.TargetSchema, { to: { case: kind, value: to } as wire.Target["to"] });
    return this.#deliver(o, { case: "outcome", value });
  }

  /** Gives the plugin a receipt, and waits for the result. */
  receipt(r: ReceiptEvent): Promise<Result> {
    const { originalMessageId, device, category, status = "MESSAGE_SENT_TO_DEVICE", sentAt = new Date() } = r;
    const fields = { ...this.#event(r), originalMessageId, device, category, status, sentMs: BigInt(sentAt.getTime()) };
    return this.#deliver(r, { case: "receipt", value: create(wire.ReceiptSchema, fields) });
  }

  /** Gives the plugin a timer, whether it has set one or not, and waits for the result. */
  timer(t: TimerEvent): Promise<Result> {
    const { key = "", device, due = new Date() } = t;
    const fields = { ...this.#event(t), key, device, dueMs: BigInt(due.getTime()), data: bytesOf(t.data) };
    return this.#deliver(t, { case: "timer", value: create(wire.TimerSchema, fields) });
  }

  #event({ id = randomUUID(), session = this.#store.sessions[0] }: { id?: string; session?: string }) {
    return { id, session };
  }

  /** Gives an event to the plugin until it has a result that counts. */
  async #deliver({ attempt = 1, traceparent }: Given<object>, event: wire.Delivery["event"]): Promise<Result> {
    const timeoutMs = this.#options.handlerTimeout ?? patience;
    const d = { attempt, timeoutMs, event, traceparent } as wire.Delivery;
    const result: Result = { status: "done", reason: "", delay: -1, sent: [], runs: 0 };
    for (;;) {
      if (this.#now === undefined) {
        throw new Error("the plugin is stopped and can't get this event");
      }
      result.runs++;
      const to = this.#now;
      const r = await this.#try(to, d, timeoutMs);
      if (r === undefined || r.code === wire.Result_Code.RELEASE) {
        result.runs--; // the instance ends; the next one gets the event
        if (this.#now === to) {
          await soon(
            new Promise<void>((wake) => this.#swapped.push(wake)),
            "the plugin gave an event back although it was not stopped",
          );
        }
        if (this.#now === undefined) {
          return { ...result, status: "released" };
        }
        continue;
      }
      const before = this.#before;
      this.#before = undefined;
      await before?.();
      if (this.#ends(r, d, result)) {
        return result;
      }
    }
  }

  /** One run of a handler. As in a real host, its delivery is revoked when its time is up. */
  async #try(to: Instance, d: wire.Delivery, timeoutMs: number): Promise<wire.Result | undefined> {
    const { delivery, result } = to.deliver(d);
    const revoke = setTimeout(() => to.send({ revoke: [delivery] }), timeoutMs);
    try {
      return await soon(
        result,
        `a handler has not returned ${hungGrace / 1000} s after its signal was aborted (handlerTimeout is ${timeoutMs} ms). In a real host its lane waits, and when a quarter of maxInFlight handlers hang like this, the host kills the plugin`,
        timeoutMs + hungGrace,
      );
    } finally {
      clearTimeout(revoke);
    }
  }

  /** Commits a result. False: what the handler has read has changed, so it runs again. */
  #ends(r: wire.Result, d: wire.Delivery, into: Result): boolean {
    if (r.code !== wire.Result_Code.DONE) {
      into.status = r.code === wire.Result_Code.REJECT ? "rejected" : "retried";
      into.reason = r.error;
      into.delay = Math.max(Number(r.delayMs), -1);
      return r.changes === undefined || !this.#store.stale(r.changes);
    }
    try {
      into.status = "done";
      into.sent = this.#store.commit(r.changes, d);
      into.reason = "";
    } catch (err) {
      if (!(err instanceof Refused) || err.code === "invalid") {
        throw err;
      }
      into.status = "canceled";
      into.reason = err.message;
      return err.code !== "conflict";
    }
    return true;
  }

  /** The reply to a call of the plugin. */
  async #answer(call: wire.Call): Promise<wire.Reply> {
    const reply = create(wire.ReplySchema, { id: call.id });
    const { op } = call;
    const sends = op.case === "send" || (op.case === "update" && op.value.send.length > 0);
    if (sends && this.#store.refuses !== "") {
      return Object.assign(reply, { code: wire.Reply_Code.UNAVAILABLE, error: this.#store.refuses });
    }
    try {
      switch (op.case) {
        case "get": {
          const stored = this.#store.get(op.value);
          return Object.assign(reply, stored && { value: stored.json, version: stored.version });
        }
        case "list":
          reply.list = create(wire.ListReplySchema, this.#store.list(op.value));
          break;
        case "cancel":
          reply.canceled = this.#store.end(op.value, "CANCELED");
          break;
        case "send":
          this.#store.commit(create(wire.ChangesSchema, { send: [op.value] }));
          break;
        case "update":
          this.#store.commit(op.value);
      }
    } catch (err) {
      reply.code =
        err instanceof Refused && err.code === "conflict" ? wire.Reply_Code.CONFLICT : wire.Reply_Code.INVALID;
      reply.error = textOf(err);
    }
    return reply;
  }

  /** The value of a key of the plugin's state; undefined: there is none. */
  state(key: string): any {
    const stored = this.#store.get(key);
    return stored && JSON.parse(utf8(stored.json));
  }

  /** Sets a key of the plugin's state; undefined deletes it. */
  setState(key: string, value: unknown): void {
    const write = create(wire.WriteSchema, { key, value: bytesOf(value), remove: value === undefined });
    this.#store.commit(create(wire.ChangesSchema, { write: [write] }));
  }

  /** The keys of the plugin's state, in the order of their bytes. */
  keys(): string[] {
    return this.#store.keys();
  }

  /** All that the plugin has sent so far. */
  sent(): Sent[] {
    return this.#store.sent.map(sentOf);
  }

  /** Waits until the plugin has sent n downstreams in all, and returns them. */
  async awaitSent(n: number): Promise<Sent[]> {
    while (this.#store.sent.length < n) {
      await soon(this.#store.changed(), `${this.#store.sent.length} downstreams sent, expected ${n}`);
    }
    return this.sent();
  }

  /** What the plugin has sent and what has not gone out: it can be canceled and replaced. Here all waits, until goOut. */
  waiting(): Sent[] {
    return this.#store.sent.filter((d) => !this.#store.ends.has(d.messageId)).map(sentOf);
  }

  /** Lets downstreams that wait go out. */
  goOut(...messageIds: string[]): void {
    for (const id of messageIds) {
      if (!this.#store.goOut(id)) {
        throw new Error(`${id} does not wait, so it can't go out`);
      }
    }
  }

  /** Why a downstream does not go out: "CANCELED", "REPLACED", or empty for one that waits or has gone out. */
  canceled(messageId: string): string {
    return this.#store.canceled(messageId);
  }

  /** The timers that the plugin has set and that have not been handled, in the order in which they are due. */
  timers(): SetTimer[] {
    return this.#store.timers().map(setTimerOf);
  }

  /**
   * Lets so many milliseconds pass for the plugin's timers, and gives the plugin those that are due by then, in order,
   * also those that handlers set meanwhile. Returns how they ended. One that was retried comes again in the next advance.
   * Date.now stays as it is.
   */
  async advance(ms: number): Promise<Result[]> {
    const past = this.#store.past + ms;
    const until = Date.now() + past + 1; // timers are due at whole milliseconds
    const tried = new Set<wire.Timer>();
    const results: Result[] = [];
    const next = (): Due | undefined => this.#store.timers().find((due) => !tried.has(due.timer) && due.at <= until);
    for (let due = next(); due !== undefined; due = next()) {
      this.#store.past = Math.max(this.#store.past, due.at - Date.now());
      tried.add(due.timer);
      due.attempt++;
      const result = await this.#deliver({ attempt: due.attempt }, { case: "timer", value: due.timer });
      if (result.status === "rejected") {
        this.#store.drop(due.timer);
      }
      results.push(result);
    }
    this.#store.past = past;
    return results;
  }

  /** The plugin's own metrics, as a scrape of the host gets them. It fails with what the host would show instead. */
  metrics(): Promise<string> {
    if (this.#now === undefined) {
      throw new Error("the plugin is stopped and has no metrics");
    }
    return soon(this.#now.metrics(), `metrics has not returned within ${patience / 1000} s, and a host waits 1 s`);
  }

  /**
   * Runs f once: after the next handler has returned, and before what it did is committed. What f changes is there first,
   * so a handler that has read it runs again.
   */
  beforeCommit(f: () => void | Promise<void>): void {
    this.#before = f;
  }

  /** Makes host.send, and host.update with a downstream, fail with UnavailableError, as on a full disk. Empty ends this. */
  refuse(reason: string): void {
    this.#store.refuses = reason;
  }
}

const bytesOf = (value: unknown): Uint8Array =>
  value === undefined ? new Uint8Array() : Buffer.from(JSON.stringify(value));

/** Waits for a promise, and says what was waited for if it takes too long. */
async function soon<T>(promise: Promise<T>, otherwise: string, ms = patience): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error(otherwise)), ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
