import { create } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import type { Calls, Until } from "./calls.js";
import { checkId, encode } from "./check.js";
import { InvalidError } from "./errors.js";
import { bytesOf, checkKey, checkWellFormed, describe, jsonOf, millis, quote, type Limits } from "./limits.js";
import { utf8, type Downstream, type Item, type Lane } from "./message.js";
import type { Scope } from "./scope.js";
import type { Sessions } from "./sessions.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

/**
 * Collects what a handler does. If the handler returns, all of it is committed together with the end of the event. If
 * it throws, nothing is committed. A call that could never be committed throws InvalidError at once, and the Tx stays as
 * it was.
 *
 * If a key that the handler has read, or a part of the state that it has listed, has changed by then, nothing is
 * committed, and the handler runs again from its start. This counts as no attempt. So it may trust what it reads. What
 * it does outside of its Tx happens again in each run.
 */
export interface Tx {
  /** Aborted at the handler's time-out, and when the plugin must stop. Give it to fetch and others. */
  readonly signal: AbortSignal;
  /** Milliseconds until the time-out; Infinity: there is none. */
  readonly timeLeft: number;
  /**
   * The span of this attempt, as W3C's Trace Context writes it: the parent of the handler's spans. A host without traces
   * gives an empty text, and outside of a handler there is none.
   */
  readonly traceparent: string;
  /** Adds a downstream, and returns the id that it will have: the same at each attempt of the event. */
  send(d: Downstream): string;
  /** Cancels the plugin's downstream with this id, if it has not gone out by the commit. */
  cancelSend(messageId: string): void;
  /** Sets a key of the plugin's state, 1 to 512 bytes, to a value that JSON can have, of 1008 KiB at most. */
  put(key: string, value: unknown): void;
  /** Removes a key of the plugin's state. One that does not exist is no error. */
  delete(key: string): void;
  /**
   * The value of a key of the plugin's state, or what this Tx has put; undefined: the key does not exist. It may wait for
   * another handler that uses the key.
   */
  get<T = any>(key: string): Promise<T | undefined>;
  /**
   * Keys that begin with prefix and are greater than `after`, in the order of their bytes, with their values: at most
   * `max`, or as many as fit. `more`: there are others behind the last; give its key as `after` to go on. Each key counts
   * towards the 1000 changes of a Tx.
   */
  list<T = any>(prefix: string, page?: Page): Promise<{ items: Item<T>[]; more: boolean }>;
  /**
   * Sets a timer with this name, 1 to 512 bytes; one with the same name is replaced. When it is due, the plugin's `timer`
   * gets it, with data as JSON, in the lane of the event that sets it, or in that of inLaneOf or inLane.
   *
   * @param at a Date, or Unix time in milliseconds; one that has passed is due at once
   */
  schedule(key: string, at: Date | number, data?: unknown, lane?: Lane): void;
  /** Ends the timer with this name. One that does not exist is no error. */
  cancel(key: string): void;
}

/** Which part `list` gives. */
export interface Page {
  after?: string;
  max?: number;
}

/** What a Tx needs of its link. */
export interface Ground {
  calls: Calls;
  sessions: Sessions;
  limits: Limits;
  timed: boolean; // the plugin has a timer handler
}

/** The event that a Tx belongs to; outside of one its texts are empty. */
export interface Origin {
  id: string;
  session: string;
  delivery: bigint;
  traceparent: string;
}

/** The Tx of a handler, or of one run of host.update. */
export class Transaction implements Tx {
  #ground: Ground;
  #of: Origin;
  #scope: Scope | undefined;
  #until: Until;
  #ended = false;
  #sends: wire.Downstream[] = [];
  #writes = new Map<string, Uint8Array | undefined>(); // undefined: removed
  #timers = new Map<string, { timer: wire.Schedule; bytes: number }>();
  #cancels: string[] = [];
  #reads = new Map<string, Promise<wire.Reply>>(); // the first answer for each key; later gets use it
  #versions: wire.Read[] = [];
  #ranges: wire.Range[] = [];
  #listed = 0; // what the ranges count
  #pending = 0; // calls without a reply
  #bytes = 0;

  constructor(ground: Ground, of: Origin, until: Until) {
    this.#ground = ground;
    this.#of = of;
    this.#until = until;
    this.#scope = until instanceof AbortSignal ? undefined : until;
  }

  get signal(): AbortSignal {
    return this.#scope?.signal ?? (this.#until as AbortSignal | undefined) ?? new AbortController().signal;
  }

