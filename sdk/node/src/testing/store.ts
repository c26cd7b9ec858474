import { equals } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { defaults } from "../limits.js";
import { targetOf, utf8, type Data, type Options, type Target } from "../message.js";
import * as wire from "../wire/balhost/plugin/v1/plugin_pb.js";

/** A downstream that the plugin has sent. What was not given is left out. */
export interface Sent {
  messageId: string;
  session: string;
  to: Target;
  data?: Data;
  notification?: Data;
  options?: Options;
  group?: string;
  context?: any;
  notBefore?: Date;
  replace?: string;
  traceparent?: string;
}

/** A timer that the plugin has set and that has not been handled. */
export interface SetTimer {
  key: string;
  /** What the plugin gave. */
  due: Date;
  session: string;
  device: string;
  data?: any;
}

interface Value {
  json: Uint8Array;
  version: bigint;
}

/** A timer with its moment by the host's clock, in milliseconds. */
export interface Due {
  timer: wire.Timer;
  at: number;
  order: number;
  attempt: number;
}

/** Why changes were not committed. */
export class Refused extends Error {
  constructor(
    readonly code: "conflict" | "replaced" | "invalid",
    text: string,
  ) {
    super(text);
  }
}

const wentOut = "went out";

/** What a plugin sees of a host's disk: its state, its timers, and what it has sent. */
export class Store {
  readonly sent: wire.Downstream[] = [];
  readonly ends = new Map<string, string>(); // how one no longer waits, by message id: wentOut, or a code
  past = 0; // milliseconds that advance has let pass
  refuses = ""; // why host.send is refused
  #ids = new Map<string, wire.Downstream>();
  #state = new Map<string, Value>();
  #timers = new Map<string, Due>();
  #version = 0n;
  #order = 0;
  #watchers: (() => void)[] = [];

  constructor(readonly sessions: readonly string[]) {}

  /** The next commit. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#watchers.push(resolve));
  }

  get(key: string): Value | undefined {
    return this.#state.get(key);
  }

  keys(): string[] {
    return [...this.#state.keys()].sort(byBytes);
  }

  /** Commits changes all or nothing, and returns what they send. of is the event that they belong to. */
  commit(c: wire.Changes | undefined, of?: wire.Delivery): Sent[] {
    if (c !== undefined && this.stale(c)) {
      throw new Refused("conflict", "what was read has changed: run again");
    }
    const due = of?.event.case === "timer" ? this.#timers.get(of.event.value.key) : undefined;
    const set = of !== undefined && of.event.case === "timer" && setHere.has(of.event.value);
    if (set && due?.timer !== of.event.value) {
      throw new Refused("replaced", "the timer was canceled or set anew");
    }
    const fresh = (c?.send ?? []).filter((d) => this.#isFresh(d));
    for (const d of fresh) {
      this.#replace(d);
      this.#ids.set(d.messageId, d);
      this.sent.push(d);
    }
    for (const id of c?.cancel ?? []) {
      this.end(id, "CANCELED");
    }
    if (set) {
      this.#timers.delete(due!.timer.key);
    }
    for (const s of c?.schedule ?? []) {
      this.#schedule(s, of);
    }
    for (const { key, value, remove } of c?.write ?? []) {
      this.#version++;
      if (remove) {
        this.#state.delete(key);
      } else {
        this.#state.set(key, { json: value, version: this.#version });
      }
    }
    for (const watcher of this.#watchers.splice(0)) {
      watcher();
    }
    return (c?.send ?? []).map(sentOf);
  }

  #isFresh(d: wire.Downstream): boolean {
    d.session ||= this.sessions[0] ?? "";
    if (!this.sessions.includes(d.session)) {
      throw new Refused("invalid", `there is no session ${d.session}: the host has ${this.sessions.join(", ")}`);
    }
    const old = this.#ids.get(d.messageId);
    if (old !== undefined && !equals(wire.DownstreamSchema, old, { ...d, traceparent: old.traceparent })) {
      throw new Refused("invalid", `message id ${d.messageId} was used before for another message`);
    }
    return old === undefined;
  }

