import { create } from "@bufbuild/protobuf";
import { EndedError, Reject, Retry, textOf } from "./errors.js";
import type { Limits } from "./limits.js";
import { Outcome, Receipt, Timer, Upstream } from "./message.js";
import type { Plugin } from "./plugin.js";
import { Scope } from "./scope.js";
import { Transaction, type Ground } from "./tx.js";
import * as wire from "./wire/balhost/plugin/v1/plugin_pb.js";

/** Why the handlers of a plugin that ends were canceled. What they leave counts as no attempt. */
export const stopping = new EndedError("the plugin is stopping");
export const revoked = new EndedError("the host has revoked the event: its time is up");
export const returned = new EndedError("the handler has returned");

const longestDelay = 168 * 3600 * 1000;

/** One delivery that the plugin holds. */
export class Handling {
  readonly scope: Scope;
  readonly tx: Transaction;

  constructor(
    readonly delivery: wire.Delivery,
    ground: Ground,
  ) {
    const { timeoutMs, event, traceparent } = delivery;
    this.scope = new Scope(timeoutMs === 0 ? Infinity : performance.now() + timeoutMs);
    const { id = "", session = "" } = event.value ?? {};
    this.tx = new Transaction(ground, { id, session, delivery: delivery.delivery, traceparent }, this.scope);
  }

  /** The log's facts for an event. The host logs the same ones. */
  facts(): Record<string, unknown> {
    const { event, attempt } = this.delivery;
    switch (event.case) {
      case "upstream":
      case "outcome":
        return { id: event.value.id, msg_id: event.value.messageId, attempt };
      case "receipt":
        return { id: event.value.id, msg_id: event.value.originalMessageId, attempt };
      case "timer":
        return { id: event.value.id, key: event.value.key, attempt };
      default:
        return { attempt };
    }
  }

  /** Runs the plugin's handler for the event. An event without a handler is done. */
  call(plugin: Plugin): void | Promise<void> {
    const { event, attempt } = this.delivery;
    switch (event.case) {
      case "upstream":
        return plugin.upstream?.(this.tx, new Upstream(event.value, attempt));
      case "outcome":
        return plugin.outcome?.(this.tx, new Outcome(event.value, attempt));
      case "receipt":
        return plugin.receipt?.(this.tx, new Receipt(event.value, attempt));
      case "timer":
        return plugin.timer?.(this.tx, new Timer(event.value, attempt));
      default:
        throw new Error("this SDK does not know this kind of event: build the plugin with a newer SDK");
    }
  }

  /** The result of a handler that has thrown. */
  failure(thrown: unknown, limits: Limits): wire.Result {
    const changes = this.tx.reads(); // the error counts only if what the handler has read has not changed
    const result = create(wire.ResultSchema, {
      delivery: this.delivery.delivery,
      code: wire.Result_Code.RETRY,
      delayMs: -1n,
      changes,
    });
    result.error = this.#reason(thrown, limits);
    if (thrown instanceof Reject) {
      result.code = wire.Result_Code.REJECT;
    } else if (thrown instanceof Retry) {
      result.delayMs = thrown.after >= 0 ? BigInt(Math.ceil(Math.min(thrown.after, longestDelay))) : -1n;
    } else if (this.scope.reason === stopping) {
      result.code = wire.Result_Code.RELEASE; // it ended because the plugin stops: no attempt
    }
    return result;
  }

  /** The error's text. If it comes of the end of the signal, it also says why that ended. */
  #reason(thrown: unknown, limits: Limits): string {
    let text = textOf(thrown);
    const ended = this.scope.reason;
    if (ended !== undefined && thrown !== ended && (thrown as Error | undefined)?.name === "AbortError") {
      text = `${ended.message}: ${text}`;
    }
    const bytes = Buffer.from(text.toWellFormed());
    if (bytes.length <= limits.errorBytes) {
      return bytes.toString();
    }
    return (
      bytes
        .subarray(0, limits.errorBytes - 8)
        .toString()
        .replace(/\ufffd$/, "") + " …"
    );
  }
}
