import { create } from "@bufbuild/protobuf";
import { Calls } from "./calls.js";
import { fillConfig } from "./config.js";
import { Reject, Retry, textOf } from "./errors.js";
import { Handling, returned, revoked, stopping } from "./handling.js";
import { HostLink } from "./host.js";
import { defaults, told } from "./limits.js";
import type { JsonLog } from "./log.js";
import { utf8 } from "./message.js";
import { inFlight, type Plugin } from "./plugin.js";
import { keepRunning } from "./run.js";
import { Scope } from "./scope.js";
import { Sessions } from "./sessions.js";
import { StallWatch } from "./stall.js";
import type { Ground } from "./tx.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";
import { Writer, type WriteFrame } from "./writer.js";

const slice = 10; // milliseconds for which handlers begin one after the other, before the loop turns
const lastGrace = 2000; // milliseconds for handlers, run and stop after the host has gone

/** How the stream of frames has ended. */
export type End = "drained" | "closed by the host" | "broken";

/**
 * The plugin's side of the connection to its host. receive hands out the host's frames, and never waits. A handler
 * begins in the turn of the event loop in which its delivery came, or in a later one if others have used up the time
 * slice, so that pings are answered between handlers.
 */
export class Link {
  readonly host: HostLink;
  readonly ended: Promise<End>;
  #plugin: Plugin;
  #log: JsonLog;
  #writer: Writer;
  #calls: Calls;
  #ground: Ground;
  #stall: StallWatch;

  #running = new Set<Handling>();
  #waiting: Handling[] = [];
  #pumping = false; // a pump comes in a later turn of the loop
  #closed = false; // no handler begins any more
  #idle = promised<void>(); // closed, and nothing runs
  #extending: NodeJS.Timeout | undefined;

  #started = false; // start has succeeded
  #runs = promised<void>(); // the host allows run
  #stop = promised<wire.Drain | End>();

  constructor(plugin: Plugin, log: JsonLog, write: WriteFrame) {
    this.#plugin = plugin;
    this.#log = log;
    this.#writer = new Writer(write);
    this.#calls = new Calls(this.#writer);
    this.#ground = {
      calls: this.#calls,
      sessions: new Sessions(),
      limits: { ...defaults },
      timed: plugin.timer !== undefined,
    };
    this.host = new HostLink(log, this.#ground);
    this.#stall = new StallWatch(log, () => this.#ground.limits.pingMs);
    this.#writer.tell({ credit: inFlight(plugin) });
    this.#extendEvery(this.#ground.limits.extendMs / 2);
    this.ended = this.#serve();
  }