  get timeLeft(): number {
    return Math.max(0, (this.#scope?.deadline ?? Infinity) - performance.now());
  }

  get traceparent(): string {
    return this.#of.traceparent;
  }

  send(d: Downstream): string {
    this.#check();
    const id = d?.messageId || (this.#of.id === "" ? randomUUID() : `${this.#of.id}-${this.#sends.length + 1}`);
    const session = d?.session || this.#of.session;
    this.#ground.sessions.check("send", session, this.#of.session);
    const { downstream, bytes } = encode(d, id, session, this.#ground.sessions.transport(session));
    this.#grow(1, bytes);
    this.#sends.push(downstream);
    return id;
  }

  cancelSend(messageId: string): void {
    checkId(messageId);
    this.#grow(1, bytesOf(messageId));
    this.#cancels.push(messageId);
  }

  put(key: string, value: unknown): void {
    checkKey("put: key", key, this.#ground.limits);
    this.#write(key, Buffer.from(jsonOf(`put ${quote(key)}`, value, this.#ground.limits.valueBytes)));
  }

  delete(key: string): void {
    checkKey("delete: key", key, this.#ground.limits);
    this.#write(key, undefined);
  }

  #write(key: string, value: Uint8Array | undefined): void {
    const size = value?.length ?? 0;
    if (this.#writes.has(key)) {
      this.#grow(0, size - (this.#writes.get(key)?.length ?? 0));
    } else {
      this.#grow(1, bytesOf(key) + size);
    }
    this.#writes.set(key, value);
  }

  get<T>(key: string): Promise<T | undefined> {
    return guarded(this.#get<T>(key));
  }

  async #get<T>(key: string): Promise<T | undefined> {
    checkKey("get: key", key, this.#ground.limits);
    const written = this.#writes.get(key);
    if (written !== undefined || this.#writes.has(key)) {
      return decode<T>(written);
    }
    return decode<T>((await this.#read(key)).value);
  }

  #read(key: string): Promise<wire.Reply> {
    let reply = this.#reads.get(key);
    if (reply === undefined) {
      this.#grow(1, bytesOf(key));
      reply = this.#ask({ case: "get", value: key }).then((reply) => {
        this.#versions.push(create(wire.ReadSchema, { key, version: reply.version }));
        return reply;
      });
      reply.catch(() => this.#reads.delete(key));
      this.#reads.set(key, reply);
    }
    return reply;
  }

  async #ask(op: wire.Call["op"]): Promise<wire.Reply> {
    this.#pending++;
    try {
      return await this.#ground.calls.call(op, { delivery: this.#of.delivery }, this.#until);
    } finally {
      this.#pending--;
    }
  }

  list<T>(prefix: string, page: Page = {}): Promise<{ items: Item<T>[]; more: boolean }> {
    return guarded(this.#list<T>(prefix, page));
  }

  async #list<T>(prefix: string, page: Page): Promise<{ items: Item<T>[]; more: boolean }> {
    const { max = 0 } = page;
    for (let after = page.after ?? ""; ;) {
      const { stored, part, more } = await this.#page(prefix, after, max);
      const items = this.#merged<T>(part, stored);
      if (max > 0 && items.length > max) {
        return { items: items.slice(0, max), more: true };
      }
      if (items.length > 0 || !more) {
        return { items, more };
      }
      after = part.last; // this Tx has deleted all of the page
    }
  }

  async #page(prefix: string, after: string, max: number) {
    for (const key of [prefix, after]) {
      if (typeof key !== "string" || bytesOf(key) > this.#ground.limits.keyBytes) {
        throw new InvalidError(`list: prefix and after must be texts of at most ${this.#ground.limits.keyBytes} bytes`);
      }
      checkWellFormed("list", key);
    }
    this.#grow(2, 0, { only: "check" }); // the list, and a key at the least
    const room = this.#ground.limits.changes - this.#count() - 1;
    const most = max > 0 ? Math.min(Math.ceil(max), room) : room;
    const reply = await this.#ask({ case: "list", value: create(wire.ListSchema, { prefix, after, max: most }) });
    const { item = [], more = false, digest } = reply.list ?? {};
    const part = create(wire.RangeSchema, { prefix, after, digest, last: more ? item.at(-1)?.key : "" });
    const counts = 1 + item.length;
    this.#grow(counts, bytesOf(prefix) + bytesOf(after) + bytesOf(part.last) + part.digest.length, { only: "bytes" });
    this.#ranges.push(part);
    this.#listed += counts;
    return { stored: item, part, more };
  }

  /** What is stored in a part, with what this Tx has put and deleted there. */
  #merged<T>(part: wire.Range, stored: wire.Item[]): Item<T>[] {
    const items: Item<T>[] = [];
    for (const { key, value } of stored) {
      if (!this.#writes.has(key)) {
        items.push({ key, value: decode<T>(value)! });
      }
    }
    const before = items.length;
    for (const [key, value] of this.#writes) {
      if (
        value &&
        key.startsWith(part.prefix) &&
        byBytes(key, part.after) > 0 &&
        (!part.last || byBytes(key, part.last) <= 0)
      ) {
        items.push({ key, value: decode<T>(value)! });
      }
    }
    return items.length === before ? items : items.sort((a, b) => byBytes(a.key, b.key));
  }

  schedule(key: string, at: Date | number, data?: unknown, lane?: Lane): void {
    const { limits, timed } = this.#ground;
    checkKey("schedule: timer", key, limits);
    if (!timed) {
      throw new InvalidError(`schedule ${quote(key)}: the plugin has no timer handler: give it one`);
    }
    const what = `schedule ${quote(key)}`;
    const json = data === undefined ? new Uint8Array() : Buffer.from(jsonOf(what, data, limits.valueBytes));
    const fields = { key, atMs: millis(`${what}: the time`, at), data: json, lane: laneOf(what, lane, limits) };
    if (fields.lane.case === "device") {
      this.#ground.sessions.check(what, fields.lane.value.session || this.#of.session, this.#of.session);
    }
    this.#setTimer(create(wire.ScheduleSchema, fields));
  }

  cancel(key: string): void {
    checkKey("cancel: timer", key, this.#ground.limits);
    this.#setTimer(create(wire.ScheduleSchema, { key, cancel: true }));
  }

  /** The last call for a key counts. */
  #setTimer(timer: wire.Schedule): void {
    const lane =
      timer.lane.case === "named"
        ? timer.lane.value
        : `${timer.lane.value?.session ?? ""}${timer.lane.value?.device ?? ""}`;
    const bytes = 64 + bytesOf(timer.key) + timer.data.length + bytesOf(lane);
    const old = this.#timers.get(timer.key);
    this.#grow(old ? 0 : 1, bytes - (old?.bytes ?? 0));
    this.#timers.delete(timer.key);
    this.#timers.set(timer.key, { timer, bytes });
  }

  #check(): void {
    if (this.#ended) {
      throw new InvalidError("this Tx has ended: its handler has returned. Await all that uses it before you return");
    }
  }

  /** Adds bytes to the Tx, or says why count changes of these bytes don't fit. */
  #grow(count: number, bytes: number, how: { only?: "check" | "bytes" } = {}): void {
    this.#check();
    const { changes, changeBytes } = this.#ground.limits;
    if (this.#count() + count > changes) {
      throw new InvalidError(
        `${this.#count() + count} downstreams, timers and keys at once, at most ${changes} are possible: send fewer, or split the work over several events`,
      );
    }
    if (this.#bytes + bytes > changeBytes) {
      throw new InvalidError(
        `changes of ${this.#bytes + bytes} bytes at once, at most ${changeBytes} are possible: split the work, or keep large values elsewhere`,
      );
    }
    this.#bytes += how.only === "check" ? 0 : bytes;
  }

  #count(): number {
    return (
      this.#sends.length +
      this.#writes.size +
      this.#timers.size +
      this.#cancels.length +
      this.#reads.size +
      this.#listed
    );
  }

