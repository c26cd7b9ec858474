import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { ConflictError } from "./calls.js";
import { checkId, encode } from "./check.js";
import { UnavailableError } from "./errors.js";
import type { Log } from "./log.js";
import type { Downstream, Item, Transport } from "./message.js";
import { Transaction, type Ground, type Page, type Tx } from "./tx.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

/** Lets a call be given up: it fails with the signal's reason. What it would change may or may not be stored then. */
export interface CallOptions {
  signal?: AbortSignal;
}

/** What a plugin does outside of an event. `start` and `run` get it; keep it in `start` if others need it. */
export interface Host {
  /** The host shows these lines among its own, at the level that it sets. */
  readonly log: Log;
  /** The names of the host's sessions, in the order of config.hcl. A reload of the config can change them. */
  readonly sessions: readonly string[];
  /** How a session's downstreams travel. The empty name: the host's only session. Undefined: there is no such session. */
  transport(session?: string): Transport | undefined;
  /**
   * Sends one downstream, and returns its id when it is on disk. After an InvalidError nothing is stored. After an
   * UnavailableError nobody knows: call again with its `messageId`, and the message is sent once, whatever the first call did.
   */
  send(d: Downstream, options?: CallOptions): Promise<string>;
  /** Cancels the plugin's downstream with this id. True: it will not go out, and that is on disk. */
  cancel(messageId: string, options?: CallOptions): Promise<boolean>;
  /** As Tx.get. The value may have changed by the time this returns; to read and write safely, use update. */
  get<T = any>(key: string, options?: CallOptions): Promise<T | undefined>;
  /** As Tx.list. The keys may have changed by the time this returns. */
  list<T = any>(prefix: string, page?: Page, options?: CallOptions): Promise<{ items: Item<T>[]; more: boolean }>;
  /**
   * Runs f with a Tx, commits it, and returns what f has returned when that is on disk. If a key that f has read has
   * changed meanwhile, f runs again with a new Tx. So f must do nothing outside of its Tx. Don't call it in a handler.
   */
  update<T>(f: (tx: Tx) => T | Promise<T>, options?: CallOptions): Promise<T>;
}

const outside = { id: "", session: "", delivery: 0n, traceparent: "" };

/** The Host of a link. */
export class HostLink implements Host {
  #ground: Ground;

  constructor(
    readonly log: Log,
    ground: Ground,
  ) {
    this.#ground = ground;
  }

  get sessions(): readonly string[] {
    return [...this.#ground.sessions.names];
  }

  transport(session = ""): Transport | undefined {
    return this.#ground.sessions.transport(session);
  }

  async send(d: Downstream, options: CallOptions = {}): Promise<string> {
    const id = d?.messageId || randomUUID();
    const session = d?.session ?? "";
    this.#ground.sessions.check("send", session, "");
    const { downstream, bytes } = encode(d, id, session, this.transport(session));
    try {
      await this.#ground.calls.call({ case: "send", value: downstream }, { bytes }, options.signal);
    } catch (err) {
      if (err instanceof UnavailableError) {
        err.messageId = id;
      }
      throw err;
    }
    return id;
  }

  async cancel(messageId: string, options: CallOptions = {}): Promise<boolean> {
    checkId(messageId);
    return (await this.#ground.calls.call({ case: "cancel", value: messageId }, {}, options.signal)).canceled;
  }

  get<T>(key: string, options: CallOptions = {}): Promise<T | undefined> {
    return new Transaction(this.#ground, outside, options.signal).get<T>(key);
  }

  list<T>(prefix: string, page?: Page, options: CallOptions = {}): Promise<{ items: Item<T>[]; more: boolean }> {
    return new Transaction(this.#ground, outside, options.signal).list<T>(prefix, page);
  }

  async update<T>(f: (tx: Tx) => T | Promise<T>, options: CallOptions = {}): Promise<T> {
    const transaction = this.#ground.calls.transaction();
    for (let attempt = 1; ; attempt++) {
      const tx = new Transaction(this.#ground, outside, options.signal);
      const ended = await settle(f, tx);
      const changes = ended.ok ? tx.changes() : tx.reads(); // an error counts only if what f has read has not changed
      // In later runs an update without changes must go out too: it frees the keys that the host reserves.
      if (attempt > 1 || changes !== undefined) {
        try {
          const value = changes ?? create(wire.ChangesSchema);
          await this.#ground.calls.call({ case: "update", value }, { transaction, bytes: tx.bytes }, options.signal);
        } catch (err) {
          if (err instanceof ConflictError) {
            await backoff(attempt, options);
            continue;
          }
          throw ended.ok ? err : ended.err;
        }
      }
      if (!ended.ok) {
        throw ended.err;
      }
      return ended.value;
    }
  }
}

type Ended<T> = { ok: true; value: T } | { ok: false; err: unknown };

async function settle<T>(f: (tx: Tx) => T | Promise<T>, tx: Transaction): Promise<Ended<T>> {
  try {
    const value = await f(tx);
    const err = tx.end();
    return err === undefined ? { ok: true, value } : { ok: false, err };
  } catch (err) {
    tx.end();
    return { ok: false, err };
  }
}

/** Waits a little when others write the keys although they are reserved. */
async function backoff(attempt: number, { signal }: CallOptions): Promise<void> {
  if (attempt > 3) {
    await sleep(Math.random() * 2 ** Math.min(attempt, 8), undefined, { signal });
  }
}
