import { create } from "@bufbuild/protobuf";
import { disconnected, InvalidError, UnavailableError } from "./errors.js";
import type { Scope } from "./scope.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";
import type { Writer } from "./writer.js";

/** What gives up a call: a handler's scope, or the caller's signal. */
export type Until = Scope | AbortSignal | undefined;

/** An update whose keys have changed since it read them: it runs again. */
export class ConflictError extends Error {}

interface Waiting {
  settle(reply: wire.Reply): void;
  fail(err: Error): void;
}

/** The plugin's calls to the host that have no reply yet. */
export class Calls {
  #writer: Writer;
  #last = 0n;
  #transactions = 0n;
  #open = new Map<bigint, Waiting>();
  #ended = false;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  /** The number of a host.update: the same in all of its runs. */
  transaction(): bigint {
    return ++this.#transactions;
  }

  /** Asks the host, and waits for the reply. If the caller has given up already, nothing is asked. */
  call(
    op: wire.Call["op"],
    about: { delivery?: bigint; transaction?: bigint; bytes?: number },
    until: Until,
  ): Promise<wire.Reply> {
    const { bytes = 0, ...fields } = about;
    const reply = new Promise<wire.Reply>((resolve, reject) => {
      const gone = reasonOf(until) ?? (this.#ended ? disconnected() : undefined);
      if (gone !== undefined) {
        reject(gone);
        return;
      }
      const id = ++this.#last;
      const unwatch = watch(until, (reason) => {
        this.#open.delete(id);
        this.#writer.abandon(id);
        reject(reason);
      });
      this.#open.set(id, {
        settle: (reply) => (unwatch(), resolve(reply)),
        fail: (err) => (unwatch(), reject(err)),
      });
      this.#writer.call(create(wire.CallSchema, { id, op, ...fields }), bytes);
    });
    reply.catch(() => {}); // a call that nobody awaits must not end the process
    return reply;
  }

  /** Gives a reply to the call that waits for it, unless that has given up. */
  answer(reply: wire.Reply): void {
    const waiting = this.#open.get(reply.id);
    this.#open.delete(reply.id);
    const err = errorOf(reply);
    if (err === undefined) {
      waiting?.settle(reply);
    } else {
      waiting?.fail(err);
    }
  }

  /** Fails all calls that wait, and all later ones. */
  end(): void {
    this.#ended = true;
    const open = this.#open;
    this.#open = new Map();
    for (const waiting of open.values()) {
      waiting.fail(disconnected());
    }
  }
}

function errorOf(reply: wire.Reply): Error | undefined {
  switch (reply.code) {
    case wire.Reply_Code.OK:
      return undefined;
    case wire.Reply_Code.INVALID:
      return new InvalidError(reply.error);
    case wire.Reply_Code.CONFLICT:
      return new ConflictError(reply.error);
    default:
      return new UnavailableError(reply.error || "the host can't do it now");
  }
}

function reasonOf(until: Until): Error | undefined {
  return until instanceof AbortSignal ? (until.aborted ? (until.reason as Error) : undefined) : until?.reason;
}

function watch(until: Until, f: (reason: Error) => void): () => void {
  if (!(until instanceof AbortSignal)) {
    return until?.onEnd(f) ?? (() => {});
  }
  const listener = () => f(until.reason as Error);
  until.addEventListener("abort", listener, { once: true });
  return () => until.removeEventListener("abort", listener);
}