  /** About how many bytes the changes take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Closes the Tx. The error is that of a function that has not awaited what it asked for. */
  end(): InvalidError | undefined {
    this.#ended = true;
    this.#scope?.close();
    return this.#pending === 0
      ? undefined
      : new InvalidError("it has returned before its tx.get or tx.list had an answer: put await before each of them");
  }

  /** What is to be committed; undefined: nothing. */
  changes(): wire.Changes | undefined {
    if (this.#count() === 0) {
      return undefined;
    }
    const changes = this.reads() ?? create(wire.ChangesSchema);
    changes.send = this.#sends;
    changes.cancel = this.#cancels;
    changes.schedule = Array.from(this.#timers.values(), ({ timer }) => timer);
    changes.write = Array.from(this.#writes, ([key, value]) =>
      create(wire.WriteSchema, { key, value, remove: value === undefined }),
    );
    return changes;
  }

  /** What the handler has read: the part that counts when nothing is committed; undefined: nothing. */
  reads(): wire.Changes | undefined {
    if (this.#versions.length + this.#ranges.length === 0) {
      return undefined;
    }
    return create(wire.ChangesSchema, { read: this.#versions, range: this.#ranges });
  }
}

/** A handler that has not awaited this is told so by its result. Node must not end the process for it. */
function guarded<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

function decode<T>(value: Uint8Array | undefined): T | undefined {
  return value === undefined || value.length === 0 ? undefined : (JSON.parse(utf8(value)) as T);
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const maxDevice = 4096;

function laneOf(what: string, lane: Lane | undefined, limits: Limits): wire.Schedule["lane"] {
  if (lane === undefined) {
    return { case: undefined };
  }
  if (typeof lane === "object" && lane !== null && "named" in lane) {
    checkKey(`${what}: lane`, lane.named, limits);
    return { case: "named", value: lane.named };
  }
  const { device, session = "" } = (lane ?? {}) as { device: unknown; session?: string };
  if (typeof device !== "string" || device === "" || bytesOf(device) > maxDevice) {
    throw new InvalidError(
      `${what}: the lane is ${describe(lane)}: use inLaneOf(device) with 1 to ${maxDevice} bytes, or inLane(name)`,
    );
  }
  checkWellFormed(`${what}: the lane's device`, device);
  checkWellFormed(`${what}: the lane's session`, session);
  return { case: "device", value: create(wire.DeviceSchema, { device, session }) };
}