  /** Ends the one that waits and whose place d takes. */
  #replace(d: wire.Downstream): void {
    for (const older of this.sent) {
      const same = older.replace === d.replace && older.session === d.session && targetText(older) === targetText(d);
      if (d.replace !== "" && same) {
        this.end(older.messageId, "REPLACED");
      }
    }
  }

  /** Ends a downstream that waits, and reports whether it did. */
  end(id: string, how: string): boolean {
    if (!this.#ids.has(id) || this.ends.has(id)) {
      return false;
    }
    this.ends.set(id, how);
    return true;
  }

  goOut(id: string): boolean {
    return this.end(id, wentOut);
  }

  canceled(id: string): string {
    const how = this.ends.get(id) ?? "";
    return how === wentOut ? "" : how;
  }

  /** Reports whether something has changed since it was read or listed. */
  stale(c: wire.Changes): boolean {
    return (
      c.read.some((r) => (this.#state.get(r.key)?.version ?? 0n) !== r.version) ||
      c.range.some((r) => Buffer.compare(this.#digest(this.#keysIn(r)), r.digest) !== 0)
    );
  }

  list(ask: wire.List): wire.ListReply {
    const keys = this.#keysIn({ ...ask, last: "" });
    const most = ask.max === 0 ? defaults.changes - 1 : Math.min(ask.max, defaults.changes - 1);
    const reply = { item: [] as wire.Item[], more: false };
    let bytes = 0;
    for (const key of keys) {
      const { json, version } = this.#state.get(key)!;
      bytes += Buffer.byteLength(key) + json.length;
      if (reply.item.length === most || (reply.item.length > 0 && bytes > 1 << 20)) {
        reply.more = true;
        break;
      }
      reply.item.push({ key, value: json, version } as wire.Item);
    }
    return { ...reply, digest: this.#digest(reply.item.map((i) => i.key)) } as wire.ListReply;
  }

  #keysIn({ prefix, after, last }: { prefix: string; after: string; last: string }): string[] {
    return this.keys().filter(
      (k) => k.startsWith(prefix) && byBytes(k, after) > 0 && (last === "" || byBytes(k, last) <= 0),
    );
  }

  /** Of keys and versions, as the host's: how many there are, and the newest version. */
  #digest(keys: string[]): Uint8Array {
    const digest = Buffer.alloc(12);
    digest.writeUInt32BE(keys.length);
    digest.writeBigUInt64BE(
      keys.map((k) => this.#state.get(k)!.version).reduce((a, b) => (a > b ? a : b), 0n),
      4,
    );
    return digest;
  }

  #schedule(s: wire.Schedule, of: wire.Delivery | undefined): void {
    this.#timers.delete(s.key);
    if (s.cancel) {
      return;
    }
    const from = of?.event.value;
    const lane = s.lane.case === "device" ? s.lane.value : undefined;
    const timer = {
      id: randomUUID(),
      session: lane?.session || from?.session || (lane ? this.sessions[0] : "") || "",
      device:
        lane?.device ?? (of?.event.case === "upstream" || of?.event.case === "timer" ? of.event.value.device : ""),
      key: s.key,
      data: s.data,
      dueMs: s.atMs,
    } as wire.Timer;
    setHere.add(timer);
    this.#timers.set(s.key, { timer, at: Number(s.atMs) + this.past, order: this.#order++, attempt: 0 });
  }

  /** All timers, in the order in which they are due. */
  timers(): Due[] {
    return [...this.#timers.values()].sort((a, b) => a.at - b.at || a.order - b.order);
  }

  /** Takes out a timer that was rejected, unless it was set anew. */
  drop(timer: wire.Timer): void {
    if (this.#timers.get(timer.key)?.timer === timer) {
      this.#timers.delete(timer.key);
    }
  }
}

/** The timers that plugins have set; others come from a test. */
const setHere = new WeakSet<wire.Timer>();

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const targetText = (d: wire.Downstream): string => `${d.to?.to.case} ${d.to?.to.value}`;
const json = (bytes: Uint8Array): any => (bytes.length === 0 ? undefined : JSON.parse(utf8(bytes)));

/** A downstream as the plugin's author has written it. */
export function sentOf(d: wire.Downstream): Sent {
  const all: Record<string, unknown> = {
    messageId: d.messageId,
    session: d.session,
    to: targetOf(d.to),
    data: json(d.data),
    notification: json(d.notification),
    options: d.options && optionsOf(d.options),
    group: d.group || undefined,
    context: json(d.context),
    notBefore: d.notBeforeMs === 0n ? undefined : new Date(Number(d.notBeforeMs)),
    replace: d.replace || undefined,
    traceparent: d.traceparent || undefined,
  };
  return withoutAbsent(all) as unknown as Sent;
}

function optionsOf(o: wire.Options): Options {
  return withoutAbsent({
    ttlSeconds: o.ttlS === undefined ? undefined : Number(o.ttlS),
    priority: o.priority || undefined,
    collapseKey: o.collapseKey || undefined,
    dryRun: o.dryRun || undefined,
    receiptRequested: o.receiptRequested || undefined,
    contentAvailable: o.contentAvailable || undefined,
    mutableContent: o.mutableContent || undefined,
    android: json(o.android),
    apns: json(o.apns),
    webpush: json(o.webpush),
  });
}

const withoutAbsent = (o: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));

/** A timer as a test sees it. */
export function setTimerOf({ timer }: Due): SetTimer {
  const { key, session, device } = timer;
  const data = json(timer.data);
  return { key, due: new Date(Number(timer.dueMs)), session, device, ...(data === undefined ? {} : { data }) };
}