  /** Takes what Configure brings, and runs start. The text says why the plugin can't start; empty: it can. */
  async configure(request: wire.ConfigureRequest): Promise<string> {
    this.#log.setLevel(request.logLevel);
    this.#ground.limits = told(request.limits);
    this.#extendEvery(this.#ground.limits.extendMs / 2);
    this.#ground.sessions.set(request.former, []); // as if it had told them earlier
    this.#ground.sessions.set(request.sessions, request.transports);
    try {
      fillConfig(this.#plugin.config, utf8(request.config));
    } catch (err) {
      return `plugin ${this.#plugin.name}: ${textOf(err)}`;
    }
    try {
      await this.#plugin.start?.(this.host);
    } catch (err) {
      this.#log.debug("start failed", { stack: stackOf(err) });
      return `plugin ${this.#plugin.name}: start: ${textOf(err)}`.toWellFormed();
    }
    this.#started = true;
    return "";
  }

  receive(f: wire.HostFrame): void {
    for (const d of f.deliver) {
      this.#add(new Handling(d, this.#ground));
    }
    for (const delivery of f.revoke) {
      this.#revoke(delivery);
    }
    for (const reply of f.reply) {
      this.#calls.answer(reply);
    }
    if (f.logLevel !== "") {
      this.#log.setLevel(f.logLevel);
    }
    if (f.sessions.length > 0) {
      this.#ground.sessions.set(f.sessions, f.transports);
    }
    if (f.ping !== 0n) {
      this.#writer.tell({ pong: f.ping });
    }
    if (f.run) {
      this.#runs.resolve();
    }
    this.#pump();
    if (f.drain !== undefined) {
      this.#stop.resolve(f.drain);
    }
  }

  /** The host has closed its half of the stream, or the stream has broken. */
  lost(how: "closed by the host" | "broken"): void {
    this.#stop.resolve(how);
  }

  async #serve(): Promise<End> {
    const running = new Scope(Infinity);
    const runEnded = keepRunning({
      plugin: this.#plugin,
      host: this.host,
      allowed: this.#runs.promise,
      scope: running,
      failed: (runFailure) => this.#writer.tell({ runFailure }),
    });
    const why = await this.#stop.promise;
    const drain = typeof why === "string" ? undefined : why;
    this.#log.debug("draining", { reason: drain?.reason ?? why });
    const limit = drain ? Math.max(drain.timeoutMs, 1) : lastGrace;
    const soft = drain ? (limit * 4) / 5 : 0; // then signals are aborted; the rest is for handlers to notice that
    this.#close();
    running.end(stopping);
    await this.#windDown(runEnded, soft, limit);
    clearInterval(this.#extending);
    this.#stall.stop();
    if (why !== "broken") {
      await this.#writer.close({ drained: true });
    }
    this.#calls.end();
    return typeof why === "string" ? why : "drained";
  }

  /** Waits for run and the handlers, and then calls stop, all within limit. Handlers' signals are aborted after soft. */
  async #windDown(runEnded: Promise<void>, soft: number, limit: number): Promise<void> {
    const began = performance.now();
    const parts = [
      { name: "run", ended: runEnded },
      { name: "a handler", ended: this.#idle.promise },
    ];
    for (const part of parts) {
      if (await within(part.ended, soft - (performance.now() - began))) {
        continue;
      }
      for (const h of this.#running) {
        h.scope.end(stopping);
      }
      if (!(await within(part.ended, limit - (performance.now() - began)))) {
        this.#log.warn("it still runs although its signal was aborted; the plugin ends without it", {
          state: part.name,
          took: `${limit}ms`,
        });
        return; // stop must not run at the same time
      }
    }
    if (this.#started && this.#plugin.stop !== undefined) {
      await this.#callStop(limit - (performance.now() - began));
    }
  }

  async #callStop(left: number): Promise<void> {
    const scope = new Scope(performance.now() + Math.max(left, 1));
    const stopped = (async () => this.#plugin.stop?.(scope.signal))().catch((err: unknown) => {
      this.#log.error("stop failed", { err: textOf(err), stack: stackOf(err) });
    });
    if (!(await within(stopped, left))) {
      this.#log.warn("stop has not ended in time; the plugin ends without it");
    }
    scope.close();
  }

  #add(h: Handling): void {
    if (this.#closed) {
      this.#release(h);
    } else {
      this.#waiting.push(h);
    }
  }

  /** Begins handlers that wait, until the time slice is used up. */
  #pump(): void {
    if (this.#pumping || this.#waiting.length === 0) {
      return;
    }
    const began = performance.now();
    for (let now = began; this.#waiting.length > 0 && this.#running.size < inFlight(this.#plugin);) {
      if (now - began > slice) {
        this.#pumping = true;
        setImmediate(() => {
          this.#pumping = false;
          this.#pump();
        });
        return;
      }
      const h = this.#waiting.shift()!;
      this.#handle(h);
      now = this.#stall.handlerKept(now, () => h.facts());
    }
  }

  /** Runs one handler, and sends its result. */
  #handle(h: Handling): void {
    this.#running.add(h);
    let ends: void | Promise<void>;
    try {
      ends = h.call(this.#plugin);
    } catch (err) {
      this.#failed(h, err);
      return;
    }
    if (typeof ends?.then === "function") {
      ends.then(
        () => this.#returned(h),
        (err: unknown) => this.#failed(h, err),
      );
    } else {
      this.#returned(h);
    }
  }

  #returned(h: Handling): void {
    const unawaited = h.tx.end();
    if (unawaited !== undefined) {
      this.#failed(h, unawaited);
      return;
    }
    const changes = h.tx.changes();
    const delivery = h.delivery.delivery;
    if (changes === undefined) {
      this.#writer.done(delivery);
    } else {
      this.#writer.result(create(wire.ResultSchema, { delivery, code: wire.Result_Code.DONE, changes }), h.tx.bytes);
    }
    this.#over(h);
  }

  #failed(h: Handling, thrown: unknown): void {
    h.tx.end();
    if (!(thrown instanceof Reject || thrown instanceof Retry)) {
      // These are mistakes in the plugin's code; the host logs the text of all others.
      const mistake = [TypeError, ReferenceError, RangeError, SyntaxError].some((kind) => thrown instanceof kind);
      this.#log[mistake ? "error" : "debug"]("handler failed", {
        ...h.facts(),
        err: textOf(thrown),
        stack: stackOf(thrown),
      });
    }
    const result = h.failure(thrown, this.#ground.limits);
    this.#writer.result(result, result.error.length + h.tx.bytes);
    this.#over(h);
  }

  #over(h: Handling): void {
    h.scope.end(returned);
    this.#running.delete(h);
    if (this.#closed && this.#running.size === 0) {
      this.#idle.resolve();
    }
    if (this.#waiting.length > 0 && !this.#pumping) {
      this.#pumping = true;
      setImmediate(() => {
        this.#pumping = false;
        this.#pump();
      });
    }
  }

  /** Begins no more handlers, and gives back what waits. */
  #close(): void {
    this.#closed = true;
    for (const h of this.#waiting.splice(0)) {
      this.#release(h);
    }
    if (this.#running.size === 0) {
      this.#idle.resolve();
    }
  }

  #release(h: Handling): void {
    const delivery = h.delivery.delivery;
    this.#writer.result(create(wire.ResultSchema, { delivery, code: wire.Result_Code.RELEASE }), 0);
  }

  /** Aborts the signal of a delivery's handler. A delivery that is not known has ended. */
  #revoke(delivery: bigint): void {
    for (const h of [...this.#running, ...this.#waiting]) {
      if (h.delivery.delivery === delivery) {
        h.scope.end(revoked);
      }
    }
  }

  /** Tells the host, at this interval, which handlers still run. */
  #extendEvery(ms: number): void {
    clearInterval(this.#extending);
    this.#extending = setInterval(() => {
      if (this.#running.size > 0) {
        this.#writer.extend(Array.from(this.#running, (h) => h.delivery.delivery));
      }
    }, ms).unref();
  }
}

/** A promise with the function that fulfils it. */
function promised<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((r) => (resolve = r));
  return { promise, resolve };
}

/** Reports whether a promise is settled within this time, in milliseconds. */
async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), Math.max(ms, 0))));
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

export function stackOf(thrown: unknown): string {
  return (thrown instanceof Error && thrown.stack) || textOf(thrown);
}
